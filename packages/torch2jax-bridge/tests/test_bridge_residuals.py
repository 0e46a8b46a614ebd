"""What a forward pass leaves to the backward pass: used once, and only by its own."""

import gc
import time
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from torch2jax_bridge import torch2jax
from torch2jax_bridge._torch2jax.recording import Recording
from torch2jax_bridge._torch2jax.residuals import (
    WAITING,
    ByRun,
    ByToken,
    Residuals,
    ResidualSlot,
)

X = jnp.array([0.5, -1.0, 2.0])


@pytest.fixture
def counted():
    runs = []

    def function(x, y):
        if not isinstance(x, torch._subclasses.FakeTensor):
            runs.append(1)
        return torch.sin(x) * y

    return torch2jax(function), runs


def test_bridge_gradient_runs_the_function_once(counted):
    wrapped, runs = counted
    for gradient in (jax.grad, lambda f: jax.jit(jax.grad(f))):
        runs.clear()
        jax.block_until_ready(gradient(lambda x: wrapped(x, X).sum())(X))
        assert len(runs) == 1


def test_bridge_pull_back_called_twice(counted):
    wrapped, runs = counted
    _, pull = jax.vjp(wrapped, X, X)
    first, second = pull(X), pull(2 * X)
    np.testing.assert_allclose(first[0], jnp.cos(X) * X * X, rtol=1e-6)
    np.testing.assert_allclose(second[0], 2 * first[0], rtol=1e-6)
    assert len(runs) == 2


def test_bridge_interleaved_passes_do_not_mix(counted):
    wrapped, _ = counted
    pulls = [jax.vjp(wrapped, X * i, X)[1] for i in range(4)]
    for i in (2, 3, 0, 1):
        np.testing.assert_allclose(pulls[i](X)[0], jnp.cos(X * i) * X * X, rtol=1e-6)


def test_bridge_scan_pulls_back_every_step(counted):
    wrapped, _ = counted

    def loop(f):
        return lambda x: jax.lax.scan(lambda c, s: (f(c, s), None), x, jnp.stack([X] * 5))[0].sum()

    got = jax.jit(jax.grad(loop(wrapped)))(X)
    want = jax.grad(loop(lambda x, y: jnp.sin(x) * y))(X)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_bridge_gradient_of_gradient(counted):
    wrapped, _ = counted
    got = jax.grad(lambda x: jax.grad(lambda x: wrapped(x, X).sum())(x).sum())(X)
    np.testing.assert_allclose(got, -jnp.sin(X) * X, rtol=1e-6)


def test_bridge_vmapped_linear_map(counted):
    wrapped, _ = counted
    _, pull = jax.vjp(lambda x: wrapped(x, X), X)
    np.testing.assert_allclose(jax.vmap(pull)(jnp.eye(3))[0], jnp.diag(jnp.cos(X) * X), rtol=1e-6)


def test_bridge_transpose_of_pull_back(counted):
    wrapped, _ = counted
    _, pull = jax.vjp(lambda x: wrapped(x, X), X)
    pushed = jax.linear_transpose(lambda ct: pull(ct)[0], X)(X)[0]
    np.testing.assert_allclose(pushed, jnp.cos(X) * X * X, rtol=1e-6)


def saved(slot, tensor, factor=2):
    copies = slot.arguments([tensor])
    primals = copies or [tensor]
    return slot.save([tensor], primals, (primals[0] * factor,), copies, Recording())


def test_bridge_slot_gives_each_run_its_own_and_once():
    slot, tensor = ResidualSlot(), torch.ones(2)
    tokens = {factor: saved(slot, tensor, factor) for factor in (2, 3, 4)}
    for factor in (3, 4, 2):
        found = slot.take(tokens[factor], [tensor])
        assert found is not None
        assert torch.equal(found.outs[0], tensor * factor)
        assert slot.take(tokens[factor], [tensor]) is None


