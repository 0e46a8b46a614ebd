"""opax trains the parameters of other libraries as optax trains them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jmp
import numpy as np
import optax
import pytest
import torch
from flax import linen, nnx
from flax.training.train_state import TrainState

import opax
import pax_jax as pax
from torch2jax_bridge import torch2jax, tree_t2j

pytestmark = pytest.mark.usefixtures("quick_compilation")

STEPS = 3
X = np.random.default_rng(0).standard_normal((16, 3)).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)


def pax_case():
    net = pax.Sequential(pax.Linear(3, 4), pax.BatchNorm1D(4), jnp.tanh, pax.Linear(4, 1))
    return net, lambda net: net(X), pax.grad


def tree_case():
    params = {"w": [jnp.ones((3, 4)) / 3, jnp.ones((4, 1)) / 4], "count": 3, "name": None}
    grad = lambda f: jax.grad(f, allow_int=True)  # noqa: E731
    return params, lambda p: jnp.tanh(X @ p["w"][0]) @ p["w"][1], grad


def equinox_case():
    model = eqx.nn.MLP(3, 1, 4, 1, key=jax.random.key(0))
    return model, lambda model: jax.vmap(model)(X), eqx.filter_grad


def linen_case():
    model = linen.Sequential([linen.Dense(4), jnp.tanh, linen.Dense(1)])
    params = model.init(jax.random.key(0), X)
    return params, lambda params: model.apply(params, X), jax.grad


def nnx_case():
    model = nnx.Sequential(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), jnp.tanh)
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    return params, lambda params: nnx.merge(graph, params, rest)(X), jax.grad


def torch_case():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    params = tree_t2j({name: param.detach().clone() for name, param in net.named_parameters()})
    call = torch2jax(lambda params, x: torch.func.functional_call(net, params, x))
    return params, lambda params: call(params, X), jax.grad


CASES = {
    "pax_jax": pax_case,
    "tree": tree_case,
    "equinox": equinox_case,
    "linen": linen_case,
    "nnx": nnx_case,
    "torch": torch_case,
}


def floats(tree):
    """The leaves that have derivatives."""
    tree = pax.select_parameters(tree)
    return jax.tree.map(lambda x: x if eqx.is_inexact_array(x) else None, tree)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["adamw", "lion"])
def test_parameters_of_any_library_are_trained_as_by_optax(case, name):
    model, forward, grad = CASES[case]()
    gradients = grad(
        lambda model: jnp.mean((forward(model) - Y[:, : forward(model).shape[1]]) ** 2)
    )
    optimizer, tx = getattr(opax, name)(0.05)(model), getattr(optax, name)(0.05)
    theirs, state = model, tx.init(floats(model))
    for _ in range(STEPS):
        updates, state = tx.update(floats(gradients(theirs)), state, floats(theirs))
        params = optax.apply_updates(floats(theirs), updates)
        theirs = pax.update_parameters(theirs, params)
        model, optimizer = opax.apply_gradients(model, optimizer, gradients(model))
    leaves = zip(jax.tree.leaves(floats(model)), jax.tree.leaves(params), strict=True)
    for ours, expected in leaves:
        assert ours.dtype == expected.dtype
        assert np.asarray(ours).tobytes() == np.asarray(expected).tobytes()
    before = CASES[case]()[0]
    updates, optimizer = opax.transform_gradients(gradients(before), optimizer, before)
    assert len(jax.tree.leaves(opax.apply_updates(before, updates))) == len(jax.tree.leaves(before))


def test_equinox_layers_are_frozen_by_pattern():
    model = eqx.nn.MLP(3, 1, 4, 1, key=jax.random.key(0))
    tx = opax.chain(opax.freeze("layers.0.*"), opax.sgd(0.1))
    grads = jax.tree.map(jnp.ones_like, eqx.filter(model, eqx.is_inexact_array))
    new, _ = opax.apply_gradients(model, tx(model), grads)
    assert new.activation is model.activation
    assert (new.layers[0].weight == model.layers[0].weight).all()
    assert (new.layers[1].weight != model.layers[1].weight).all()


def test_a_torch_net_is_trained_under_jit():
    params, forward, _ = torch_case()

    @jax.jit
    def step(params, optimizer):
        loss, grads = jax.value_and_grad(lambda p: jnp.mean((forward(p) - Y) ** 2))(params)
        params, optimizer = opax.apply_gradients(params, optimizer, grads)
        return params, optimizer, loss

    optimizer = opax.chain(opax.clip_by_global_norm(5.0), opax.adam(0.05))(params)
    losses = []
    for _ in range(60):
        params, optimizer, loss = step(params, optimizer)
        losses.append(float(loss))
    assert losses[-1] < 0.1 * losses[0]
    assert float(optimizer[0].global_norm) > 0


def test_lbfgs_and_line_searches_take_what_they_need():
    net, forward, _ = pax_case()
    net = net.eval()

    def value_fn(params):
        return jnp.mean((forward(net.update(params)) - Y) ** 2)

    @jax.jit
    def step(net, optimizer):
        value, grads = jax.value_and_grad(value_fn)(net.parameters())
        extra = {"value": value, "grad": grads, "value_fn": value_fn}
        return *opax.apply_gradients(net, optimizer, grads, **extra), value

    trained, optimizer, values = net, opax.lbfgs()(net), []
    for _ in range(10):
        trained, optimizer, value = step(trained, optimizer)
        values.append(float(value))
    assert values[-1] < 0.2 * values[0]
    with pytest.raises(TypeError, match="value"):
        opax.apply_gradients(net, opax.polyak_sgd()(net), net.parameters())


@pytest.mark.parametrize("scale", [jmp.DynamicLossScale, jmp.StaticLossScale])
def test_loss_scaling_with_jmp(scale):
    net = pax.Linear(3, 1)
    optimizer = opax.adam(0.1)(net)

    @jax.jit
    def step(net, optimizer, loss_scale, factor):
        def loss_fn(net):
            return loss_scale.scale(jnp.mean((net(X) - Y) ** 2) * factor)

        grads = loss_scale.unscale(pax.grad(loss_fn)(net))
        finite = jmp.all_finite(grads)
        net, optimizer = opax.apply_gradients(net, optimizer, grads, all_finite=finite)
        return net, optimizer, loss_scale.adjust(finite)

    loss_scale = scale(jnp.float32(2.0**10))
    new, after, loss_scale = step(net, optimizer, loss_scale, 1.0)
    assert int(after.count) == 1
    same, still, loss_scale = step(new, after, loss_scale, jnp.inf)
    assert same == new
    assert still == after
    if scale is jmp.DynamicLossScale:
        assert float(loss_scale.loss_scale) == 2.0**9
    grads = pax.grad(lambda net: jnp.mean((net(X) - Y) ** 2))(net)
    expected, _ = opax.apply_gradients(net, optimizer, grads)
    np.testing.assert_allclose(new.weight, expected.weight, rtol=1e-5)


def linear_problem():
    """An nnx layer, its gradients, and their average step."""
    model = nnx.Linear(3, 1, rngs=nnx.Rngs(0))

    def loss_fn(model):
        return jnp.mean((model(X) - Y) ** 2)

    return model, nnx.grad(loss_fn)


@pytest.mark.parametrize("jit", [False, True])
def test_nnx_trains_with_a_transformation(jit):
    trained = {}
    for library in (optax, opax):
        model, grad = linear_problem()
        optimizer = nnx.Optimizer(model, library.adamw(0.05), wrt=nnx.Param)

        def step(model, optimizer, grad=grad):
            optimizer.update(model, grad(model))

        step = nnx.jit(step) if jit else step
        for _ in range(STEPS):
            step(model, optimizer)
        trained[library] = nnx.state(model, nnx.Param)
    expected = jax.tree.leaves(trained[optax])
    for ours, theirs in zip(jax.tree.leaves(trained[opax]), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_flax_trains_with_a_transformation():
    params, forward, grad = linen_case()
    gradients = jax.jit(grad(lambda params: jnp.mean((forward(params) - Y) ** 2)))
    states = [
        TrainState.create(apply_fn=forward, params=params, tx=library.lion(0.05))
        for library in (opax, optax)
    ]
    for _ in range(STEPS):
        states = [s.apply_gradients(grads=gradients(s.params)) for s in states]
    for ours, theirs in zip(*(jax.tree.leaves(s.params) for s in states), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert states[0].opt_state.count == STEPS
