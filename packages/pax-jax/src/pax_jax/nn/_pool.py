"""Pooling."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from pax_jax.nn._window import Padding, Pads, pads_of


def max_pool(
    x: jax.Array,
    window_shape: int | Sequence[int],
    strides: int | Sequence[int],
    padding: Padding,
    channel_axis: int | None = -1,
) -> jax.Array:
    """Take the maximum of every window, as `haiku.max_pool`.

    Args:
        x: `(n, ..., channels)`, or with the channels on another axis.
        window_shape: one int for all axes but the first and `channel_axis`, or one int for each of
            these, for each axis but the first, or for each axis.
        strides: steps of the window, in the same forms.
        padding: "SAME", "VALID", or amounts as in `Conv2D`, for the axes that an int is a size for.
        channel_axis: which axis holds the channels; `None` if there is none.

    Raises:
        ValueError: `padding` is something else, or there are fewer or more sizes than that.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.max_pool(jnp.arange(4.0).reshape(1, 4, 1), 2, 2, "VALID").ravel()
        Array([1., 3.], dtype=float32)
    """
    low = -jnp.inf if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.iinfo(x.dtype).min
    windows = _windows(x, window_shape, strides, padding, channel_axis)
    return jax.lax.reduce_window(x, np.asarray(low, x.dtype), jax.lax.max, *windows)


def avg_pool(
    x: jax.Array,
    window_shape: int | Sequence[int],
    strides: int | Sequence[int],
    padding: Padding,
    channel_axis: int | None = -1,
) -> jax.Array:
    """Take the mean of every window, as `haiku.avg_pool`: padding does not count.

    Errors are those of `max_pool`. Sums and counts are computed in float32, or in the dtype of
    `x` where that is larger; the means have the dtype of `x`.

    Args:
        x: an array of floating or complex dtype, `(n, ..., channels)`.
        window_shape: size of the window, as in `max_pool`.
        strides: steps of the window, in the same forms.
        padding: "SAME", "VALID", or amounts, as in `max_pool`.
        channel_axis: which axis holds the channels; `None` if there is none.

    Raises:
        TypeError: `x` has no floating or complex dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.avg_pool(jnp.arange(4.0).reshape(1, 4, 1), 2, 2, "VALID").ravel()
        Array([0.5, 2.5], dtype=float32)
    """
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        raise TypeError(
            f"avg_pool expects an array of floating dtype, got one of {x.dtype}, in which means are "
            "rounded and sums overflow. Convert it first: `x.astype(jnp.float32)`."
        )
    windows = _windows(x, window_shape, strides, padding, channel_axis)
    wide = x if jnp.finfo(x.dtype).bits >= 32 else x.astype(jnp.float32)
    zero = np.zeros((), wide.dtype)
    total = jax.lax.reduce_window(wide, zero, jax.lax.add, *windows)
    counts = jax.lax.reduce_window(jnp.ones_like(wide), zero, jax.lax.add, *windows)
    return (total / counts).astype(x.dtype)


def _windows(
    x: jax.Array,
    window_shape: int | Sequence[int],
    strides: int | Sequence[int],
    padding: Padding,
    channel_axis: int | None,
) -> tuple[tuple[int, ...], tuple[int, ...], Pads]:
    """Return the size, the steps and the padding of the windows for every axis of `x`."""
    return (
        _over_axes("window_shape", x, window_shape, channel_axis),
        _over_axes("strides", x, strides, channel_axis),
        _pads(x, padding, channel_axis),
    )


def _over_axes(
    what: str, x: jax.Array, sizes: int | Sequence[int], channel_axis: int | None
) -> tuple[int, ...]:
    """Return a size for every axis of `x`."""
    spatial = _spatial_axes(x, channel_axis)
    if isinstance(sizes, int):
        sizes = (sizes,) * len(spatial)
    if len(sizes) == len(spatial):
        by_axis = dict(zip(spatial, sizes, strict=True))
        return tuple(by_axis.get(axis, 1) for axis in range(x.ndim))
    if x.ndim - len(sizes) in (0, 1):
        return (*(1,) * (x.ndim - len(sizes)), *sizes)
    raise ValueError(
        f"{what}={tuple(sizes)} has {len(sizes)} sizes for an input {x.shape}. Give one int; or "
        f"{len(spatial)} of them, for the axes {spatial} beside batch and channels "
        f"(channel_axis={channel_axis}); or {x.ndim - 1}, for all axes but the first; or {x.ndim}."
    )


def _pads(x: jax.Array, padding: Padding, channel_axis: int | None) -> Pads:
    """Return "SAME", "VALID", or the amounts below and above for every axis of `x`."""
    spatial = _spatial_axes(x, channel_axis)
    pads = pads_of(padding, len(spatial))
    if isinstance(pads, str):
        return pads
    amounts = dict(zip(spatial, pads, strict=True))
    return tuple(amounts.get(axis, (0, 0)) for axis in range(x.ndim))


def _spatial_axes(x: jax.Array, channel_axis: int | None) -> list[int]:
    channels = None if channel_axis is None else channel_axis % x.ndim
    return [axis for axis in range(1, x.ndim) if axis != channels]
