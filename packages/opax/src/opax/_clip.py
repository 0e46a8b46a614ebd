"""`clip_by_global_norm` that remembers the norm it saw."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class ClipByGlobalNormState(NamedTuple):
    """The norm of all gradients together in the last step, before they were clipped; at first 0."""

    global_norm: jax.Array


def clip_by_global_norm(max_norm: Any) -> optax.GradientTransformation:
    """Clip as `optax.clip_by_global_norm`, and keep the norm, which the compiler computes once."""
    inner = optax.clip_by_global_norm(max_norm)

    def init(params: Any) -> ClipByGlobalNormState:
        dtypes = (jnp.asarray(leaf).real.dtype for leaf in jax.tree.leaves(params))
        dtype = functools.reduce(jnp.promote_types, dtypes, jnp.dtype("float32"))
        return ClipByGlobalNormState(jnp.zeros((), dtype))

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        norm = optax.tree.norm(updates)
        updates, _ = inner.update(updates, inner.init(params), params)
        return updates, ClipByGlobalNormState(jnp.asarray(norm, state.global_norm.dtype))

    return optax.GradientTransformation(init, update)
