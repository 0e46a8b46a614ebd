"""Forward mode of PyTorch, used by pax_torch and torch2jax_bridge in many threads at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.autograd import forward_ad

import pax_torch
from pax_tree._forward_level import forward_level
from torch2jax_bridge import j2t, torch2jax


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
    x = torch.linspace(-1, 1, 5)
    with ThreadPoolExecutor(1) as pool:

        def through_jax(x):
            hessian = pool.submit(lambda: j2t(wrapped_hessian(jnp.zeros(5))))
            return x * hessian.result(20).trace()

        _, tangent = pax_torch.jvp(through_jax, (x,), (torch.ones(5),))
    torch.testing.assert_close(tangent, torch.full((5,), 10.0))  # 2 of each element at 0
    assert forward_ad._current_level == -1


def test_a_level_that_torch_func_still_uses_is_left_open_and_found_again():
    inside, go_on = threading.Event(), threading.Event()

    def waits(x):
        inside.set()
        assert go_on.wait(20)
        return x**3

    def slope(function):
        return torch.func.jvp(function, (torch.tensor(2.0),), (torch.tensor(1.0),))[1]

    with ThreadPoolExecutor(1) as pool:
        with forward_level():
            others = pool.submit(slope, waits)
            assert inside.wait(20)
        go_on.set()
        assert others.result(20) == 12
    with forward_level():
        assert slope(lambda x: x**2) == 4
    assert forward_ad._current_level == -1
