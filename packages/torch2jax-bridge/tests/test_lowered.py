"""Functions as programs of XLA: purity, state, randomness, and what JAX can do with such programs."""

from __future__ import annotations

import random
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from torch2jax_bridge import ShapeInferenceError, lowering, torch2jax

lowered = partial(torch2jax, backend="xla", strict=True)
X = np.linspace(-2, 2, 15, dtype=np.float32).reshape(5, 3)


def _both(function, *arrays):
    """Compare values and gradients of the lowered function with those of the called one."""
    ours, theirs = lowered(function), torch2jax(function)
    for found, expected in zip(
        jax.tree.leaves(ours(*arrays)), jax.tree.leaves(theirs(*arrays)), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)

    def total(wrapped):
        return lambda *args: sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(wrapped(*args)))

    everything = tuple(range(len(arrays)))
    gradients = (jax.grad(total(wrapped), everything)(*arrays) for wrapped in (ours, theirs))
    for found, expected in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


def _writes_in_place(x):
    out = x.clone()
    out[1:] += 3
    out = out.relu().clone()
    out[:, 0] = out[:, 1]
    out.view(-1)[::2].mul_(2)
    out.t()[0].add_(1)
    return out


def _without_gradients(x):
    with torch.no_grad():
        fixed = x * 2
    return fixed * x + x.detach() + x.data * x


def _writes_unseen(x):
    y = x * 2
    with torch.no_grad():
        y.mul_(3)
        y[0] = 1
        nn.functional.relu(y, inplace=True)
    z = x + 1
    z.data.clamp_(max=2)
    z.detach().add_(1)
    return y * z + nn.functional.cosine_similarity(x, z, dim=0)


def _gradient_inside(x):
    return torch.func.grad(lambda z: (z**3).sum())(x)


def _checkpoint(x):
    return torch.utils.checkpoint.checkpoint(torch.sin, x, use_reentrant=False)


@pytest.mark.parametrize(
    "function",
    [
        _writes_in_place,
        _without_gradients,
        _writes_unseen,
        _gradient_inside,
        _checkpoint,
        lambda x: {"a": x[x.shape[0] // 2], "b": (x.flip(0), x.roll(1, 1))},
        lambda x: torch.einsum("ij,kj->ik", x, x).softmax(-1),
        lambda x: torch.zeros(3).scatter_(0, torch.tensor([0, 2]), 1.0) + x,
        lambda x: nn.functional.scaled_dot_product_attention(*[x[None, None]] * 3, is_causal=True),
        lambda x: nn.functional.pad(x[None], (2, 1, 1, -1), mode="circular"),
        lambda x: torch.where(x > 0, x.sqrt(), x.exp()).nan_to_num(),
        lambda x: nn.functional.max_pool1d(x.t()[None], 2).sum(-1) + x.max(0).values,
    ],
)
def test_lowered_equals_called(function):
    _both(function, X)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_reentrant_checkpoints_have_derivatives():
    f = lowered(lambda x: torch.utils.checkpoint.checkpoint(torch.sin, x, use_reentrant=True))
    np.testing.assert_allclose(jax.grad(lambda x: f(x).sum())(X), np.cos(X), rtol=1e-5)


def test_two_arguments_and_trees():
    _both(lambda x, other: (x @ other["w"]).relu() + other["b"], X, {"w": X.T.copy(), "b": X[0, 0]})


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 8)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(8, 3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int32))

    def forward(self, x):
        self.calls += 1
        return self.last(self.drop(self.norm(self.first(x)).relu()))


