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
from torch2jax_bridge._torch2jax.residuals import ByRun, ResidualSlot

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


def saved(slot, tensor):
    return slot.save([tensor], (tensor * 2,))


def test_bridge_slot_gives_once_and_only_to_its_run():
    slot, tensor = ResidualSlot(), torch.ones(2)
    token = saved(slot, tensor)
    found = slot.take(token, [tensor])
    assert found is not None
    assert torch.equal(found.outs[0], tensor * 2)
    assert slot.take(token, [tensor]) is None
    old = saved(slot, tensor)
    saved(slot, tensor)
    assert slot.take(old, [tensor]) is None


def test_bridge_slot_refuses_arguments_at_other_addresses():
    slot, tensor = ResidualSlot(), torch.ones(2)
    assert slot.take(saved(slot, tensor), [tensor.clone()]) is None


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


def test_bridge_graph_whose_backward_pass_never_comes_is_replaced_and_freed():
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
    for i in range(5):
        out, pull = forward(X * i)
        jax.block_until_ready(out)
        assert alive() == [False] * i + [True]
    np.testing.assert_allclose(pull(X)[0], 2 * X)
    forward(X)
    forward = wrapped = pull = out = None
    jax.clear_caches()
    for _ in range(50):
        if not any(alive()):
            break
        time.sleep(0.05)
    assert not any(alive())


def test_bridge_slot_holds_one_graph_and_no_longer_than_it_lives():
    slot, tensor = ResidualSlot(), torch.ones(2)
    outs = [torch.ones(2) for _ in range(3)]
    alive = [weakref.ref(out) for out in outs]
    for out in outs:
        slot.save([tensor], (out,))
    del outs, out
    gc.collect()
    assert [ref() is not None for ref in alive] == [False, False, True]
    del slot
    gc.collect()
    assert alive[2]() is None


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
