"""Calls from several threads, and on XLA's own."""

import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import torch

from torch2jax_bridge import torch2jax


def test_bridge_threads_calling_several_functions():
    wrapped = [jax.jit(torch2jax(lambda x, i=i: x * i + torch.sin(x))) for i in range(5)]
    xs = [jnp.linspace(0.0, i, 100) for i in range(8)]

    def work(n):
        return [(i, np.array(wrapped[i](xs[n]))) for i in range(5) for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        for n, results in enumerate(pool.map(work, range(8))):
            for i, result in results:
                np.testing.assert_allclose(result, xs[n] * i + jnp.sin(xs[n]), rtol=1e-5, atol=1e-6)


def test_bridge_threads_taking_gradients_of_one_function():
    gradient = jax.jit(jax.grad(torch2jax(lambda x: (torch.tanh(x) ** 2).sum())))
    expected = jax.grad(lambda x: (jnp.tanh(x) ** 2).sum())

    def work(n):
        x = jnp.linspace(-1.0, n + 1.0, 50)
        return all(np.allclose(gradient(x), expected(x), atol=1e-6) for _ in range(30))

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(6)))


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
