"""What changes derivatives alone."""

from __future__ import annotations

import jax
from jax import lax

from torch2jax_bridge._lowered.registry import lowering


@lowering("aten::detach")
def detach(x: jax.Array) -> jax.Array:
    return lax.stop_gradient(x)


@lowering("torch2jax_bridge::keep_gradient")
@jax.custom_jvp
def keep_gradient(old: jax.Array, new: jax.Array) -> jax.Array:
    """Return the new value, which has the derivative of the old one."""
    return new


@keep_gradient.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    return primals[1], tangents[0].astype(primals[1].dtype)
