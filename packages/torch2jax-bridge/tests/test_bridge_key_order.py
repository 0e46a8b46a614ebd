"""Dicts are paired by key, in whatever order they were filled and whether their keys compare or not."""

import enum
import math

import jax.numpy as jnp
import pytest
import torch

from torch2jax_bridge import jax2torch, torch2jax


class Part(enum.Enum):
    ENCODER = 1
    DECODER = 2
    HEAD = 3


KEYS = {
    "members": [*Part],
    "int and str": [1, "x", 2],
    "dtypes": [torch.float32, torch.float64, torch.int8],
    "sets": [frozenset({1}), frozenset({2}), frozenset({1, 2})],
    "not a number": [math.nan, 1.0, -math.inf],
}


def tree(keys, all_keys, scale, array):
    return {key: array([scale * (all_keys.index(key) + 1.0)]) for key in keys}


def combined(a, b):
    """Depends on the values of both trees under each key, and has the keys in the order of `b`."""
    return {key: a[key] ** 2 + 3 * b[key] for key in b}


@pytest.mark.parametrize("kind", KEYS)
def test_torch_in_jax(kind):
    keys = KEYS[kind]
    f = torch2jax(combined)
    a, right = tree(keys, keys, 1.0, jnp.array), tree(keys, keys, 10.0, jnp.array)
    expected = combined(a, right)
    for order in (keys, keys[::-1], keys[1:] + keys[:1]):
        result = f(a, tree(order, keys, 10.0, jnp.array))
        assert all(result[key] == expected[key] for key in keys)


@pytest.mark.parametrize("kind", KEYS)
def test_given_shapes_may_be_in_any_order(kind):
    keys = KEYS[kind]
    a, b = (tree(keys, keys, scale, jnp.array) for scale in (1.0, 10.0))
    shapes = {key: a[key] for key in keys[::-1]}
    result = torch2jax(combined, output_shapes=shapes)(a, b)
    assert all(result[key] == combined(a, b)[key] for key in keys)


@pytest.mark.parametrize("kind", KEYS)
def test_jax_in_torch(kind):
    keys = KEYS[kind]
    f = jax2torch(combined)
    a, right = tree(keys, keys, 1.0, torch.tensor), tree(keys, keys, 10.0, torch.tensor)
    for order in (keys, keys[::-1], keys[1:] + keys[:1]):
        b = tree(order, keys, 10.0, torch.tensor)
        for x in (*a.values(), *b.values()):
            x.requires_grad_()
            x.grad = None
        result = f(a, b)
        sum(result[key].sum() * (i + 1) for i, key in enumerate(keys)).backward()
        for i, key in enumerate(keys):
            assert result[key] == combined(a, right)[key]
            assert a[key].grad == (i + 1) * 2 * a[key]
            assert b[key].grad == (i + 1) * 3
