"""Run by test_bridge_devices.py: prints a JSON object, check -> "ok" or what is wrong."""

import json
import traceback
from functools import partial
from unittest import TestCase

import jax

jax.config.update("jax_num_cpu_devices", 4)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from jax.sharding import AxisType, NamedSharding  # noqa: E402
from jax.sharding import PartitionSpec as P  # noqa: E402

from torch2jax_bridge import t2j, torch2jax  # noqa: E402

MESH = jax.make_mesh((4,), ("i",), axis_types=(AxisType.Auto,))
X = jnp.linspace(-1.0, 1.0, 16).reshape(8, 2)
W = jnp.linspace(0.5, 1.5, 6).reshape(2, 3)
SHARDED = jax.device_put(X, NamedSharding(MESH, P("i")))


def sine(xp, x):
    return xp.sin(x) * 2


def layer(xp, x, w):
    return xp.tanh(x @ w)


wrapped_sine = torch2jax(partial(sine, torch))
wrapped_layer = torch2jax(partial(layer, torch))
over_rows = partial(jax.shard_map, mesh=MESH, in_specs=P("i"), out_specs=P("i"))
CHECKS = {}


def check(function):
    CHECKS[function.__name__] = function
    return function


def same(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def sharded_layer(f, **options):
    return jax.shard_map(f, mesh=MESH, in_specs=(P("i"), P()), out_specs=P("i"), **options)


@check
def shard_map():
    same(over_rows(wrapped_sine)(X), sine(jnp, X))


@check
def shard_map_jit():
    same(jax.jit(over_rows(wrapped_sine))(SHARDED), sine(jnp, X))


@check
def shard_map_unchecked():
    same(jax.jit(sharded_layer(wrapped_layer, check_vma=False))(X, W), layer(jnp, X, W))


@check
def shard_map_vmap():
    same(over_rows(jax.vmap(wrapped_sine))(X), sine(jnp, X))


@check
def shard_map_integers():
    split = torch2jax(lambda x: (x * 2, x.argmax(1).to(torch.int32)))
    call = jax.shard_map(split, mesh=MESH, in_specs=P("i"), out_specs=(P("i"), P("i")))
    same(call(X)[1], X.argmax(1))
    same(jax.grad(lambda x: call(x)[0].sum())(X), jnp.full_like(X, 2))


@check
def shard_map_grad():
    same(jax.jit(jax.grad(lambda x: over_rows(wrapped_sine)(x).sum()))(X), 2 * jnp.cos(X))


@check
def shard_map_grad_of_shared():
    def loss(f):
        return lambda w: (sharded_layer(f)(X, w) ** 2).sum()

    want = jax.grad(loss(partial(layer, jnp)))(W)
    same(jax.grad(loss(wrapped_layer))(W), want)
    same(jax.jit(jax.grad(loss(wrapped_layer)))(W), want)


@check
def shard_map_hessian():
    def loss(f):
        return lambda w: sharded_layer(f)(X, w).sum()

    want = jax.hessian(loss(partial(layer, jnp)))(W)
    for hessian in (jax.hessian(loss(wrapped_layer)), jax.jit(jax.hessian(loss(wrapped_layer)))):
        same(hessian(W), want)


@check
def shard_map_loss():
    def loss(f):
        def local(x, w):
            return jax.lax.psum((f(x, w) ** 2).sum(), "i")

        return jax.shard_map(local, mesh=MESH, in_specs=(P("i"), P()), out_specs=P())

    got = jax.jit(jax.value_and_grad(loss(wrapped_layer), 1))(SHARDED, W)
    want = jax.value_and_grad(loss(partial(layer, jnp)), 1)(X, W)
    same(got[0], want[0])
    same(got[1], want[1])


@check
def pmap():
    rows = X.reshape(4, 4)
    same(jax.pmap(wrapped_sine)(rows), sine(jnp, rows))
    same(jax.pmap(jax.grad(lambda x: wrapped_sine(x).sum()))(rows), 2 * jnp.cos(rows))


def layer_with_dropout():
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Dropout(0.5))
    return torch2jax(net)[:2]


@check
def shard_map_dropout():
    apply, params = layer_with_dropout()

    def loss(p, x):
        out = apply(p, x)[0] + apply(p, x)[0]
        return jax.lax.psum(out.sum(), "i"), out

    specs = {"in_specs": (P(), P("i")), "out_specs": (P(), P("i"))}
    step = jax.jit(jax.grad(jax.shard_map(loss, mesh=MESH, **specs), has_aux=True))
    for _ in range(5):
        grads, outs = step(params, SHARDED)
        assert (
            len({tuple(map(tuple, np.asarray(part.data))) for part in outs.addressable_shards}) == 4
        )
        assert (outs != 0).any()
    same(grads["0.bias"].shape, (3,))


