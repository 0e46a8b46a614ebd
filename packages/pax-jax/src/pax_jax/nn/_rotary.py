"""Rotary position embedding."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def rotary_embedding(
    x: jax.Array, positions: jax.Array | None = None, base: float = 10_000.0
) -> jax.Array:
    """Rotate queries or keys by angles that grow with the position.

    The product of a rotated query and a rotated key depends on their positions only by the
    difference (https://arxiv.org/abs/2104.09864). Element `i` of the first half of a head is rotated
    with element `i` of the second half, by `position * base ** (-2 * i / size)`.

    Args:
        x: `(..., length, heads, size)` with an even size.
        positions: integers `(length,)`, or `(..., length)`; 0, 1, 2, ... by default.
        base: how slowly the slowest pair turns.

    Returns:
        An array like `x`; the angles are computed in float32.

    Raises:
        ValueError: `x` has too few axes or an odd size.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> keys = pax.rotary_embedding(jnp.ones((5, 1, 2)))
        >>> [round(float(jnp.vdot(keys[i], keys[i + 1])), 3) for i in range(4)]
        [1.081, 1.081, 1.081, 1.081]
    """
    if x.ndim < 3 or x.shape[-1] % 2:
        raise ValueError(
            f"rotary_embedding expects (..., length, heads, an even size), got {x.shape}."
        )
    half = x.shape[-1] // 2
    if positions is None:
        positions = jnp.arange(x.shape[-3])
    speeds = base ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angles = jnp.einsum("...t,f->...tf", positions.astype(jnp.float32), speeds)
    angles = angles.reshape((1,) * (x.ndim - angles.ndim - 1) + (*angles.shape[:-1], 1, half))
    cos, sin = jnp.cos(angles).astype(x.dtype), jnp.sin(angles).astype(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