def test_modules_give_their_buffers_back_and_draw_from_keys():
    torch.manual_seed(0)
    net = _Net()
    apply, params, buffers = lowered(net)
    called, _, _ = torch2jax(net)
    key = jax.random.key(0)
    out, after = jax.jit(apply)(params, X, buffers=buffers, rng=key)
    _, expected = called(params, X, buffers=buffers, rng=key)
    assert set(after) == set(expected)
    assert int(after["calls"]) == 1
    for name in after:
        np.testing.assert_allclose(after[name], expected[name], rtol=1e-5, atol=1e-6)
    again, _ = apply(params, X, buffers=buffers, rng=key)
    other, _ = apply(params, X, buffers=buffers, rng=jax.random.key(1))
    np.testing.assert_allclose(out, again, rtol=1e-6)
    assert not np.allclose(out, other)
    found, same = apply(params, X, buffers=buffers, is_training=False)
    wanted, _ = called(params, X, buffers=buffers, is_training=False)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(same["norm.running_mean"], buffers["norm.running_mean"])


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(
    "make",
    [
        partial(nn.LSTM, num_layers=2, bidirectional=True, batch_first=True),
        partial(nn.LSTM, proj_size=2, bias=False),
        partial(nn.GRU, num_layers=2),
        partial(nn.RNN, nonlinearity="relu", bidirectional=True),
    ],
)
def test_recurrent_networks_are_loops(make):
    torch.manual_seed(0)
    net = make(3, 4)
    apply, params, _ = lowered(net)
    x = np.linspace(-1, 1, 30, dtype=np.float32).reshape(5, 2, 3)

    def loss(params, x):
        outs = jax.tree.leaves(apply(params, x)[0])
        return sum(jnp.sum(jnp.sin(out)) for out in outs), outs

    (_, outs), (found, by_x) = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, x)
    tensor = torch.from_numpy(x).requires_grad_()
    out, states = net(tensor)
    expected = [out, *(states if isinstance(states, tuple) else (states,))]
    for ours, theirs in zip(outs, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-5, atol=1e-6)
    sum(each.sin().sum() for each in expected).backward()
    np.testing.assert_allclose(by_x, tensor.grad, rtol=1e-4, atol=1e-5)
    for name, parameter in net.named_parameters():
        np.testing.assert_allclose(found[name], parameter.grad, rtol=1e-4, atol=1e-5)
    count = apply.report().split("recurrent_layer")[1].split()[:2]
    assert count == ["lowered", str(net.num_layers * (2 if net.bidirectional else 1))]


def test_dropout_keeps_the_mean_and_two_layers_differ():
    net = nn.Sequential(nn.Dropout(0.25), nn.Identity())
    apply, params, buffers = lowered(net)
    out, _ = apply(params, jnp.ones((100, 100)), buffers=buffers, rng=jax.random.key(3))
    assert abs(float(out.mean()) - 1) < 0.02
    np.testing.assert_allclose(np.unique(out), [0, 1 / 0.75], rtol=1e-6)
    two, _, _ = lowered(_TwoDrops())
    first, second = two({}, jnp.ones((40, 40)), rng=jax.random.key(0))[0]
    assert not np.array_equal(first, second)


class _TwoDrops(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x), nn.functional.dropout(x)


def test_random_numbers_without_a_key_are_refused():
    with pytest.raises(TypeError, match=r"draws random numbers .* without a key"):
        lowered(lambda x: x + torch.rand(3))(X)


@pytest.mark.parametrize("draw", [np.random.rand, random.random])
def test_numbers_of_other_generators_are_refused(draw):
    with pytest.raises(TypeError, match="would draw once"):
        lowered(lambda x: x * float(draw()))(X)


def test_writes_into_captured_tensors_are_refused():
    kept = torch.zeros(3)
    with pytest.raises(TypeError, match="a tensor that it captured"):
        lowered(lambda x: kept.add_(1) + x)(X)
    np.testing.assert_array_equal(kept, 0)


def test_captured_tensors_are_constants():
    kept = torch.full((3,), 2.0)
    np.testing.assert_allclose(lowered(lambda x: kept * x)(X), 2 * X)


def test_arguments_that_are_written_to_are_refused():
    with pytest.raises(TypeError, match="changes its array argument number 0"):
        lowered(lambda x: x.add_(1))(X)


def _gradient_of_unseen(x):
    def inside(z):
        y = z * 2
        with torch.no_grad():
            y.add_(1)
        return (y**2).sum()

    return torch.func.grad(inside)(x)