@check
def pmap_dropout():
    apply, params = layer_with_dropout()
    step = jax.pmap(jax.grad(lambda p, x: apply(p, x)[0].sum()), in_axes=(None, 0))
    for _ in range(5):
        grads = jax.block_until_ready(step(params, X.reshape(4, 2, 2)))
    assert set(np.unique(grads["0.bias"])) <= {0.0, 2.0, 4.0}


@check
def forward_passes_are_counted():
    runs = []

    def function(x):
        if not isinstance(x, torch._subclasses.FakeTensor):
            runs.append(1)
        return torch.sin(x)

    wrapped = torch2jax(function)
    twice = over_rows(lambda x: wrapped(wrapped(x)))
    for gradient in (
        jax.jit(jax.grad(lambda x: (twice(x) ** 2).sum())),
        jax.grad(lambda x: (twice(x) ** 2).sum()),
    ):
        jax.block_until_ready(gradient(X))
        runs.clear()
        jax.block_until_ready(gradient(X))
        assert len(runs) == 8


@check
def replicated_draws_are_not_taken_for_the_same():
    noise = torch2jax(lambda x: x + torch.randn_like(x))
    with pytest.raises(ValueError, match="replicat"):
        jax.shard_map(noise, mesh=MESH, in_specs=P(), out_specs=P())(X)
    parts = jax.shard_map(noise, mesh=MESH, in_specs=P(), out_specs=P("i"))(X)
    assert len({tuple(map(tuple, np.asarray(part.data))) for part in parts.addressable_shards}) == 4
    with pytest.raises(ValueError, match="draws random numbers without a key, in a program over 4"):
        jax.jit(noise)(SHARDED)
    apply, params = layer_with_dropout()
    out = jax.jit(lambda p, x, key: apply(p, x, rng=key)[0])(params, SHARDED, jax.random.key(0))
    for part in out.addressable_shards:
        np.testing.assert_array_equal(part.data, np.asarray(out)[part.index])


@check
def parameters_go_to_all_devices():
    for share_memory in (False, True):
        apply, params, _ = torch2jax(torch.nn.Linear(2, 3), share_memory=share_memory)
        want = X @ params["weight"].T + params["bias"]
        same(jax.jit(lambda p, x: x @ p["weight"].T + p["bias"])(params, SHARDED), want)
        same(jax.jit(lambda p, x: apply(p, x)[0])(params, SHARDED), want)
        same(apply(params, SHARDED)[0], want)
    weight = t2j(torch.ones(2), copy=True)
    assert not weight.committed
    same((SHARDED * weight).sum(), X.sum())


@check
def failure_is_logged():
    def fails(x):
        raise LookupError("nothing there")

    with TestCase().assertLogs("torch2jax_bridge", "ERROR") as logged:
        with pytest.raises(jax.errors.JaxRuntimeError):
            jax.block_until_ready(over_rows(torch2jax(fails, output_shapes=X[:2]))(X))
        assert "LookupError: nothing there" in logged.output[0]


@check
def jit_sharded():
    same(jax.jit(wrapped_layer)(SHARDED, W), layer(jnp, X, W))
    same(jax.jit(lambda x: wrapped_sine(x * 2) + x)(SHARDED), sine(jnp, 2 * X) + X)


@check
def jit_sharded_grad():
    gradient = jax.jit(jax.grad(lambda x: (wrapped_sine(x) ** 2).sum()))
    same(gradient(SHARDED), jax.grad(lambda x: (sine(jnp, x) ** 2).sum())(X))


@check
def eager_sharded():
    same(wrapped_sine(SHARDED), sine(jnp, X))


@check
def explicit_axes():
    mesh = jax.make_mesh((4,), ("i",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        x = jax.device_put(X, NamedSharding(mesh, P("i")))
        same(jax.jit(wrapped_sine)(x), sine(jnp, X))


@check
def shardy_stays():
    assert jax.config.jax_use_shardy_partitioner


@check
def two_axes():
    mesh = jax.make_mesh((2, 2), ("i", "j"), axis_types=(AxisType.Auto,) * 2)
    specs = {"mesh": mesh, "in_specs": (P("i"), P(None, "j")), "out_specs": P("i", "j")}
    w = jnp.concatenate([W, W[:, :1]], 1)

    def loss(f):
        return lambda x, w: (jax.shard_map(f, **specs)(x, w) ** 2).sum()

    got = jax.jit(jax.grad(loss(wrapped_layer), (0, 1)))(X, w)
    want = jax.grad(loss(partial(layer, jnp)), (0, 1))(X, w)
    same(got[0], want[0])
    same(got[1], want[1])


def run(function):
    try:
        function()
    except Exception:
        return traceback.format_exc()
    return "ok"


if __name__ == "__main__":
    print(json.dumps({name: run(function) for name, function in CHECKS.items()}))
