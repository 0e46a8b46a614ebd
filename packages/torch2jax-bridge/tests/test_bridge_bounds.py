"""Wrapped functions keep a bounded number of programs, and make again what they have dropped."""

import jax
import jax.numpy as jnp
import pytest
import torch

from torch2jax_bridge import jax2torch, torch2jax
from torch2jax_bridge._jax2torch import context
from torch2jax_bridge._runtime import remembered


@pytest.fixture(autouse=True)
def three(monkeypatch):
    monkeypatch.setattr(remembered, "KEPT", 3)


def test_torch2jax_keeps_a_bounded_number_of_programs():
    wrapped = torch2jax(lambda x, n: x * n)
    jitted = jax.jit(wrapped, static_argnums=1)
    assert jitted(jnp.ones(2), 0).tolist() == [0, 0]  # lives on when its program here is dropped
    for _ in range(2):
        for n in range(5):
            assert wrapped(jnp.ones(2), n).tolist() == [n, n]
            assert wrapped.cache_size() <= 3
    assert jitted(jnp.ones(2), 0).tolist() == [0, 0]


def test_torch2jax_dropped_program_has_its_derivative():
    wrapped = torch2jax(lambda x, n: x**n)
    _, pull = jax.vjp(lambda x: wrapped(x, 3), jnp.ones(2))
    for n in range(4, 8):
        wrapped(jnp.ones(2), n)
    assert pull(jnp.ones(2))[0].tolist() == [3, 3]


def test_jax2torch_keeps_a_bounded_number_of_programs():
    wrapped = jax2torch(lambda x: x * x)
    x = torch.full((1,), 3.0, requires_grad=True)
    kept = wrapped(x)
    for _ in range(2):
        for n in range(1, 6):
            assert wrapped(torch.full((n,), 2.0)).tolist() == [4.0] * n
            assert wrapped.cache_size() <= 3
    kept.sum().backward()  # by a program that was dropped
    assert x.grad.tolist() == [6.0]


def test_settings_of_jax_have_numbers_of_their_own(monkeypatch):
    monkeypatch.setattr(context, "KEPT", 2)
    monkeypatch.setattr(context, "_numbers", {})
    numbers = []
    for precision in ("default", "high", "highest", "default", "high"):
        with jax.default_matmul_precision(precision):
            numbers.append(context.number_of_context())
            assert numbers[-1] == context.number_of_context()
        assert len(context._numbers) <= 2
    assert len(set(numbers)) == len(numbers)  # the first ones were forgotten