def test_unseen_writes_inside_of_gradients_are_refused():
    with pytest.raises(TypeError, match=r"torch\.func differentiates writes"):
        lowered(_gradient_of_unseen)(X)


def test_functions_run_once_and_leave_no_trace(capsys):
    kept, flags = [], []

    def function(x):
        print("ran")
        kept.append(x)
        with ThreadPoolExecutor(1) as pool:
            flags.append(pool.submit(lambda: bool(torch.compiler.is_compiling())).result())
        return x * 2 if torch.compiler.is_compiling() and not any(flags) else x

    f = jax.jit(lowered(function))
    np.testing.assert_allclose(f(X), 2 * X)
    assert capsys.readouterr().out == "ran\n"
    assert kept == []
    assert torch.compiler.is_compiling() is False


def test_that_it_records_may_be_asked_as_a_bool_is():
    def function(x):
        here, both = torch.compiler.is_compiling(), False
        both |= here
        assert both is (here | False) is (True & here) is True
        assert here == True != False  # noqa: E712
        assert (not here, here ^ True, int(here), repr(here)) == (False, False, 1, "True")
        return x * int(both)

    np.testing.assert_array_equal(lowered(function)(X), X)


def test_tensors_without_values_that_stay_are_an_error():
    with pytest.raises(ShapeInferenceError, match="keeps a tensor"):
        lowered(lambda x: setattr(sys, "_kept_by_a_test", x * 2) or x)(X)
    del sys._kept_by_a_test


def test_wrong_integers_are_named():
    def only_long(x):
        if x.dtype != torch.int64:
            raise RuntimeError("expected Long")
        return x + 1

    with pytest.raises(ShapeInferenceError, match=r"expected Long.* widen_integers=True"):
        lowered(only_long)(np.zeros(3, np.int32))
    assert lowered(only_long, widen_integers=True)(np.zeros(3, np.int32)).shape == (3,)


