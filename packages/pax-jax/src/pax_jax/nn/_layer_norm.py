"""Normalization of each example by itself."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from pax_jax._module import Module
from pax_jax._trees import parameters_method
from pax_jax.nn._initialize import Initializer
from pax_jax.nn._normalize import axes_of, checked_axes, moments, precise, scale_and_offset, scaled


class LayerNorm(Module):
    """Layer normalization, as `haiku.LayerNorm` (https://arxiv.org/abs/1607.06450).

    Args:
        num_channels: size of the last axis.
        axis: over which axes to normalize: an int, ints or a slice.
        create_scale: whether to multiply by a parameter `scale` `(num_channels,)`.
        create_offset: whether to add a parameter `offset` `(num_channels,)`.
        eps: added to the variance.
        scale_init: makes the scale from a key, a shape and a dtype; ones by default.
        offset_init: makes the offset in the same way; zeros by default.
        rng_key: key of the initializers; `next_rng_key()` by default.
        name: shown when the module is printed.

    Raises:
        ValueError: an argument is not one of these.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.LayerNorm(2)(jnp.array([[1.0, 3.0], [10.0, 30.0]])).round(2)
        Array([[-1.,  1.],
               [-1.,  1.]], dtype=float32)
    """

    parameters = parameters_method("scale", "offset")
    _shown = ("num_channels", "axis", "create_scale", "create_offset")

    scale: jax.Array | None
    offset: jax.Array | None

    def __init__(
        self,
        num_channels: int,
        axis: int | slice | Sequence[int] = -1,
        create_scale: bool = True,
        create_offset: bool = True,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        offset_init: Initializer | None = None,
        *,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.num_channels = num_channels
        self.axis = checked_axes(axis)
        self.create_scale = create_scale
        self.create_offset = create_offset
        self.eps = eps
        create, inits = (create_scale, create_offset), (scale_init, offset_init)
        self.scale, self.offset = scale_and_offset(num_channels, create, inits, rng_key)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalize an input `(..., num_channels)`; the statistics are computed in float32."""
        _check_channels(self, x)
        wide = precise(x)
        mean, var = moments(wide, axes_of(self.axis, x.ndim))
        factor = jax.lax.rsqrt(var + self.eps)
        return scaled(wide - mean, factor, self.scale, self.offset, -1).astype(x.dtype)


class RMSNorm(Module):
    """Normalization by the root of the mean square, as `haiku.RMSNorm`.

    It follows https://arxiv.org/abs/1910.07467. Arguments and errors as in `LayerNorm`.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.RMSNorm(1, eps=0.0)(jnp.array([[3.0], [-4.0]]))
        Array([[ 1.],
               [-1.]], dtype=float32)
    """

    parameters = parameters_method("scale")
    _shown = ("num_channels", "axis", "create_scale")

    scale: jax.Array | None

    def __init__(
        self,
        num_channels: int,
        axis: int | slice | Sequence[int] = -1,
        create_scale: bool = True,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        *,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.num_channels = num_channels
        self.axis = checked_axes(axis)
        self.create_scale = create_scale
        self.eps = eps
        create, inits = (create_scale, False), (scale_init, None)
        self.scale, _ = scale_and_offset(num_channels, create, inits, rng_key)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalize an input `(..., num_channels)`; the mean square is computed in float32."""
        _check_channels(self, x)
        wide = precise(x)
        square = jnp.mean(jnp.square(wide), axes_of(self.axis, x.ndim), keepdims=True)
        return scaled(wide, jax.lax.rsqrt(square + self.eps), self.scale, None, -1).astype(x.dtype)


def _check_channels(layer: LayerNorm | RMSNorm, x: jax.Array) -> None:
    if x.ndim == 0 or x.shape[-1] != layer.num_channels:
        raise ValueError(f"{layer!r} expects an input (..., {layer.num_channels}), got {x.shape}.")
