"""Updates added to parameters."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax

from ._promotion import usual_promotion
from ._structure import like

__all__ = ["apply_updates", "where_finite"]

T = TypeVar("T")


def apply_updates(params: T, updates: Any) -> T:
    """Add updates to parameters, keeping the parameters' dtypes; as `optax.apply_updates`.

    Args:
      params: parameters, a pytree of arrays.
      updates: a pytree with a leaf of the same shape for each of them.

    Returns:
      The new parameters.

    Example:
      >>> import jax.numpy as jnp
      >>> import opax
      >>> opax.apply_updates({"w": jnp.zeros(2)}, {"w": jnp.ones(2)})
      {'w': Array([1., 1.], dtype=float32)}

    """
    with usual_promotion():
        return optax.apply_updates(params, like(params, updates))  # type: ignore[arg-type]


def where_finite(all_finite: Any, new: T, old: T) -> T:
    """Return `new` where `all_finite` is true, else `old`."""
    return jax.tree.map(lambda a, b: jnp.where(all_finite, a, b), new, old)
