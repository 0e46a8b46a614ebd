"""Calls from several threads, and on XLA's own."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.autograd import forward_ad

from torch2jax_bridge import torch2jax


def functions(count):
    """Wrapped functions, each with what it is in NumPy."""
    for i in range(count):
        wrapped = jax.jit(torch2jax(lambda x, i=i: x * i + torch.sin(x)))
        yield wrapped, lambda x, i=i: x * i + np.sin(x)


def test_bridge_sixteen_threads_calling_ten_functions():
    pairs = list(functions(10))

    def work(thread):
        x = jnp.linspace(0.0, thread, 100 + thread % 3)
        for wrapped, expected in pairs * 6:
            np.testing.assert_allclose(wrapped(x), expected(np.asarray(x)), rtol=1e-5, atol=1e-6)
        return True

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(16)))


SCRIPT = """
import sys
import threading
import jax

jax.config.update("jax_cpu_enable_async_dispatch", sys.argv[1] == "on")
import jax.numpy as jnp
import numpy as np
import torch
from concurrent.futures import ThreadPoolExecutor
from torch2jax_bridge import original_exception, torch2jax

torch.set_num_threads(1)


def fails_sometimes(x, i):
    if i == 3:
        raise LookupError(i)
    return x + i


big = jnp.ones((200, 200))
programs = [
    jax.jit(lambda x, i=i: torch2jax(fails_sometimes, output_shapes=big)(x @ x, i) @ x)
    for i in range(10)
]


def work(thread):
    found = []
    for i, program in enumerate(programs * 2):
        try:
            out = np.asarray(program(big))
        except Exception as error:
            found.append((i % 10, type(original_exception(error)).__name__))
        else:
            assert (out == (200 + i % 10) * 200).all()
            found.append((i % 10, None))
    return found == [(i, "LookupError" if i == 3 else None) for i in range(10)] * 2


with ThreadPoolExecutor(16) as pool:
    print(all(pool.map(work, range(16))))
"""


@pytest.mark.parametrize("dispatch", ["on", "off"])
def test_bridge_sixteen_threads_ten_functions_and_failures_with_asynchronous_dispatch(dispatch):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, dispatch], capture_output=True, text=True, timeout=300
    )
    assert done.stdout == "True\n", done.stderr


def test_bridge_threads_taking_gradients_of_one_function():
    gradient = jax.jit(jax.grad(torch2jax(lambda x: (torch.tanh(x) ** 2).sum())))
    expected = jax.grad(lambda x: (jnp.tanh(x) ** 2).sum())

    def work(n):
        x = jnp.linspace(-1.0, n + 1.0, 50)
        return all(np.allclose(gradient(x), expected(x), atol=1e-6) for _ in range(30))

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(6)))


def test_bridge_threads_taking_hessians():
    """PyTorch's forward mode has one level for the whole process."""
    hessian = jax.jit(jax.hessian(torch2jax(lambda x: (torch.tanh(x) ** 2).sum())))
    expected = jax.jit(jax.hessian(lambda x: (jnp.tanh(x) ** 2).sum()))

    def work(n):
        x = jnp.linspace(-1.0, n + 1.0, 20)
        return all(np.allclose(hessian(x), expected(x), atol=1e-5) for _ in range(30))

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(6)))
    assert forward_ad._current_level == -1


def test_bridge_call_on_a_thread_of_xla():
    names = []

    def function(x):
        names.append(threading.get_ident())
        return x + 1

    x = jnp.ones((900, 900))
    call = jax.jit(lambda x: torch2jax(function, output_shapes=x)(x @ x) @ x)
    outs = [call(x) for _ in range(5)]
    for out in outs:
        np.testing.assert_allclose(out[0, 0], 901.0 * 900)
    assert len(names) == 5


def test_bridge_calling_jax_from_inside_in_threads_does_not_hang():
    sine = jax.jit(jnp.sin)
    x = jnp.ones((500, 500))
    sine(x).block_until_ready()

    def reenter(t):
        sine(x).block_until_ready()
        return t

    call = jax.jit(lambda x: torch2jax(reenter, output_shapes=x)(x @ x))

    def work(_):
        try:
            call(x).block_until_ready()
        except jax.errors.JaxRuntimeError as error:
            return "JAX tried to execute" in str(error)
        return False

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))
    np.testing.assert_array_equal(sine(x), jnp.sin(x))
