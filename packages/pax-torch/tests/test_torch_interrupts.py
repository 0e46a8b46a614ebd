"""Ctrl-C while a function is traced, compiled and run: it arrives where the call is, and nothing stays changed."""

import os
import random
import signal
import threading
import time

import pytest
import torch

import pax_torch as pax
from pax_torch._compile.closed import tracing_lock

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")

X = torch.arange(6.0).reshape(2, 3)


@pytest.fixture(autouse=True)
def default_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def interrupted(seconds, call):
    """Call something again and again, with Ctrl-C after some seconds."""
    threading.Timer(seconds, interrupt).start()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        call()


def settings():
    """Return what PyTorch has of settings for a thread, and whether another thread can trace."""
    free = []

    def take():
        free.append(tracing_lock.acquire(blocking=False))
        if free[0]:
            tracing_lock.release()

    other = threading.Thread(target=take)
    other.start(), other.join()
    return (
        free,
        torch.is_grad_enabled(),
        torch.backends.mkldnn.enabled,
        torch.compiler.is_compiling(),
        torch._C._len_torch_dispatch_stack(),
        torch._C._functorch.maybe_current_level(),
        signal.getsignal(signal.SIGINT),
    )


def loss(net, x):
    return (torch.tanh(x @ net["w"]) ** 2).sum()


NET = {"w": torch.ones(3, 2)}
HOW = {
    "gradient": pax.value_and_grad(loss),
    "scan": lambda net, x: pax.lax.scan(lambda c, row: (c + row @ net["w"], c), X[0, :2], x),
}


@pytest.mark.parametrize("how", HOW)
def test_ctrl_c_while_a_function_is_traced(how):
    """At many moments; the next call of the same function has the right result."""
    function = HOW[how]
    expected, before = function(NET, X), settings()
    moments = random.Random(0)
    for _ in range(3):
        made = []

        def call(made=made):
            made.append(pax.jit(function, backend="eager"))
            made[-1](NET, X)

        with pytest.raises(KeyboardInterrupt):
            interrupted(moments.uniform(0.01, 0.06), call)
        assert settings() == before
        pax.tree_map(torch.testing.assert_close, made[-1](NET, X), expected)


@pytest.mark.parametrize("where", ["function", "compiler"])
def test_ctrl_c_waits_until_a_trace_ends_and_is_not_lost(where):
    seen = []

    def compiler(graph, _):
        seen.append("compiled")
        if where == "compiler":
            interrupt()
            sum(range(100))
        seen.append("done")
        return graph

    def double(x):
        if where == "function":
            interrupt()
            sum(range(100))
        seen.append("traced")
        return 2 * x

    jitted = pax.jit(double, backend=compiler)
    with pytest.raises(KeyboardInterrupt):
        jitted(X)
    assert seen == (["traced"] if where == "function" else ["traced", "compiled", "done"])
    signal.signal(signal.SIGINT, lambda *_: seen.append("handled"))
    assert jitted(X).equal(2 * X)


def test_a_second_ctrl_c_ends_a_trace_at_once():
    def endless(x):
        while True:
            interrupt()

    with pytest.raises(KeyboardInterrupt):
        pax.jit(endless, backend="eager")(X)
    assert settings()[0] == [True]


def test_ctrl_c_comes_in_place_of_an_error_of_the_trace():
    def fails(x):
        interrupt()
        raise ValueError("wrong")

    with pytest.raises(KeyboardInterrupt) as found:
        pax.jit(fails, backend="eager")(X)
    assert str(found.value.__context__) == "wrong"


def test_handlers_of_others_are_called_and_stay():
    seen = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))

    def double(x):
        interrupt()
        seen.append("traced")
        return 2 * x

    assert pax.jit(double, backend="eager")(X).equal(2 * X)
    assert seen == ["traced", signal.SIGINT]


def step(net, x):
    optimizer = pax.functional_optimizer(torch.optim.Adam, lr=0.1)
    grads = pax.grad(loss)(net, x)
    return optimizer.step(net, grads, optimizer.init(net))[0]


EAGER = {
    "step": step,
    "vmap": pax.vmap(loss, (None, 0)),
    "hessian": lambda net, x: pax.hessian(lambda w: loss({"w": w}, x))(net["w"]),
    "scan": HOW["scan"],
}


@pytest.mark.parametrize("name", EAGER)
def test_ctrl_c_in_a_loop_of_calls(name):
    function = EAGER[name]
    expected, before = function(NET, X), settings()
    moments = random.Random(1)
    for _ in range(10):
        with pytest.raises(KeyboardInterrupt):
            interrupted(moments.uniform(0.005, 0.02), lambda: function(NET, X))
        assert settings() == before
        pax.tree_map(torch.testing.assert_close, function(NET, X), expected)
