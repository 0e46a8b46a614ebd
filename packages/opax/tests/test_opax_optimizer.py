"""Optimizers as modules: with modules and plain trees, under transformations, pickled, refused."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import opax
import pax_jax as pax


class Net(pax.Module):
    def __init__(self, seed=0):
        super().__init__()
        keys = jax.random.split(jax.random.key(seed), 2)
        self.hidden = pax.Linear(2, 4, rng_key=keys[0])
        self.norm = pax.BatchNorm1D(4)
        self.out = pax.Linear(4, 1, rng_key=keys[1])

    def __call__(self, x):
        return self.out(jax.nn.relu(self.norm(self.hidden(x))))


def loss_fn(params, net, x):
    net = net.update(params)
    return jnp.mean((net(x) - x.sum(axis=1, keepdims=True)) ** 2), net


def train_step(net, optimizer, x):
    (loss, net), grads = jax.value_and_grad(loss_fn, has_aux=True)(net.parameters(), net, x)
    net, optimizer = opax.apply_gradients(net, optimizer, grads)
    return loss, net, optimizer


def jitted_step():
    """A step with a cache of its own."""
    return jax.jit(lambda *args: train_step(*args))


def batch(seed=0, n=16):
    return jnp.asarray(np.random.default_rng(seed).standard_normal((n, 2)), jnp.float32)


@pytest.mark.parametrize("name", ["adam", "adamw", "lamb", "adafactor", "lion"])
def test_a_module_is_trained_as_optax_trains_its_parameters(name):
    net = Net()
    optimizer = getattr(opax, name)(0.1)(net.parameters())
    tx = getattr(optax, name)(0.1)
    with jax.numpy_dtype_promotion("standard"):
        params = net.parameters()
        state = tx.init(params)
        grads = jax.tree.map(jnp.cos, params)
        for _ in range(3):
            updates, state = tx.update(grads, state, params)
            params = optax.apply_updates(params, updates)
    for _ in range(3):
        net, optimizer = opax.apply_gradients(net, optimizer, grads)
    assert net.parameters() == params
    for ours, theirs in zip(jax.tree.leaves(optimizer.state), jax.tree.leaves(state), strict=True):
        assert ours.tolist() == theirs.tolist()


def test_a_jitted_loop_compiles_once_and_learns():
    step = jitted_step()
    net = Net()
    optimizer = opax.adam(optax.cosine_decay_schedule(0.05, 200))(net.parameters())
    x = batch()
    losses = []
    for _ in range(200):
        loss, net, optimizer = step(net, optimizer, x)
        losses.append(float(loss))
    assert step._cache_size() == 1
    assert losses[-1] < 0.01 * losses[0]


def test_equal_optimizers_share_a_compiled_step():
    step = jitted_step()
    for rate in (0.1, 0.1, 0.2):
        step(Net(), opax.adam(rate)(Net().parameters()), batch())
    assert step._cache_size() == 1
    step(Net(), opax.adam(0.1, b1=0.8)(Net().parameters()), batch())
    assert step._cache_size() == 2


def test_the_whole_module_may_be_given_for_its_parameters():
    net = Net()
    assert opax.adam(0.1)(net) == opax.adam(0.1)(net.parameters())
    assert opax.adam(0.1).init(net) == opax.adam(0.1).init(net.parameters())


def test_updates_of_another_structure_are_those_of_optax():
    tx = opax.measure_with_ema(lambda updates: jnp.max(updates["w"]), 0.9)
    params = {"w": jnp.array([1.0, 2.0])}
    updates, _ = opax.transform_gradients(params, tx(params), params)
    assert float(updates) == pytest.approx(2.0)


def test_step_changes_the_optimizer_and_returns_the_model():
    net = Net()
    optimizer = opax.adam(0.1)(net.parameters())
    grads = jax.tree.map(jnp.cos, net.parameters())
    expected, expected_optimizer = opax.apply_gradients(net, optimizer, grads)
    assert int(optimizer[0].count) == 0
    assert optimizer.step(grads, net) == expected
    assert optimizer == expected_optimizer
    assert int(optimizer[0].count) == 1


def test_updates_are_added_and_leave_the_rest():
    net = Net()
    optimizer = opax.sgd(0.5)(net.parameters())
    grads = jax.tree.map(jnp.ones_like, net.parameters())
    updates, _ = opax.transform_gradients(grads, optimizer, net.parameters())
    assert updates.hidden.bias.tolist() == [-0.5] * 4
    assert updates.norm.ema_mean is None
    assert opax.apply_updates(net.parameters(), updates).hidden.bias.tolist() == [-0.5] * 4


def test_the_optimizer_is_for_every_mode_of_the_module():
    net = Net()
    optimizer = opax.adam(0.1)(net.parameters())
    _, net, optimizer = train_step(net.eval(), optimizer, batch())
    _, net, optimizer = train_step(net.train(), optimizer, batch())
    assert int(optimizer[0].count) == 2


def test_frozen_parameters_pass_untouched():
    net = Net()
    net.hidden = net.hidden.freeze()
    before = net.hidden.weight
    optimizer = opax.adamw(0.1)(net.parameters())
    _, net, optimizer = train_step(net, optimizer, batch())
    assert net.hidden.weight is before


def test_scan_is_the_loop():
    net = Net()
    optimizer = opax.adam(0.1)(net.parameters())

    def body(carry, x):
        loss, net, optimizer = train_step(*carry, x)
        return (net, optimizer), loss

    xs = jnp.stack([batch(seed) for seed in range(5)])
    (scanned, _), losses = jax.lax.scan(body, (net, optimizer), xs)
    for x in xs:
        _, net, optimizer = jax.jit(train_step)(net, optimizer, x)
    assert losses.shape == (5,)
    np.testing.assert_allclose(scanned.out.weight, net.out.weight, rtol=1e-4, atol=1e-5)


def test_vmap_trains_a_population():
    def start(key):
        net = pax.Linear(2, 1, rng_key=key)
        return net, opax.adam(0.1)(net.parameters())

    def step(net, optimizer, x):
        grads = pax.grad(lambda net: jnp.mean((net(x) - 1.0) ** 2))(net)
        return opax.apply_gradients(net, optimizer, grads)

    nets, optimizers = jax.vmap(start)(jax.random.split(jax.random.key(0), 3))
    trained, _ = jax.vmap(step, in_axes=(0, 0, None))(nets, optimizers, batch())
    alone, _ = step(*start(jax.random.split(jax.random.key(0), 3)[1]), batch())
    np.testing.assert_allclose(trained.weight[1], alone.weight, rtol=1e-5)


def test_nothing_leaks():
    with jax.checking_leaks():
        jax.jit(train_step)(Net(), opax.adam(0.1)(Net().parameters()), batch())


def test_state_is_not_an_alias_of_the_parameters():
    params = {"w": jnp.ones(3)}
    optimizer = opax.contrib.schedule_free(opax.sgd(0.1), 0.1)(params)
    leaves = [*jax.tree.leaves(params), *jax.tree.leaves(optimizer)]
    assert len(set(map(id, leaves))) == len(leaves)
    step = jax.jit(opax.apply_gradients, donate_argnums=(0, 1))
    params, optimizer = step(params, optimizer, {"w": jnp.ones(3)})
    assert params["w"].shape == (3,)


RECIPES = {
    "alias": lambda: opax.adamw(1e-3, weight_decay=0.1),
    "chain": lambda: opax.chain(opax.clip(1.0), opax.adam(1e-3)),
    "nested": lambda: opax.multi_transform({"a": opax.adam(0.1)}, {"w": "a"}),
    "maker": lambda: opax.inject_hyperparams(opax.adam)(learning_rate=0.1),
    "class": lambda: opax.MultiSteps(opax.sgd(0.1), 2),
    "contrib": lambda: opax.contrib.muon(0.1),
}


@pytest.mark.parametrize("make", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_and_pickles_go_on_in_the_same_way(make, duplicate):
    params = {"w": jnp.ones((2, 2))}
    optimizer = make()(params)
    grads = {"w": jnp.full((2, 2), 0.5)}
    params, optimizer = opax.apply_gradients(params, optimizer, grads)
    other = duplicate(optimizer)
    assert other == optimizer
    expected, _ = opax.apply_gradients(params, optimizer, grads)
    actual, _ = opax.apply_gradients(params, other, grads)
    assert actual["w"].tolist() == expected["w"].tolist()


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (lambda: opax.adam(1e-3, b1=0.8), "adam(learning_rate=0.001, b1=0.8)"),
        (
            lambda: opax.chain(opax.clip(1.0), opax.sgd(optax.constant_schedule(0.1))),
            "chain(clip(max_delta=1.0), sgd(learning_rate=<lambda>))",
        ),
        (lambda: opax.from_optax(optax.sgd(0.1)), "from_optax(...)"),
        (
            lambda: opax.inject_hyperparams(opax.adam)(learning_rate=0.1),
            "inject_hyperparams(inner_factory=adam)(learning_rate=0.1)",
        ),
    ],
    ids=["alias", "chain", "from_optax", "maker"],
)
def test_repr_says_how_it_was_made(made, shown):
    assert repr(made()) == shown
    assert repr(made()({"w": jnp.ones(1)})) == shown


def test_summary_shows_modules_in_the_state():
    lines = opax.adam(0.1)(pax.Linear(1, 1)).summary(return_list=True)
    assert lines == [
        "adam(learning_rate=0.1)",
        "├── scale_by_adam",
        "│   ├── Linear(in_dim=1, out_dim=1, with_bias=True)",
        "│   └── Linear(in_dim=1, out_dim=1, with_bias=True)",
        "└── scale",
    ]


def test_equality_is_by_function_and_arguments():
    assert opax.adam(0.1) == opax.adam(0.1)
    assert opax.adam(1) != opax.adam(1.0)
    assert opax.adam(0.1) != opax.adamax(0.1)
    assert opax.adam(jnp.array(0.1)) != opax.adam(jnp.array(0.1))
    assert len({opax.adam(0.1), opax.adam(0.1), opax.adam(jnp.array(0.1))}) == 2


@pytest.mark.parametrize("rate", [0.1, np.float32(0.1), jnp.array(0.1)], ids=type)
@pytest.mark.parametrize("put", [lambda tx: tx, lambda tx: {"a": [tx]}], ids=["alone", "in a dict"])
def test_a_module_holds_transformations_as_static_data(rate, put):
    def trainer():
        module = pax.Module()
        module.tx = put(opax.chain(opax.sgd(rate), opax.clip(1.0)))
        module.count = jnp.zeros(())
        return module

    traced = []

    @jax.jit
    def step(module):
        traced.append(module.tx)
        module.count += 1
        return module

    assert (
        step(step(trainer())).tx
        == step(trainer()).tx
        == put(opax.chain(opax.sgd(rate), opax.clip(1.0)))
    )
    assert len(traced) == 1
    assert jax.tree.structure(trainer()) == jax.tree.structure(trainer())
    assert list(trainer().state_dict()) == ["count"]
    assert repr(pickle.loads(pickle.dumps(trainer())).tx) == repr(trainer().tx)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": jnp.ones(1)}, r"gradients have nothing at \['b'\].* have an array"),
        (
            {"a": jnp.ones(1), "b": jnp.ones(1), "c": jnp.ones(1)},
            r"gradients has an array at \['c'\].* has none there",
        ),
        (jnp.ones(1), r"gradients have nothing at \['a'\]"),
    ],
    ids=["missing", "extra", "leaf"],
)
def test_gradients_of_another_structure_raise_where(given, message):
    params = {"a": jnp.ones(1), "b": jnp.ones(1)}
    with pytest.raises(ValueError, match=message):
        opax.apply_gradients(params, opax.adam(0.1)(params), given)


def test_parameters_frozen_later_raise():
    net = Net()
    optimizer = opax.adam(0.1)(net.parameters())
    net.hidden = net.hidden.freeze()
    with pytest.raises(ValueError, match=r"nothing at \.hidden\.weight.* again after a freeze"):
        train_step(net, optimizer, batch())


def test_other_objects_are_refused():
    with pytest.raises(
        TypeError, match=r"Expected an optimizer such as .* got adam\(learning_rate"
    ):
        opax.apply_gradients(jnp.ones(1), opax.adam(0.1), jnp.ones(1))
    with pytest.raises(TypeError, match="from_optax expects an optax GradientTransformation"):
        opax.from_optax(3)


def test_writing_to_a_captured_optimizer_raises():
    net = Net()
    optimizer = opax.adam(0.1)(net.parameters())
    with pytest.raises(RuntimeError, match=r"Cannot set Optimizer\.state here"):
        jax.jit(lambda grads: optimizer.step(grads, net))(net.parameters())