def test_bridge_slot_refuses_arguments_at_other_addresses_and_copies_later_ones():
    slot, tensor = ResidualSlot(), torch.ones(2)
    assert slot.take(saved(slot, tensor), [tensor.clone()]) is None
    token = saved(slot, tensor)
    tensor.zero_()
    found = slot.take(token, [tensor.clone()])
    assert found is not None
    assert found.primals[0].tolist() == [1, 1]


def test_bridge_slot_copies_what_stays_the_same_once():
    slot = ResidualSlot(copies=True)
    fixed, moving = torch.tensor([0.0, float("nan")]), torch.zeros(3)
    first = slot.arguments([fixed, moving])
    moving.add_(1)
    second = slot.arguments([fixed, moving])
    assert second[0] is first[0]
    assert second[1] is not first[1]
    assert slot.arguments([-fixed, moving])[0] is not first[0]
    assert first[1].tolist() == [0, 0, 0]


def test_bridge_graph_is_freed_by_the_backward_pass():
    kept = []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            middle = x * 2
            kept.append(weakref.ref(ctx))
            ctx.save_for_backward(middle)
            return middle.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    wrapped = torch2jax(Watched.apply, output_shapes=X)
    jax.block_until_ready(jax.jit(jax.grad(lambda x: wrapped(x).sum()))(X))
    gc.collect()
    assert len(kept) == 1
    assert kept[0]() is None


def test_bridge_graphs_whose_backward_passes_never_come_are_few_and_freed():
    graphs = []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            graphs.append(weakref.ref(ctx))
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    def alive():
        gc.collect()
        return [ref() is not None for ref in graphs]

    wrapped = torch2jax(Watched.apply, output_shapes=X)
    forward = jax.jit(lambda x: jax.vjp(lambda x: wrapped(x), x))
    for i in range(4 * WAITING):
        out, pull = forward(X * i)
        jax.block_until_ready(out)
    assert sum(alive()) <= 2 * WAITING
    assert alive()[-WAITING:] == [True] * WAITING
    np.testing.assert_allclose(pull(X)[0], 2 * X)
    forward(X)
    forward = wrapped = pull = out = None
    jax.clear_caches()
    for _ in range(50):
        if not any(alive()):
            break
        time.sleep(0.05)
    assert not any(alive())


def test_bridge_run_keeps_all_its_passes_and_others_go():
    passes = ByToken()
    for run in range(5):
        for _ in range(3 * WAITING):
            passes.save(Residuals(None, [], (), [], Recording()), run)
    assert 3 * WAITING <= len(passes) <= 7 * WAITING
    tokens = [passes.save(Residuals(None, [], (), [], Recording()), 5) for _ in range(3 * WAITING)]
    assert all(passes.take(token) is not None for token in tokens)


def test_bridge_slot_frees_its_graphs_with_it():
    slot, tensor = ResidualSlot(), torch.ones(2)
    out = torch.ones(2)
    alive = weakref.ref(out)
    slot.save([tensor], [tensor], (out,), [], Recording())
    del out
    gc.collect()
    assert alive() is not None
    del slot
    gc.collect()
    assert alive() is None


class Counted(torch.nn.Module):
    """A layer that counts its runs with values."""

    def __init__(self, dropout):
        super().__init__()
        self.layer = torch.nn.Linear(3, 3)
        self.dropout = torch.nn.Dropout(dropout)
        self.runs = [0]

    def __deepcopy__(self, memo):
        copy = Counted(self.dropout.p)
        copy.runs = self.runs
        return copy

    def forward(self, x):
        self.runs[0] += not isinstance(x, torch._subclasses.FakeTensor)
        return self.dropout(self.layer(x))


def siamese(apply, x):
    return (apply(x) * apply(2 * x)).sum()


def critic(apply, x):
    return (apply(x) - apply(-x)).mean() + (apply(x * 3) ** 2).mean()


def unrolled(apply, x):
    for _ in range(10):
        x = apply(x)
    return x.sum()


