"""Pooling: averages and maxima of windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from torch2jax_bridge._lowered.registry import lowering
from torch2jax_bridge._lowered.rules.numbers import working

Sizes = Sequence[int] | int
Pair = tuple[jax.Array, jax.Array]


def _each(values: Sizes, rank: int) -> tuple[int, ...]:
    values = (values,) if isinstance(values, int) else tuple(values)
    return values * rank if len(values) == 1 else values


# Maxima ------------------------------------------------------------------------------------------


def _largest(x: jax.Array, places: Sequence[np.ndarray]) -> Pair:
    """Return the maximum of each window, and where it is in the tensor.

    Args:
        x: the spatial dimensions are the last ones.
        places: for each of them the place of each element of each window, (windows, kernel); a
            place outside of the tensor counts for nothing.
    """
    rank, sizes = len(places), x.shape[x.ndim - len(places) :]
    flat, valid = np.zeros((1,) * (2 * rank), np.int64), np.ones((1,) * (2 * rank), bool)
    for axis, (found, size) in enumerate(zip(places, sizes, strict=True)):
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = found.shape
        flat = flat * size + np.clip(found, 0, size - 1).reshape(shape)
        valid = valid & ((found >= 0) & (found < size)).reshape(shape)
    windows = tuple(len(found) for found in places)
    flat = flat.reshape(*windows, -1)
    plane = x.reshape(*x.shape[: x.ndim - rank], -1)
    lowest = -np.inf if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.iinfo(x.dtype).min
    valid = np.broadcast_to(valid, (*windows, *(f.shape[1] for f in places))).reshape(flat.shape)
    elements = jnp.where(valid, plane[..., flat], jnp.asarray(lowest, x.dtype))
    best = jnp.argmax(lax.stop_gradient(elements), -1)
    values = jnp.take_along_axis(elements, best[..., None], -1)[..., 0]
    where = jnp.take_along_axis(jnp.broadcast_to(flat, elements.shape), best[..., None], -1)[..., 0]
    return values, where


def _places(count: int, kernel: int, stride: int, padding: int, dilation: int) -> np.ndarray:
    return np.arange(count)[:, None] * stride - padding + np.arange(kernel) * dilation


def _max_pool(x: jax.Array, options: Sequence[Any], shape: tuple[int, ...], rank: int) -> Pair:
    """Return the maxima and their places.

    Args:
        x: the spatial dimensions are the last ones.
        options: the kernel, the stride, the padding, the dilation, and whether sizes are rounded up.
        shape: of the result.
        rank: the number of spatial dimensions.
    """
    kernel, stride, padding, dilation, *_ = (*options, *((), 0, 1, False)[len(options) - 1 :])
    kernel = _each(kernel, rank)
    stride = _each(stride, rank) or kernel
    padding, dilation = _each(padding, rank), _each(dilation, rank)
    windows = zip(shape[len(shape) - rank :], kernel, stride, padding, dilation, strict=True)
    values, where = _largest(x, [_places(*window) for window in windows])
    if any(d != 1 for d in dilation):
        return values, where
    return _reduced(x, kernel, stride, padding, shape), where


def _reduced(
    x: jax.Array,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    shape: tuple[int, ...],
) -> jax.Array:
    """Return the maxima by XLA's own operation, which is faster; the places are then not computed."""
    rank = len(kernel)
    lead = x.ndim - rank
    needed = [
        (n - 1) * s + k - size - p
        for n, s, k, size, p in zip(
            *(shape[lead:], stride, kernel, x.shape[lead:], padding), strict=True
        )
    ]
    pads = [(0, 0)] * lead + list(zip(padding, needed, strict=True))
    if any(after < 0 for _, after in pads):  # windows that leave elements out at the end
        cut = tuple(
            slice(0, size + min(after, 0)) for size, (_, after) in zip(x.shape, pads, strict=True)
        )
        x, pads = x[cut], [(before, max(after, 0)) for before, after in pads]
    lowest = -np.inf if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.iinfo(x.dtype).min
    ones = (1,) * lead
    return lax.reduce_window(
        x,
        np.asarray(lowest, x.dtype),
        lax.max,
        (*ones, *kernel),
        (*ones, *stride),
        pads,
    )


@lowering("aten::max_pool1d_with_indices")
def max_pool1d(x: jax.Array, *args: Any, result: Any) -> Pair:
    return _max_pool(x, args, result[0].shape, 1)


@lowering("aten::max_pool2d_with_indices")
def max_pool2d(x: jax.Array, *args: Any, result: Any) -> Pair:
    return _max_pool(x, args, result[0].shape, 2)


@lowering("aten::max_pool3d_with_indices")
def max_pool3d(x: jax.Array, *args: Any, result: Any) -> Pair:
    return _max_pool(x, args, result[0].shape, 3)


