"""Modules of Equinox inside pax_jax: outputs, states and gradients are those of Equinox itself."""

import pickle
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax

pytestmark = pytest.mark.usefixtures("quick_compilation")

KEY = jax.random.key(0)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def tokens(*shape):
    return jnp.asarray(np.random.default_rng(0).integers(0, 7, shape), jnp.int32)


class Table(eqx.Module):
    """Integers beside a weight, a static field, and a function that is a leaf."""

    weight: jax.Array
    order: jax.Array
    activation: object
    power: int = eqx.field(static=True)

    def __call__(self, x):
        return self.activation(x @ self.weight[self.order]) ** self.power


RNG = {"use_rng": True}
ROW, LINE, IMAGE = (4,), (3, 9), (3, 6, 6)
CASES = {
    "linear": (eqx.nn.Linear(4, 3, key=KEY), [draw(5, *ROW)], {}),
    "linear-scalar": (eqx.nn.Linear("scalar", 3, key=KEY), [draw(5)], {}),
    "mlp": (eqx.nn.MLP(4, 2, 8, 2, key=KEY), [draw(5, *ROW)], {}),
    "conv1d": (eqx.nn.Conv1d(3, 4, 3, key=KEY), [draw(5, *LINE)], {}),
    "conv2d": (eqx.nn.Conv2d(3, 4, 3, 2, groups=1, key=KEY), [draw(5, *IMAGE)], {}),
    "conv2d-transpose": (eqx.nn.ConvTranspose2d(3, 4, 3, key=KEY), [draw(5, *IMAGE)], {}),
    "embedding": (eqx.nn.Embedding(7, 3, key=KEY), [tokens(5)], {}),
    "layer-norm": (eqx.nn.LayerNorm(4), [draw(5, *ROW)], {}),
    "rms-norm": (eqx.nn.RMSNorm(4), [draw(5, *ROW)], {}),
    "group-norm": (eqx.nn.GroupNorm(3, 3), [draw(5, *IMAGE)], {}),
    "weight-norm": (eqx.nn.WeightNorm(eqx.nn.Linear(4, 3, key=KEY)), [draw(5, *ROW)], {}),
    "lstm": (eqx.nn.LSTMCell(4, 3, key=KEY), [draw(5, 4), (draw(5, 3), draw(5, 3, seed=1))], {}),
    "gru": (eqx.nn.GRUCell(4, 3, key=KEY), [draw(5, 4), draw(5, 3)], {}),
    "attention": (eqx.nn.MultiheadAttention(2, 4, key=KEY), [draw(5, 6, 4)] * 3, {}),
    "prelu": (eqx.nn.PReLU(0.3), [draw(5, *ROW)], {}),
    "max-pool": (eqx.nn.MaxPool2d(2, 2), [draw(5, *IMAGE)], {}),
    "dropout": (eqx.nn.Dropout(0.5), [draw(5, *ROW)], RNG),
    "table": (Table(draw(4, 3), jnp.array([2, 0, 1, 3]), jax.nn.relu, 2), [draw(5, *ROW)], {}),
    "sequential": (
        eqx.nn.Sequential(
            [
                eqx.nn.Linear(4, 6, key=KEY),
                eqx.nn.Lambda(jax.nn.relu),
                eqx.nn.Dropout(0.5),
                eqx.nn.Linear(6, 2, key=KEY),
            ]
        ),
        [draw(5, *ROW)],
        RNG,
    ),
}
STATEFUL = {
    "batch-norm": lambda: eqx.nn.make_with_state(eqx.nn.BatchNorm)(4, "batch", mode="batch"),
    "batch-norm-ema": lambda: eqx.nn.make_with_state(eqx.nn.BatchNorm)(4, "batch", mode="ema"),
    "spectral-norm": lambda: eqx.nn.make_with_state(eqx.nn.SpectralNorm)(
        eqx.nn.Linear(4, 3, key=KEY), "weight", key=KEY
    ),
    "sequential": lambda: eqx.nn.make_with_state(eqx.nn.Sequential)(
        [
            eqx.nn.Linear(4, 4, key=KEY),
            eqx.nn.BatchNorm(4, "batch", mode="batch"),
            eqx.nn.Dropout(0.5),
        ]
    ),
}


def total(out):
    return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(out))


def assert_close(ours, theirs, tolerance=1e-5):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, tolerance, tolerance), ours, theirs)


@jax.jit
def our_step(module, *inputs):
    def loss(params, module):
        module = module.update(params)
        out = module(*inputs)
        return total(out), (out, module)

    (_, (out, module)), grads = jax.value_and_grad(loss, has_aux=True)(module.parameters(), module)
    return out, module, grads


