"""How the leaves of a tree stand in a checkpoint: as arrays of ordinary dtypes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def is_key(leaf: Any) -> bool:
    """Say whether a leaf is an array of typed random keys, or stands for one."""
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def stored_leaf(leaf: Any) -> Any:
    """Return the array that stands for a leaf."""
    return jax.random.key_data(leaf) if is_key(leaf) else leaf


def abstract_leaf(leaf: Any) -> Any:
    """Return shape, dtype and sharding of the array that stands for a leaf."""
    stored = jax.eval_shape(jax.random.key_data, leaf) if is_key(leaf) else leaf
    if isinstance(stored, np.ndarray) or not hasattr(stored, "shape"):
        return leaf
    sharding = getattr(leaf, "sharding", None)
    if sharding is None:
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(stored.shape, stored.dtype, sharding=sharding)


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
