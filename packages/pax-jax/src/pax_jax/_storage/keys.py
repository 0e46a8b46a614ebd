"""Typed random keys, and the arrays of numbers that are stored for them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def is_key(leaf: Any) -> bool:
    """Say whether a leaf is an array of typed random keys, or stands for one."""
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def stored_leaf(leaf: Any) -> Any:
    """Return the array that stands for a leaf."""
    return jax.random.key_data(leaf) if is_key(leaf) else leaf


def stored_shape(key: Any) -> tuple[int, ...]:
    """Return the shape of the array that stands for typed random keys."""
    return jax.eval_shape(jax.random.key_data, key).shape


def loaded_leaf(like: Any, array: Any) -> Any:
    """Return the leaf, of the type of `like`, that an array stands for."""
    if is_key(like):
        return jax.random.wrap_key_data(array, impl=_implementation(like.dtype))
    return array if hasattr(like, "shape") else type(like)(array)


def _implementation(dtype: Any) -> str:
    """Return the name of the random keys of a dtype, which an abstract array does not know."""
    names = ("threefry2x32", "rbg", "unsafe_rbg")
    made = {name: jax.random.key(0, impl=name).dtype for name in names}
    return next(name for name, known in made.items() if known == dtype)
