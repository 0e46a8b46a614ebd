"""Normalization of groups of channels."""

from __future__ import annotations

from collections.abc import Sequence

import jax

from pax_jax._module import Module
from pax_jax._trees import parameters_method
from pax_jax.nn._initialize import Initializer
from pax_jax.nn._normalize import (
    axes_of,
    channel_index,
    checked_axes,
    moments,
    precise,
    scale_and_offset,
    scaled,
)


class GroupNorm(Module):
    """Group normalization, as `haiku.GroupNorm` (https://arxiv.org/abs/1803.08494).

    The channels are split into groups, and each group is normalized over its channels and `axis`.

    Args:
        groups: number of groups; it divides the number of channels.
        num_channels: number of channels.
        axis: over which axes to normalize: an int, ints or a slice; all but the first by default.
        create_scale: whether to multiply by a parameter `scale` `(num_channels,)`.
        create_offset: whether to add a parameter `offset` `(num_channels,)`.
        eps: added to the variance.
        scale_init: makes the scale from a key, a shape and a dtype; ones by default.
        offset_init: makes the offset in the same way; zeros by default.
        data_format: "channels_last" or "N...C"; "channels_first" or "NC...".
        rng_key: key of the initializers; `next_rng_key()` by default.
        name: shown when the module is printed.

    Raises:
        ValueError: an argument is not one of these.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.GroupNorm(2, 4)(jnp.array([[1.0, 3.0, 10.0, 30.0]])).round(2)
        Array([[-1.,  1., -1.,  1.]], dtype=float32)
    """

    parameters = parameters_method("scale", "offset")
    _shown = ("groups", "num_channels", "create_scale", "create_offset", "data_format")

    scale: jax.Array | None
    offset: jax.Array | None

    def __init__(
        self,
        groups: int,
        num_channels: int,
        axis: int | slice | Sequence[int] = slice(1, None),
        create_scale: bool = True,
        create_offset: bool = True,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        offset_init: Initializer | None = None,
        data_format: str = "channels_last",
        *,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if groups < 1 or num_channels % groups:
            raise ValueError(f"groups={groups} does not divide num_channels={num_channels}.")
        channel_index(data_format)
        self.groups = groups
        self.num_channels = num_channels
        self.axis = checked_axes(axis)
        self.create_scale = create_scale
        self.create_offset = create_offset
        self.eps = eps
        self.data_format = data_format
        create, inits = (create_scale, create_offset), (scale_init, offset_init)
        self.scale, self.offset = scale_and_offset(num_channels, create, inits, rng_key)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalize an input of `data_format`; the statistics are computed in float32."""
        channel_axis = channel_index(self.data_format) % max(x.ndim, 1)
        if x.ndim < 2 or x.shape[channel_axis] != self.num_channels:
            raise ValueError(
                f"{self!r} expects an input {self.data_format} with {self.num_channels} "
                f"channels, got {x.shape}."
            )
        split = (self.groups, self.num_channels // self.groups)
        grouped = precise(x).reshape(x.shape[:channel_axis] + split + x.shape[channel_axis + 1 :])
        axes = axes_of(self.axis, x.ndim)
        mean, var = moments(grouped, tuple(a if a < channel_axis else a + 1 for a in axes))
        y = (grouped - mean) * jax.lax.rsqrt(var + self.eps)
        y = y.reshape(x.shape)
        return scaled(y, 1.0, self.scale, self.offset, channel_axis).astype(x.dtype)


class InstanceNorm(GroupNorm):
    """Normalization of each channel of each example, as `haiku.InstanceNorm`.

    It follows https://arxiv.org/abs/1607.08022: a `GroupNorm` with a group for each channel.
    Arguments and errors as there.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.InstanceNorm(1)(jnp.array([[[1.0], [3.0]], [[10.0], [30.0]]])).round(2).ravel()
        Array([-1.,  1., -1.,  1.], dtype=float32)
    """

    _shown = ("num_channels", "create_scale", "create_offset", "data_format")

    def __init__(
        self,
        num_channels: int,
        create_scale: bool = True,
        create_offset: bool = True,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        offset_init: Initializer | None = None,
        data_format: str = "channels_last",
        *,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            num_channels,
            num_channels,
            slice(1, None),
            create_scale,
            create_offset,
            eps,
            scale_init,
            offset_init,
            data_format,
            rng_key=rng_key,
            name=name,
        )
