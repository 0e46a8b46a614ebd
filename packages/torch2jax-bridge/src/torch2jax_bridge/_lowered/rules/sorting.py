"""Sorting, the largest few, medians. NaN is larger than every number, as in PyTorch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from torch2jax_bridge._lowered.registry import lowering
from torch2jax_bridge._lowered.rules.numbers import axis_of, is_float

Pair = tuple[jax.Array, jax.Array]


def _order(x: jax.Array, axis: int, descending: bool) -> jax.Array:
    """Return the places of the elements in order; equal ones keep theirs."""
    x = lax.stop_gradient(x)
    if not descending:
        return jnp.argsort(x, axis, stable=True)
    flipped = jnp.argsort(jnp.flip(x, axis), axis, stable=True)
    return x.shape[axis] - 1 - jnp.flip(flipped, axis)


def _sorted(x: jax.Array, dim: int, descending: bool) -> Pair:
    if x.ndim == 0:
        return x, jnp.zeros((), int)
    axis = axis_of(dim, x.ndim)
    places = _order(x, axis, descending)
    return jnp.take_along_axis(x, places, axis), places


@lowering("aten::sort")
def sort(x: jax.Array, dim: int = -1, descending: bool = False) -> Pair:
    return _sorted(x, dim, descending)


@lowering("aten::sort.stable")
def sort_stable(
    x: jax.Array, *, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> Pair:
    return _sorted(x, dim, descending)


@lowering("aten::argsort")
def argsort(x: jax.Array, dim: int = -1, descending: bool = False) -> jax.Array:
    return _sorted(x, dim, descending)[1]


@lowering("aten::argsort.stable")
def argsort_stable(
    x: jax.Array, *, stable: bool = True, dim: int = -1, descending: bool = False
) -> jax.Array:
    return _sorted(x, dim, descending)[1]


@lowering("aten::topk")
def topk(x: jax.Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Pair:
    if x.ndim == 0:
        return x, jnp.zeros((), int)
    axis = axis_of(dim, x.ndim)
    if largest and axis == x.ndim - 1:
        _, places = lax.top_k(lax.stop_gradient(x), k)
    else:
        places = lax.slice_in_dim(_order(x, axis, largest), 0, k, axis=axis)
    return jnp.take_along_axis(x, places, axis), places


def _at_rank(x: jax.Array, rank: Any, dim: int, keepdim: bool) -> Pair:
    """Return the element that is number `rank` in order, and its place."""
    axis = axis_of(dim, x.ndim)
    places = jnp.take_along_axis(_order(x, axis, False), rank, axis)
    values = jnp.take_along_axis(x, places, axis)
    return (values, places) if keepdim else (values.squeeze(axis), places.squeeze(axis))


def _ranks(x: jax.Array, dim: int, rank: Any) -> jax.Array:
    shape = tuple(1 if i == axis_of(dim, x.ndim) else n for i, n in enumerate(x.shape))
    return jnp.broadcast_to(jnp.asarray(rank, jnp.int32), shape)


@lowering("aten::kthvalue")
def kthvalue(x: jax.Array, k: int, dim: int = -1, keepdim: bool = False) -> Pair:
    if x.ndim == 0:
        return x, jnp.zeros((), int)
    return _at_rank(x, _ranks(x, dim, k - 1), dim, keepdim)


def _median(x: jax.Array, dim: int, keepdim: bool, ignore_nan: bool) -> Pair:
    """Return the middle, or the lower one of two; NaN if there is a NaN, or if there are only such."""
    if x.ndim == 0:
        return x, jnp.zeros((), int)
    axis, count = axis_of(dim, x.ndim), x.shape[dim]
    if not is_float(x):
        return _at_rank(x, _ranks(x, dim, (count - 1) // 2), dim, keepdim)
    real = jnp.sum(~jnp.isnan(x), axis, keepdims=True)
    middle = jnp.maximum(real - 1, 0) // 2
    first_nan = jnp.where(real < count, real, middle)
    return _at_rank(x, middle if ignore_nan else first_nan, dim, keepdim)


@lowering("aten::median.dim")
def median(x: jax.Array, dim: int, keepdim: bool = False) -> Pair:
    return _median(x, dim, keepdim, ignore_nan=False)


@lowering("aten::nanmedian.dim")
def nanmedian(x: jax.Array, dim: int, keepdim: bool = False) -> Pair:
    return _median(x, dim, keepdim, ignore_nan=True)


@lowering("aten::median")
def median_of_all(x: jax.Array) -> jax.Array:
    return _median(x.reshape(-1), 0, False, ignore_nan=False)[0]


@lowering("aten::nanmedian")
def nanmedian_of_all(x: jax.Array) -> jax.Array:
    return _median(x.reshape(-1), 0, False, ignore_nan=True)[0]