@pytest.mark.parametrize("make", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells_equal_pytorch(make):
    torch.manual_seed(0)
    net = make(3, 4)
    apply, params, _ = lowered(net)

    def loss(params):
        out = jax.tree.leaves(apply(params, X)[0])
        return sum(jnp.sum(jnp.sin(x)) for x in out)

    found = jax.grad(loss)(params)
    out = net(torch.from_numpy(X))
    sum(x.sin().sum() for x in (out if isinstance(out, tuple) else (out,))).backward()
    for name, parameter in net.named_parameters():
        np.testing.assert_allclose(found[name], parameter.grad, rtol=1e-4, atol=1e-5)


class _Tripled(torch.autograd.Function):
    """Its derivative is not that of what it computes."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x * factor

    @staticmethod
    def backward(ctx, grad):
        return grad * 100, None


def test_custom_derivatives_are_kept():
    f = torch2jax(lambda x: _Tripled.apply(x, 3.0).sin(), backend="xla")
    np.testing.assert_allclose(f(X), np.sin(3 * X), rtol=1e-5)
    found = jax.grad(lambda x: f(x).sum())(X)
    np.testing.assert_allclose(found, 100 * np.cos(3 * X), rtol=1e-4)
    assert f.report().splitlines()[0].split() == ["_Tripled", "called", "1"]
    with pytest.raises(TypeError, match="_Tripled"):
        lowered(lambda x: _Tripled.apply(x, 3.0))(X)


@torch.library.custom_op("lowered_tests::tripled", mutates_args=())
def tripled(x: torch.Tensor) -> torch.Tensor:
    return x * 3


tripled.register_fake(torch.empty_like)
tripled.register_autograd(lambda ctx, grad: grad * 3)


def test_own_operators_are_called_until_they_have_a_rule():
    f = torch2jax(lambda x: tripled(x) + 1, backend="xla")
    np.testing.assert_allclose(jax.jit(f)(X), 3 * X + 1, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda x: f(x).sum())(X), np.full_like(X, 3))
    assert f.report().splitlines()[-1] == "1 of 2 operators are lowered."
    np.testing.assert_allclose(jax.vmap(f)(X), 3 * X + 1, rtol=1e-6)

    @lowering("lowered_tests::tripled")
    def rule(x, *, result):
        assert result.shape == x.shape
        return 3 * x

    g = lowered(lambda x: tripled(x) + 1)
    np.testing.assert_allclose(g(X), 3 * X + 1, rtol=1e-6)
    assert g.report().splitlines()[-1] == "2 of 2 operators are lowered."
    with pytest.raises(ValueError, match="mylib::op"):
        lowering("tripled")


@pytest.mark.parametrize(
    "option",
    [
        {"out": True},
        {"input_output_aliases": {0: 0}},
        {"vmap_method": "sequential"},
        {"randomness": "same"},
        {"infer": "run"},
        {"debug": True},
        {"output_shapes": torch.Size([5, 3])},
    ],
)
def test_options_without_effect_are_refused(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        torch2jax(torch.sin, backend="xla", **option)


def test_other_mistakes():
    with pytest.raises(ValueError, match="backend is 'gpu'"):
        torch2jax(torch.sin, backend="gpu")
    with pytest.raises(ValueError, match="strict"):
        torch2jax(torch.sin, strict=True)
    with pytest.raises(ValueError, match="report"):
        torch2jax(torch.sin).report()
    with pytest.raises(ShapeInferenceError, match="no values to read"):
        lowered(lambda x: x * x.sum().item())(X)
    with pytest.raises(TypeError, match="returned 3 of type int at result"):
        lowered(lambda x: 3)(X)
    with torch.enable_grad(), pytest.raises(ShapeInferenceError, match="could not be recorded"):
        lowered(lambda x: x.clone().requires_grad_() * 2)(X)


TRANSFORMS = {
    "vmap": lambda f: jax.vmap(f),
    "jacfwd": lambda f: jax.jacfwd(lambda x: f(x).sum(0)),
    "hessian": lambda f: jax.hessian(lambda x: f(x).sum()),
    "checkpoint": lambda f: jax.grad(jax.checkpoint(lambda x: f(x).sum())),
    "linearize": lambda f: lambda x: jax.linearize(f, x)[1](x),
    "scan": lambda f: lambda x: jax.lax.scan(lambda c, _: (f(c), c.sum()), x, length=3)[1],
    "vmap of grad": lambda f: jax.vmap(jax.grad(lambda x: f(x).sum())),
    "cond": lambda f: lambda x: jax.lax.cond(x.sum() > 1, f, lambda y: y, x),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_equal_those_of_jax(name):
    def in_torch(x):
        return torch.tanh(x) * x.exp().sum() - x.softmax(-1)

    def in_jax(x):
        return jnp.tanh(x) * jnp.exp(x).sum() - jax.nn.softmax(x, -1)

    transform = TRANSFORMS[name]
    found, expected = (jax.jit(transform(f))(X) for f in (lowered(in_torch), in_jax))
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)


def test_names_of_modules_are_in_the_program():
    apply, params, buffers = lowered(_Net())
    jitted = jax.jit(partial(apply, is_training=False))
    text = jitted.lower(params, X, buffers=buffers).as_text(debug_info=True)
    assert "first" in text
    assert "last" in text
    assert "custom_call" not in text


def test_programs_have_no_custom_call_and_take_donated_arguments():
    step = jax.jit(lowered(lambda w, x: w - 0.1 * (w @ x)), donate_argnums=0)
    weights = jnp.ones((3, 3))
    pointer = weights.unsafe_buffer_pointer()
    out = step(weights, jnp.ones((3, 3)))
    assert out.unsafe_buffer_pointer() == pointer


def test_pickled_functions_are_lowered_again():
    import pickle

    f = pickle.loads(pickle.dumps(torch2jax(torch.cos, backend="xla")))
    np.testing.assert_allclose(f(X), np.cos(X), rtol=1e-6)
    assert f.report().splitlines()[-1] == "1 of 1 operators are lowered."
