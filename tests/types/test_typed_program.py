# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
# mypy: warn-unused-ignores, check-untyped-defs, warn-return-any
"""A user's program over all packages, as type checkers see it: the command `types:check` reads it.

What they must refuse stands in `mistakes.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_type

import jax
import jax.numpy as jnp
import torch

import opax
import pax_jax as pax
import pax_torch
import pax_tree
from torch2jax_bridge import torch2jax


class Point(pax_tree.Record):
    def __init__(self, x: float) -> None:
        self.x = x


class Net(pax.Module):
    bias: jax.Array

    def __init__(self, width: int, activation: Callable[[jax.Array], jax.Array]) -> None:
        super().__init__()
        self.layers = [pax.Linear(2, width), pax.Linear(width, 1, with_bias=False)]
        self.norm = pax.LayerNorm(width)
        self.activation = activation
        self.register_parameter("bias", jax.random.normal(jax.random.key(0), (1,)))

    def __call__(self, x: jax.Array) -> jax.Array:
        first, last = self.layers
        return last(self.activation(self.norm(first(x)))) + self.bias


def loss_fn(net: Net, x: jax.Array) -> jax.Array:
    return jnp.mean(net(x) ** 2)


def square(x: torch.Tensor) -> torch.Tensor:
    return x @ x


def test_training() -> None:
    net = Net(4, jnp.tanh)
    assert_type(net, Net)
    assert_type(net.layers, list[pax.Linear])
    assert_type(net.layers[0].weight, jax.Array)
    assert_type(net.eval().freeze().parameters(), Net)
    optimizer = opax.sgd(1e-2)(net.parameters())
    x = jax.random.normal(jax.random.key(1), (8, 2))
    grads = pax.grad(loss_fn)(net, x)
    new_net, new_optimizer = opax.apply_gradients(net, optimizer, grads)
    assert_type(new_net, Net)
    assert_type(new_optimizer, opax.Optimizer)
    assert loss_fn(new_net, x) < loss_fn(net, x)


def test_trees_and_torch() -> None:
    doubled = pax_tree.tree_scale(2.0, {"x": 1.5})
    assert_type(doubled, dict[str, float])
    assert doubled == {"x": 3.0}
    assert pax_torch.grad(square)(torch.tensor([2.0])).tolist() == [4.0]
    x = jax.random.normal(jax.random.key(0), (3,))
    assert jnp.allclose(torch2jax(square)(x), x @ x)