@eqx.filter_jit
def their_step(module, state, inputs, keys):
    def loss(module):
        def call(inputs, key, state):
            options = {} if key is None else {"key": key}
            if state is None:
                return module(*inputs, **options), None
            return module(*inputs, state, **options)

        batched = jax.vmap(call, in_axes=(0, 0, None), out_axes=(0, None), axis_name="batch")
        out, new = batched(inputs, keys, state)
        return total(out), (out, new)

    (_, (out, new)), grads = eqx.filter_value_and_grad(loss, has_aux=True)(module)
    return out, new, grads


def by_path(tree):
    pairs = jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_inexact_array))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in pairs}


@pytest.mark.parametrize("case", CASES)
def test_equinox_module_has_the_outputs_and_gradients_of_equinox(case):
    module, inputs, options = CASES[case]
    key = jax.random.key(3)
    ours = pax.from_equinox(module, batch_axis_name="batch", rng_key=key, **options)
    assert_close(ours.parameters().params, by_path(module), 0)
    for _ in range(2):
        out, ours, grads = our_step(ours, *inputs)
        key, now = jax.random.split(key)
        keys = jax.random.split(now, 5) if options else None
        their_out, _, their_grads = their_step(module, None, inputs, keys)
        assert_close(out, their_out)
        assert_close(grads.params, by_path(their_grads), 1e-4)
        assert jax.tree.leaves((grads.state, grads.rng_key)) == []
    if options:
        inference = eqx.nn.inference_mode(module)
        assert_close(ours.eval()(*inputs), their_step(inference, None, inputs, keys)[0])


@pytest.mark.parametrize("case", STATEFUL)
def test_equinox_state_is_that_of_equinox(case):
    module, state = STATEFUL[case]()
    key, x = jax.random.key(3), draw(5, 4)
    has_rng = {"use_rng": case == "sequential"}
    ours = pax.from_equinox(module, state, batch_axis_name="batch", rng_key=key, **has_rng)
    for step in range(3):
        out, ours, grads = our_step(ours, x + step)
        key, now = jax.random.split(key)
        keys = jax.random.split(now, 5) if has_rng["use_rng"] else None
        their_out, state, their_grads = their_step(module, state, [x + step], keys)
        assert_close(out, their_out, 1e-4)
        assert_close(grads.params, by_path(their_grads), 1e-3)
        assert_close(jax.tree.leaves(ours.state["state"]), jax.tree.leaves(state))
    inference = eqx.nn.inference_mode(module)
    evaluated = ours.eval()
    expected = their_step(inference, state, [x], keys)[0]
    assert_close(jax.jit(lambda x: evaluated(x))(x), expected)  # a captured module


def test_equinox_module_without_a_batch_axis():
    mlp = eqx.nn.MLP(4, 2, 8, 1, key=KEY)
    ours = pax.from_equinox(mlp)
    x = draw(4)
    assert_close(ours(x), mlp(x))
    assert_close(jax.vmap(ours)(draw(5, 4)), jax.vmap(mlp)(draw(5, 4)))


def test_equinox_module_keeps_what_is_static():
    module = CASES["table"][0]
    ours = pax.from_equinox(module)
    assert set(ours.params) == {"weight"}
    assert set(ours.state["arrays"]) == {"order"}
    assert ours.module.activation is jax.nn.relu
    assert eqx.tree_equal(ours.module, module)
    same = pax.from_equinox(Table(module.weight + 1, module.order + 0, jax.nn.relu, 2))
    assert jax.tree.structure(same.params) == jax.tree.structure(ours.params)


def test_equinox_modules_of_one_making_have_one_structure():
    nets = [pax.from_equinox(eqx.nn.Linear(4, 4, key=key)) for key in jax.random.split(KEY, 3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *nets)
    y, _ = jax.lax.scan(lambda x, net: (net(x), None), draw(4), stacked)
    assert_close(y, nets[2](nets[1](nets[0](draw(4)))))


def test_equinox_modules_are_pickled():
    net = pax.from_equinox(eqx.nn.Linear(4, 3, key=KEY))
    again = pickle.loads(pickle.dumps(net))
    assert again == net
    assert_close(again(draw(4)), net(draw(4)), 0)


def test_what_from_equinox_refuses(monkeypatch):
    with pytest.raises(TypeError, match=r"expects an equinox\.Module that can be called, got 3"):
        pax.from_equinox(3)
    monkeypatch.setitem(sys.modules, "equinox", None)
    with pytest.raises(ImportError, match=r"from_equinox needs equinox.*pax-jax\[equinox\]"):
        pax.from_equinox(eqx.nn.Linear(4, 3, key=KEY))
