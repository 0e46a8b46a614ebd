"""Updates added to parameters."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax

import pax_tree
from opax._promotion import usual_promotion
from opax._structure import like, trainable
from pax_jax import update_parameters

T = TypeVar("T")


def apply_updates(params: T, updates: Any) -> T:
    """Add updates to parameters, keeping the parameters' dtypes; as `optax.apply_updates`.

    Args:
        params: parameters, a pytree of arrays; what is no parameter in it is kept.
        updates: a pytree with a leaf of the same shape for each parameter.

    Returns:
        The new parameters, in the structure of `params`.

    Example:
        >>> import jax.numpy as jnp
        >>> import opax
        >>> opax.apply_updates({"w": jnp.zeros(2)}, {"w": jnp.ones(2)})
        {'w': Array([1., 1.], dtype=float32)}
    """
    kept = params
    if len(pax_tree.tree_leaves(params)) != len(pax_tree.tree_leaves(updates)):
        kept = trainable(params)
    with usual_promotion():
        new: Any = optax.apply_updates(kept, like(kept, updates))  # type: ignore[arg-type]
    return new if kept is params else update_parameters(params, new)


def where_finite(all_finite: Any, new: T, old: T) -> T:
    """Return `new` where `all_finite` is true, else `old`."""
    return jax.tree.map(lambda a, b: jnp.where(all_finite, a, b), new, old)
