"""Many models, calls and interrupts in one process: what is dropped is gone, Ctrl-C arrives in the loop."""

import gc
import os
import pickle
import signal
import threading
import time
import warnings
import weakref
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from torch2jax_bridge import JaxModule, jax2torch, torch2jax, torch2jax_with_vjp

X = jnp.ones(4)
T = torch.ones(4)
WITHOUT_VALUES = (FakeTensor, FakeTensorMode)


def of_tensor():
    """A function of PyTorch's, and a weak reference to a tensor that it holds."""
    held = torch.ones(10_000)
    return lambda x: (x * held[:4]).sum(), weakref.ref(held)


def of_array():
    """A function of JAX's, which holds an array."""
    held = jnp.ones(10_000) * 2
    return lambda x: (x * held[:4]).sum(), None


def plain_jax():
    function, held = of_array()
    jax.jit(jax.grad(function))(X).block_until_ready()
    return held


def plain_torch():
    function, held = of_tensor()
    torch.func.grad(function)(T)
    return held


def wrapped_function():
    function, held = of_tensor()
    wrapped = torch2jax(function)
    wrapped(X).block_until_ready()
    jax.jit(jax.vmap(jax.grad(wrapped)))(X[None]).block_until_ready()
    return held


def wrapped_with_vjp():
    function, held = of_tensor()
    jax.grad(torch2jax_with_vjp(function, T))(X).block_until_ready()
    return held


def wrapped_module():
    net = torch.nn.Sequential(*[torch.nn.Linear(4, 4) for _ in range(10)], torch.nn.Dropout(0.5))
    apply, params, _ = torch2jax(net)
    loss = jax.jit(jax.grad(lambda p: apply(p, X, rng=jax.random.key(0))[0].sum()))
    jax.block_until_ready(loss(params))
    return weakref.ref(net)


def jax_function():
    function, held = of_array()
    jax2torch(function)(T.clone().requires_grad_()).backward()
    return held


def jax_function_transformed():
    function, held = of_array()
    torch.func.vmap(torch.func.grad(jax2torch(function)))(T[None])
    return held


def jax_function_counted():
    function, held = of_array()
    with FlopCounterMode(display=False):
        jax2torch(function)(T.clone().requires_grad_()).backward()
    return held


def jax_module():
    module = JaxModule(lambda w, x: (x * w[:4]).sum(), jnp.ones(10_000))
    module(T).backward()
    return weakref.ref(module)


NOTHING = (0, 0), 0


def left_by(trial, times=3):
    """Return the bytes of JAX's arrays, the tensors without values, the objects that a trial leaves."""

    def now():
        without_values = sum(issubclass(type(x), WITHOUT_VALUES) for x in gc.get_objects())
        return sum(array.nbytes for array in jax.live_arrays()), without_values

    trial()
    gc.collect()
    before = now()
    held = [trial() for _ in range(times)]
    for _ in range(50):  # XLA's threads let go of a program a moment after it has ended
        gc.collect()
        alive = sum(ref is not None and ref() is not None for ref in held)
        left = tuple(b - a for a, b in zip(before, now(), strict=True)), alive
        if left == NOTHING:
            break
        time.sleep(0.1)
    return left


@pytest.mark.parametrize(
    "trial",
    [
        plain_jax,
        plain_torch,
        wrapped_function,
        wrapped_with_vjp,
        wrapped_module,
        jax_function,
        jax_function_transformed,
        jax_function_counted,
        jax_module,
    ],
)
def test_bridge_nothing_is_left_of_what_is_dropped(trial):
    assert left_by(trial) == NOTHING


def test_jax2torch_graph_of_the_user_owns_its_function():
    graph = make_fx(jax2torch(lambda x: x * jnp.arange(4.0)))(T)
    gc.collect()
    torch.testing.assert_close(graph(T), torch.arange(4.0))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_jax2torch_nothing_is_left_of_what_torch_compile_has_forgotten(backend):
    def trial():
        array = jnp.arange(1000.0) * 2
        wrapped = jax2torch(lambda x: (x * array[:4]).sum())
        torch.compile(wrapped, backend=backend)(T.clone().requires_grad_()).backward()
        return weakref.ref(array), weakref.ref(wrapped)

    held, reference = trial()
    torch._dynamo.reset()
    gc.collect()
    assert held() is None
    assert reference() is None


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_jax2torch_graph_of_torch_compile_outlives_a_cleared_cache(backend):
    function = jax2torch(lambda x: x * 2)
    compiled = torch.compile(lambda x: function(x) + 1, backend=backend)
    for _ in range(2):
        torch.testing.assert_close(compiled(T), torch.full((4,), 3.0))
        function.clear_cache()
        gc.collect()


