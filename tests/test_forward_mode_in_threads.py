"""Forward mode of PyTorch, used by pax_torch and torch2jax_bridge in many threads at once."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.autograd import forward_ad

import pax_torch
from torch2jax_bridge import jax2torch, torch2jax


def tanh_squared(x):
    return (torch.tanh(x) ** 2).sum()


wrapped_hessian = jax.jit(jax.hessian(torch2jax(tanh_squared)))


def test_hessians_of_both_packages_at_once():
    expected = jax.jit(jax.hessian(lambda x: (jnp.tanh(x) ** 2).sum()))

    def work(n):
        x = np.linspace(-1.0, n + 1.0, 20, dtype=np.float32)
        for _ in range(20):
            found = wrapped_hessian(x) if n % 2 else pax_torch.hessian(tanh_squared)(x).numpy()
            np.testing.assert_allclose(found, expected(x), rtol=1e-4, atol=1e-5)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert forward_ad._current_level == -1


def test_a_derivative_may_wait_for_one_in_jax():
    """The wrapped Hessian may run on a thread of XLA's while pax_torch's own derivative waits for it."""
    x = torch.linspace(-1, 1, 400)
    curvature = jax2torch(lambda x: x * jnp.trace(wrapped_hessian(x @ x * jnp.ones(3))))

    def through_jax(x):
        return x * curvature(torch.ones(400)).sum()

    factor = curvature(torch.ones(400)).sum()
    out, tangent = pax_torch.jvp(through_jax, (x,), (torch.ones(400),))
    torch.testing.assert_close(out, x * factor)
    torch.testing.assert_close(tangent, factor.expand(400))
