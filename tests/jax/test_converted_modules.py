"""What holds for every module that comes from another library."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx

import pax_jax as pax

pytestmark = pytest.mark.usefixtures("quick_compilation")

X = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)


def equinox_net():
    layers = [
        eqx.nn.Linear(4, 4, key=jax.random.key(0)),
        eqx.nn.BatchNorm(4, "batch", mode="batch"),
    ]
    module, state = eqx.nn.make_with_state(eqx.nn.Sequential)([*layers, eqx.nn.Dropout(0.5)])
    return pax.from_equinox(module, state, use_rng=True, batch_axis_name="batch")


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, x, train):
        x = linen.BatchNorm(use_running_average=not train)(linen.Dense(4)(x))
        return linen.Dropout(0.5, deterministic=not train)(x)


class HaikuNet(hk.Module):
    def __call__(self, x, is_training):
        x = hk.BatchNorm(True, True, 0.9)(hk.Linear(4)(x), is_training)
        return hk.dropout(hk.next_rng_key(), 0.5, x) if is_training else x


def nnx_net():
    rngs = nnx.Rngs(0)
    return nnx.Sequential(
        nnx.Linear(4, 4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
    )


MAKERS = {
    "haiku": lambda: pax.from_haiku(HaikuNet, use_rng=True, pass_is_training=True)().hk_init(X),
    "linen": lambda: pax.from_flax(LinenNet(), X, rngs=["dropout"], mode_argument="train"),
    "nnx": lambda: pax.from_flax(nnx_net()),
    "equinox": equinox_net,
    "torch": lambda: pax.from_torch(
        torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5))
    ),
}
each_library = pytest.mark.parametrize("library", MAKERS)


@pytest.fixture(scope="module")
def nets():
    pax.seed_rng_key(0)
    return {library: make() for library, make in MAKERS.items()}


@each_library
def test_a_converted_module_has_one_structure_and_leaks_nothing(nets, library):
    net, traces = nets[library], []

    @jax.jit
    def step(net, x):
        traces.append(None)
        return net % x

    structure = jax.tree.structure(net)
    assert len(jax.tree.leaves(net.parameters())) == 4
    with jax.checking_leaks():
        jax.jit(lambda net, x: net % x)(net, X)
    after, _ = step(net, X)
    assert jax.tree.structure(after) == structure
    again, _ = step(after, X)
    assert len(traces) == 1
    assert jax.tree.structure(again) == structure
    assert net == nets[library]
    changed = [
        name for name, a in net.state_dict().items() if np.any(a != after.state_dict()[name])
    ]
    assert len(changed) >= 3  # mean, variance and what draws
    assert not set(changed) & set(net.parameters().state_dict())


@each_library
def test_a_converted_module_is_copied_pickled_and_reloaded(nets, library, tmp_path):
    net = nets[library]
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert net.state_dict().keys() == other.state_dict().keys()
        np.testing.assert_allclose(other.eval()(X), net.eval()(X), rtol=1e-5, atol=1e-6)
    moved = jax.tree.map(lambda a: a + 1 if jnp.issubdtype(a.dtype, jnp.floating) else a, net)
    assert net.load_state_dict(moved.state_dict()) == moved
    pax.checkpoint.save(tmp_path, moved)
    assert pax.checkpoint.load(tmp_path, net) == moved


@each_library
def test_a_converted_module_is_frozen_and_evaluated_like_any_other(nets, library):
    net = pax.Sequential(nets[library], pax.Linear(4, 2))
    net.modules[0] = net.modules[0].freeze()
    grads = jax.jit(pax.grad(lambda net: jnp.sum(net(X) ** 2)))(net)
    assert len(jax.tree.leaves(grads)) == 2
    evaluated = net.eval()
    y = jax.jit(lambda x: evaluated(x))(X)
    np.testing.assert_allclose(y, evaluated(X), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(evaluated(X), evaluated(X))


@each_library
def test_a_converted_module_is_called_from_threads(nets, library):
    net = nets[library].eval()
    call = jax.jit(lambda net, x: net(x))
    expected = [np.asarray(call(net, X + i)) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda i: np.asarray(call(net.copy(), X + i)), range(8)))
    np.testing.assert_array_equal(results, expected)