@lowering("aten::max_pool1d")
def max_pool1d_alone(x: jax.Array, *args: Any, result: Any) -> jax.Array:
    return _max_pool(x, args, result.shape, 1)[0]


@lowering("aten::max_pool2d")
def max_pool2d_alone(x: jax.Array, *args: Any, result: Any) -> jax.Array:
    return _max_pool(x, args, result.shape, 2)[0]


@lowering("aten::max_pool3d")
def max_pool3d_alone(x: jax.Array, *args: Any, result: Any) -> jax.Array:
    return _max_pool(x, args, result.shape, 3)[0]


def _adaptive_places(size: int, count: int) -> np.ndarray:
    """Return the places of windows that share out a dimension; short ones repeat their last place."""
    starts = np.arange(count) * size // count
    ends = -(-(np.arange(1, count + 1) * size) // count)
    longest = max((ends - starts).max(initial=0), 1)
    return np.minimum(starts[:, None] + np.arange(longest), ends[:, None] - 1)


@lowering("aten::adaptive_max_pool2d", "aten::adaptive_max_pool3d")
def adaptive_max_pool(x: jax.Array, size: Sequence[int], *, result: Any) -> Pair:
    sizes = x.shape[x.ndim - len(size) :]
    return _largest(x, [_adaptive_places(*pair) for pair in zip(sizes, size, strict=True)])


# Averages ----------------------------------------------------------------------------------------


def _avg_pool(x: jax.Array, options: Sequence[Any], shape: tuple[int, ...], rank: int) -> jax.Array:
    """Return the averages.

    Args:
        x: the spatial dimensions are the last ones.
        options: the kernel, the stride, the padding, whether sizes are rounded up, whether the
            padding counts, and what to divide by.
        shape: of the result.
        rank: the number of spatial dimensions.
    """
    defaults: tuple[Any, ...] = ((), 0, False, True, None)
    kernel, stride, padding, _, count_include_pad, divisor = (
        *options,
        *defaults[len(options) - 1 :],
    )
    kernel = _each(kernel, rank)
    stride, padding = _each(stride, rank) or kernel, _each(padding, rank)
    lead = x.ndim - rank
    counts, pads = np.ones((1,) * rank), [(0, 0)] * lead
    for axis in range(rank):
        size, pad, count = x.shape[lead + axis], padding[axis], shape[lead + axis]
        starts = np.arange(count) * stride[axis] - pad
        ends = np.minimum(starts + kernel[axis], size + pad)
        inside = np.minimum(ends, size) - np.maximum(starts, 0)
        one = (ends - starts) if count_include_pad else inside
        counts = counts * one.reshape([-1 if i == axis else 1 for i in range(rank)])
        pads.append((pad, (count - 1) * stride[axis] + kernel[axis] - size - pad))
    wide = x.astype(working(x.dtype))
    cut = tuple(slice(0, n + min(after, 0)) for n, (_, after) in zip(x.shape, pads, strict=True))
    pads = [(before, max(after, 0)) for before, after in pads]
    ones = (1,) * lead
    total = lax.reduce_window(
        wide[cut], np.zeros((), wide.dtype), lax.add, (*ones, *kernel), (*ones, *stride), pads
    )
    return total / jnp.asarray(counts if divisor is None else divisor, wide.dtype)


@lowering("aten::avg_pool1d")
def avg_pool1d(x: jax.Array, *args: Any, result: Any) -> jax.Array:
    return _avg_pool(x, args, result.shape, 1)


@lowering("aten::avg_pool2d")
def avg_pool2d(x: jax.Array, *args: Any, result: Any) -> jax.Array:
    return _avg_pool(x, args, result.shape, 2)


@lowering("aten::avg_pool3d")
def avg_pool3d(x: jax.Array, *args: Any, result: Any) -> jax.Array:
    return _avg_pool(x, args, result.shape, 3)


@lowering("aten::_adaptive_avg_pool2d", "aten::_adaptive_avg_pool3d")
@lowering("aten::adaptive_avg_pool2d", "aten::adaptive_avg_pool3d", "aten::adaptive_avg_pool1d")
def adaptive_avg_pool(x: jax.Array, size: Sequence[int]) -> jax.Array:
    """Each dimension is multiplied with a matrix that has the shares of its windows."""
    wide = x.astype(working(x.dtype))
    for axis, count in zip(range(x.ndim - len(size), x.ndim), size, strict=True):
        length = x.shape[axis]
        starts = np.arange(count) * length // count
        ends = -(-(np.arange(1, count + 1) * length) // count)
        at = np.arange(length)
        inside = (at >= starts[:, None]) & (at < ends[:, None])
        shares = jnp.asarray(inside / inside.sum(1, keepdims=True), wide.dtype)
        wide = jnp.moveaxis(jnp.tensordot(wide, shares, (axis, 1), precision="highest"), -1, axis)
    return wide