def test_bridge_failures_keep_no_tensors_of_their_causes():
    made = []

    def load():
        activations = torch.ones(1000)
        made.append(weakref.ref(activations))
        raise KeyError("bad batch")

    def fails(x):
        try:
            load()
        except KeyError as error:
            raise ExceptionGroup("step failed", [ValueError("first"), error]) from error

    with pytest.raises(jax.errors.JaxRuntimeError, match="step failed"):
        torch2jax(fails, output_shapes=X)(X).block_until_ready()
    gc.collect()
    assert made
    assert all(ref() is None for ref in made)


@pytest.fixture
def default_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize("how", ["eager", "jit", "grad"])
def test_bridge_ctrl_c_arrives_after_the_program(default_handler, how):
    ran = []

    def first(x):
        ran.append("first")
        os.kill(os.getpid(), signal.SIGINT)
        return torch.sin(x)

    def second(x):
        ran.append("second")
        return torch.cos(x)

    shape = jnp.ones(4)
    one, two = (torch2jax(f, output_shapes=shape) for f in (first, second))
    step = {
        "eager": lambda x: two(one(x)),
        "jit": jax.jit(lambda x: two(one(x))),
        "grad": jax.jit(jax.grad(lambda x: two(one(x)).sum())),
    }[how]
    interrupts = 0
    for _ in range(3):
        try:
            jax.block_until_ready(step(X))
            sum(range(1000))
        except KeyboardInterrupt:
            interrupts += 1
    assert interrupts == 3
    assert how == "eager" or Counter(ran) == {"first": 3, "second": 3}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_bridge_ctrl_c_at_any_time_of_a_step(default_handler):
    apply, params, _ = torch2jax(torch.nn.Sequential(*[torch.nn.Linear(4, 4) for _ in range(5)]))
    step = jax.jit(jax.grad(lambda p: apply(p, X)[0].sum()))
    jax.block_until_ready(step(params))

    def loop():
        while True:
            jax.block_until_ready(step(params))

    for trial in range(12):
        interrupt = os.kill, (os.getpid(), signal.SIGINT)
        threading.Timer(0.02 + 0.003 * trial, *interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            loop()


@torch2jax
def decorated(x):
    return torch.sin(x)


@jax2torch
def decorated_jax(x):
    return jnp.sin(x)


def test_bridge_decorated_functions_pickle():
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    assert pickle.loads(pickle.dumps(decorated_jax)) is decorated_jax
    np.testing.assert_allclose(decorated(X), jnp.sin(X), rtol=1e-6)
    again = pickle.loads(pickle.dumps(torch2jax(torch.sin)))
    np.testing.assert_allclose(again(X), jnp.sin(X), rtol=1e-6)


def test_bridge_caches_are_counted_and_cleared():
    function = torch2jax(torch.sin)
    back = jax2torch(jnp.sin)
    apply, params, _ = torch2jax(torch.nn.Linear(4, 4))
    for size in (4, 8):
        function(jnp.ones(size)).block_until_ready()
        back(torch.ones(size))
        apply(params, jnp.ones((size, 4)), is_training=False)
    for wrapped in (function, back, apply):
        assert wrapped.cache_size() == 2
        wrapped.clear_cache()
        assert wrapped.cache_size() == 0
    np.testing.assert_allclose(function(X), jnp.sin(X), rtol=1e-6)
    assert function.cache_size() == 1


def test_bridge_static_number_of_every_call_warns_once():
    function = torch2jax(lambda x, scale: x * scale["by"], output_shapes=X)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in range(20):
            function(X, {"by": float(i)})
    (warning,) = caught
    assert "16 values of args[1]['by'], a float" in str(warning.message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        few = torch2jax(lambda x, n: x * n, output_shapes=X)
        for i in range(30):
            few(X, i % 4)


def test_jax2torch_static_number_of_every_call_warns_once():
    function = jax2torch(lambda x, n: x, static_argnums=1)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for i in range(12):
            function(T, float(i))
    (warning,) = seen
    assert "static argument 1 was another number" in str(warning.message)
