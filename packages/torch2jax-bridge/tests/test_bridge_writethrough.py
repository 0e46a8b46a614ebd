"""Large results are written straight into XLA's buffers, and are right whatever the function does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from torch2jax_bridge import j2t, torch2jax
from torch2jax_bridge._torch2jax.out_buffers import out_form

SIDE = 640
X = jnp.linspace(-2.0, 2.0, SIDE * SIDE).reshape(SIDE, SIDE)
Y = jnp.cos(X)

WRITTEN = {
    "add": lambda x, y: x + y,
    "scaled": lambda x, y: torch.add(x, y, alpha=3),
    "sine": lambda x, y: torch.sin(x),
    "chain": lambda x, y: torch.tanh(x * y).exp() - y,
    "matmul": lambda x, y: x @ y,
    "linear": lambda x, y: torch.nn.functional.linear(x, y, y[0]),
    "relu": lambda x, y: torch.relu(x * y),
    "softmax": lambda x, y: torch.softmax(x, 1),
    "cat": lambda x, y: torch.cat([x, y]),
    "where": lambda x, y: torch.where(x > y, x, y),
    "clone": lambda x, y: x.T.contiguous(),
    "dtype": lambda x, y: x.double().float() + 1,
    "int": lambda x, y: (x * 100).to(torch.int32),
    "bool": lambda x, y: x > y,
    "view": lambda x, y: (x + y).view(-1),
    "in_place": lambda x, y: (x + y).mul_(2).add_(y),
    "both": lambda x, y: (x + y, x * y),
    "tree": lambda x, y: {"a": x + y, "b": [x.sum(), y - x]},
}
COPIED = {
    "transposed": lambda x, y: (x + y).T,
    "part": lambda x, y: (x + y)[1:],
    "expanded": lambda x, y: (x[0] + y[0]).expand(SIDE, SIDE),
    "argument": lambda x, y: x,
    "argument_view": lambda x, y: y.view(-1),
    "stack": lambda x, y: torch.stack([x, y]),
    "layer_norm": lambda x, y: torch.nn.functional.layer_norm(x, (SIDE,)),
    "cumulative": lambda x, y: torch.cumsum(x, 0).flip(0),
}


def check(function, wrapped, x=X, y=Y):
    want = jax.tree.map(lambda t: t.numpy(), function(j2t(x), j2t(y)))
    got = wrapped(x, y)
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    return got


@pytest.mark.parametrize("function", {**WRITTEN, **COPIED}.values(), ids={**WRITTEN, **COPIED})
def test_bridge_large_results_are_right_on_every_call(function):
    wrapped = jax.jit(torch2jax(function))
    for i in range(3):
        check(function, wrapped, X + i, Y * i)


@pytest.mark.parametrize("function", WRITTEN.values(), ids=WRITTEN)
def test_bridge_large_results_lie_where_xla_wants_them(function):
    seen = []

    def watched(x, y):
        out = function(x, y)
        seen.append([t.data_ptr() for t in jax.tree.leaves(out)])
        return out

    shapes = jax.eval_shape(torch2jax(function), X, Y)
    wrapped = jax.jit(torch2jax(watched, output_shapes=shapes))
    check(function, wrapped)
    out = jax.tree.leaves(check(function, wrapped))
    large = [i for i, leaf in enumerate(out) if leaf.nbytes >= SIDE * SIDE]
    assert [seen[1][i] for i in large] == [out[i].unsafe_buffer_pointer() for i in large]


def test_bridge_small_results_are_not_watched():
    modes = []

    def function(x):
        modes.append(torch.utils._python_dispatch._get_current_dispatch_mode() is not None)
        return x + 1

    for x, watched in ((jnp.ones(8), False), (X, True)):
        wrapped = torch2jax(function, output_shapes=x)
        for _ in range(2):
            np.testing.assert_array_equal(wrapped(x), x + 1)
            assert modes.pop() is watched


def varying(*functions):
    """A function that does something else on each call."""
    calls = iter(functions * 3)
    return lambda x, y: next(calls)(x, y)


ALTERNATIVES = [
    lambda x, y: x + y,
    lambda x, y: (x * y).T,
    lambda x, y: torch.sin(x) + torch.cos(y),
    lambda x, y: (x + y).T,
    lambda x, y: (x + y).flip(1),
    lambda x, y: x,
    lambda x, y: (x + y)[torch.arange(SIDE - 1, -1, -1)],
]


def test_bridge_function_that_does_something_else_each_time():
    wrapped = jax.jit(torch2jax(varying(*ALTERNATIVES), output_shapes=X))
    for function in ALTERNATIVES * 3:
        np.testing.assert_array_equal(wrapped(X, Y), function(j2t(X), j2t(Y)).numpy())


PAIRS = [
    lambda x, y: (x + y, x * y),
    lambda x, y: (x + y, x * y)[::-1],
    lambda x, y: ((x + y).T, x * y),
    lambda x, y: (x * y, x + y),
    lambda x, y: ((x + y),) * 2,
]


def test_bridge_results_that_lie_in_each_others_buffers():
    wrapped = jax.jit(torch2jax(varying(*PAIRS), output_shapes=(X, X)))
    for function in PAIRS * 3:
        for ours, theirs in zip(wrapped(X, Y), function(j2t(X), j2t(Y)), strict=True):
            np.testing.assert_array_equal(ours, theirs.numpy())


def test_bridge_large_gradients_and_batches():
    def function(xp, x, y):
        return (xp.sin(x) * y).sum()

    wrapped = torch2jax(lambda x, y: function(torch, x, y))
    got = jax.jit(jax.grad(wrapped, (0, 1)))
    for i in range(3):
        want = jax.grad(lambda x, y: function(jnp, x, y), (0, 1))(X + i, Y)
        for ours, theirs in zip(got(X + i, Y), want, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    rows = jax.jit(jax.vmap(torch2jax(lambda x, y: torch.exp(x) * y)))
    for i in range(3):
        np.testing.assert_allclose(rows(X + i, Y), jnp.exp(X + i) * Y, rtol=1e-5, atol=1e-5)


def test_bridge_large_result_that_the_function_keeps_is_moved():
    kept = []

    def function(x, y):
        out = x + y
        kept.append(out)
        return out

    wrapped = jax.jit(torch2jax(function, output_shapes=X))
    outs = [wrapped(X * i, Y) for i in range(4)]
    for i, (tensor, out) in enumerate(zip(kept, outs, strict=True)):
        np.testing.assert_array_equal(out, X * i + Y)
        assert tensor.data_ptr() != out.unsafe_buffer_pointer()
        np.testing.assert_array_equal(tensor.numpy(), out)


def test_bridge_out_forms():
    aten = torch.ops.aten
    assert out_form(aten.add.Tensor, "cpu") is aten.add.out
    assert out_form(aten.mm.default, "cpu") is aten.mm.out
    assert out_form(aten.sum.dim_IntList, "cpu") is aten.sum.IntList_out
    assert out_form(aten.nonzero.default, "cpu") is None  # the shape is not known before
    assert out_form(aten.convolution.default, "cpu") is None  # its form copies
    assert out_form(aten.max.dim, "cpu") is None  # two results
    assert out_form(aten.add_.Tensor, "cpu") is None  # makes no tensor