def of_a_jitted_cell(apply, x):
    return unrolled(jax.jit(apply), x)


def scanned(apply, x):
    return jax.lax.scan(lambda c, _: (apply(c), None), x, length=10)[0].sum()


def batched(apply, x):
    out = jax.vmap(apply)(x)
    return (out**2).sum()


def eager(function):
    return function


PROGRAMS = [(siamese, 2), (critic, 3), (unrolled, 10), (of_a_jitted_cell, 10), (batched, 1)]
# JAX traces the loop anew in each call without jit.
STEPS = [(*pair, jit) for pair in PROGRAMS for jit in (jax.jit, eager)] + [(scanned, 10, jax.jit)]


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize(
    ("program", "runs", "jit"), STEPS, ids=lambda p: getattr(p, "__name__", "")
)
def test_bridge_step_runs_every_forward_pass_once(program, runs, jit, dropout):
    module = Counted(dropout)
    apply, params, _ = torch2jax(module, randomness="different")
    step = jit(jax.value_and_grad(lambda p, x: program(lambda x: apply(p, x)[0], x)))
    x = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)
    jax.block_until_ready(step(params, x))
    module.runs[0] = 0
    value, grads = step(params, x)
    jax.block_until_ready(grads)
    assert module.runs[0] == runs
    if not dropout:
        want = jax.value_and_grad(
            lambda p, x: program(lambda x: x @ p["layer.weight"].T + p["layer.bias"], x)
        )(params, x)
        np.testing.assert_allclose(value, want[0], rtol=1e-4, atol=1e-6)
        for name in params:
            np.testing.assert_allclose(grads[name], want[1][name], rtol=1e-4, atol=1e-6)


def test_bridge_dropout_in_a_loop_has_the_gradient_of_its_own_masks():
    apply, params, _ = torch2jax(Counted(0.5))
    x = jnp.ones((2, 3))

    def loss(p):
        def step(total, _):
            out = apply(p, x)[0]
            return total + out.sum(), out

        return jax.lax.scan(step, 0.0, length=20)

    grads, outs = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert outs.std(0).min() > 0  # each step has masks of its own
    kept = (outs != 0).sum((0, 1)) * 2.0
    np.testing.assert_allclose(grads["layer.bias"], kept)


def test_bridge_values_alone_leave_no_graph():
    graphs = []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            graphs.append(weakref.ref(ctx))
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    wrapped = torch2jax(Watched.apply, output_shapes=X)
    value = jax.jit(lambda x: jax.value_and_grad(lambda x: wrapped(x).sum())(x)[0])
    jax.block_until_ready(value(X))
    gc.collect()
    assert [ref() for ref in graphs] == [None]


def run_events(events):
    """What backward passes find: an event is ("leave", run, graph) or ("take", run)."""
    place, found = ByRun(), []
    for name, run, *graph in events:
        if name == "leave":
            place.save(*graph, run)
        else:
            found.append(place.take(run))
    return found


ORDERS = {
    "alternating": (["leave 1 a", "take 1", "leave 1 b", "take 1"], ["a", "b"]),
    "scan": (["leave 1 a", "leave 1 b", "take 1", "take 1"], [None, None]),
    "shifted": (["leave 1 a", "leave 1 b", "take 1", "leave 1 c", "take 1"], [None, None]),
    "twice": (["leave 1 a", "take 1", "take 1"], ["a", None]),
    "other_run": (["leave 1 a", "take 2"], [None]),
    "next_run": (["leave 1 a", "leave 2 b", "take 2"], ["b"]),
    "after_mixed": (["leave 1 a", "leave 1 b", "take 1", "leave 2 c", "take 2"], [None, "c"]),
    "empty": (["take 1"], [None]),
}


@pytest.mark.parametrize(("events", "found"), ORDERS.values(), ids=ORDERS)
def test_bridge_graph_found_by_its_run(events, found):
    assert run_events(event.split() for event in events) == found
