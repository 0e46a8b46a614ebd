"""What the normalization layers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pax_jax._rng import next_rng_key
from pax_jax.nn._initialize import Initializer


class AxisSlice(NamedTuple):
    """A slice of axes; unlike a `slice` it can be hashed on every Python."""

    start: int | None
    stop: int | None
    step: int | None


Axes = tuple[int, ...] | AxisSlice


def checked_axes(axis: int | slice | Sequence[int]) -> Axes:
    """Return `axis` as a static value; `ValueError` if it is not an int, ints or a slice."""
    if isinstance(axis, slice):
        return AxisSlice(axis.start, axis.stop, axis.step)
    axes = (axis,) if isinstance(axis, int) else axis
    if not isinstance(axes, Sequence) or not all(isinstance(a, int) for a in axes):
        raise ValueError(f"axis is an int, a sequence of ints or a slice, got {axis!r}.")
    return tuple(axes)


def axes_of(axis: Axes, ndim: int) -> tuple[int, ...]:
    """Return the axes, not negative, of an array of `ndim` axes."""
    if isinstance(axis, AxisSlice):
        return tuple(range(ndim)[slice(*axis)])
    return tuple(sorted({a % ndim for a in axis}))


def channel_index(data_format: str) -> int:
    """Return the axis of the channels, 1 or -1, of a format written in words or dots."""
    if data_format in ("channels_last", "N...C"):
        return -1
    if data_format in ("channels_first", "NC..."):
        return 1
    raise ValueError(
        "data_format is 'channels_last', 'N...C', 'channels_first' or 'NC...', "
        f"got {data_format!r}."
    )


def scale_and_offset(
    num_channels: int,
    create: tuple[bool, bool],
    inits: tuple[Initializer | None, Initializer | None],
    rng_key: Any,
) -> tuple[jax.Array | None, jax.Array | None]:
    """Make the parameters of a layer: scale, ones unless its initializer says else, and offset."""
    for what, wanted, init in zip(("scale", "offset"), create, inits, strict=True):
        if init is not None and not wanted:
            raise ValueError(f"{what}_init is given with create_{what}=False.")
    scale_init, offset_init = inits
    keys: Any = (None, None)
    if scale_init is not None or offset_init is not None:
        keys = jax.random.split(next_rng_key() if rng_key is None else rng_key)
    shape = (num_channels,)
    scale = (scale_init or jax.nn.initializers.ones)(keys[0], shape, jnp.float32)
    offset = (offset_init or jax.nn.initializers.zeros)(keys[1], shape, jnp.float32)
    return (scale if create[0] else None), (offset if create[1] else None)


def precise(x: jax.Array) -> jax.Array:
    """Return `x` in float32, or in its own dtype where that is larger."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"Normalization expects a floating dtype, got an array of {x.dtype}.")
    return x if jnp.finfo(x.dtype).bits >= 32 else x.astype(jnp.float32)


def moments(x: jax.Array, axes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Return mean and biased variance of a precise array, with the axes kept.

    The variance is that about a constant, the mean, less the square of the mean's distance to it,
    which is zero. Its derivatives of every order are exact, and since the square comes before the
    mean, XLA computes the gradient at each layer once rather than anew in all layers below.
    """
    center = jnp.mean(jax.lax.stop_gradient(x), axes, keepdims=True)
    square = jnp.square(x - center)
    mean = jnp.mean(x, axes, keepdims=True)
    return mean, jnp.mean(square, axes, keepdims=True) - jnp.square(mean - center)


def scaled(
    x: jax.Array,
    factor: jax.Array | float,
    scale: jax.Array | None,
    offset: jax.Array | None,
    channel_axis: int,
) -> jax.Array:
    """Return `x * factor * scale + offset`; scale and offset lie along `channel_axis`."""
    shape = [1] * x.ndim
    shape[channel_axis] = x.shape[channel_axis]
    if scale is not None:
        factor = factor * scale.astype(x.dtype).reshape(shape)
    y = x * factor
    return y if offset is None else y + offset.astype(x.dtype).reshape(shape)
