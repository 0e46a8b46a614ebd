"""Functions of torch.compile in wrapped functions stay compiled."""

import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import (
    is_in_any_mode_without_ignore_compile_internals,
    is_in_torch_dispatch_mode,
)

from torch2jax_bridge import jax2torch, torch2jax

SMALL = jnp.linspace(-1.0, 1.0, 100)
LARGE = jnp.linspace(-1.0, 1.0, 1_000_000)


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()  # one function may be compiled only so many times


def counted(backend):
    """A compiled function, and a list that grows with each run of the compiled code."""
    runs = []

    def compile(graph, examples):
        compiled = torch._dynamo.lookup_backend(backend)(graph, examples)
        return lambda *args: runs.append(1) or compiled(*args)

    return torch.compile(lambda x: torch.sin(x) * 2, backend=compile), runs


@pytest.mark.parametrize("given", [False, True], ids=["inferred", "given"])
@pytest.mark.parametrize("x", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_bridge_compiled_function_stays_compiled(x, given, backend):
    compiled, runs = counted(backend)
    wrapped = jax.jit(torch2jax(lambda x: compiled(x) + 1, output_shapes=x if given else None))
    for i in range(4):
        np.testing.assert_allclose(wrapped(x + i), jnp.sin(x + i) * 2 + 1, atol=1e-5)
    assert len(runs) == 4
    compiled(torch.zeros(x.shape))
    assert len(runs) == 5


def test_bridge_compiled_function_called_first_by_a_later_call():
    compiled, runs = counted("eager")
    calls = []

    def function(x):
        calls.append(1)
        return compiled(x) if len(calls) > 1 else torch.sin(x) * 2

    wrapped = jax.jit(torch2jax(function, output_shapes=LARGE))
    for _ in range(3):
        np.testing.assert_allclose(wrapped(LARGE), jnp.sin(LARGE) * 2, atol=1e-5)
    assert len(runs) == 2


def test_bridge_compiled_function_in_a_gradient():
    compiled, runs = counted("aot_eager")
    gradient = jax.jit(jax.grad(lambda x: torch2jax(compiled)(x).sum()))
    for _ in range(2):
        np.testing.assert_allclose(gradient(SMALL), 2 * jnp.cos(SMALL), rtol=1e-5)
    assert runs


def test_bridge_calls_in_threads_leave_the_switches_of_pytorch():
    barrier = threading.Barrier(8)

    def work(number):
        x = jnp.full(400_000 + number % 2, float(number))
        barrier.wait()
        for _ in range(6):
            wrapped = torch2jax(lambda x: torch.sin(x) + 1)
            for _ in range(3):
                np.testing.assert_allclose(wrapped(x), jnp.sin(x) + 1, atol=1e-6)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert not is_in_torch_dispatch_mode()
    assert not is_in_any_mode_without_ignore_compile_internals()
    compiled, runs = counted("eager")
    compiled(torch.ones(3))
    assert runs == [1]


def test_bridge_within_a_compiled_function_of_pytorch():
    @torch.compile(backend="aot_eager")
    def function(x):
        return wrapped(x) * 2

    wrapped = jax2torch(lambda x: torch2jax(torch.sin)(x) + 1)
    x = torch.linspace(-1.0, 1.0, 5)
    torch.testing.assert_close(function(x), (torch.sin(x) + 1) * 2)
