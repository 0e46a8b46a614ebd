"""Sums, means, extremes, norms, and what accumulates along a dimension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from torch2jax_bridge._lowered.registry import lowering
from torch2jax_bridge._lowered.rules.numbers import (
    axes_of,
    axis_of,
    is_complex,
    is_float,
    working,
)

Dims = int | Sequence[int] | None


@lowering("aten::sum")
def sum_(
    x: jax.Array, dim: Dims = None, keepdim: bool = False, *, result: Any, dtype: Any = None
) -> jax.Array:
    x = x.astype(working(result.dtype))
    return jnp.sum(x, axes_of(dim, x.ndim), keepdims=keepdim)


@lowering("aten::mean")
def mean(
    x: jax.Array, dim: Dims = None, keepdim: bool = False, *, result: Any, dtype: Any = None
) -> jax.Array:
    x = x.astype(working(result.dtype))
    return jnp.mean(x, axes_of(dim, x.ndim), keepdims=keepdim)


@lowering("aten::nansum")
def nansum(
    x: jax.Array, dim: Dims = None, keepdim: bool = False, *, result: Any, dtype: Any = None
) -> jax.Array:
    x = x.astype(working(result.dtype))
    x = jnp.where(jnp.isnan(x), 0, x) if is_float(x) else x
    return jnp.sum(x, axes_of(dim, x.ndim), keepdims=keepdim)


@lowering("aten::prod", "aten::prod.dim_int")
def prod(
    x: jax.Array, dim: Dims = None, keepdim: bool = False, *, result: Any, dtype: Any = None
) -> jax.Array:
    x = x.astype(working(result.dtype))
    return jnp.prod(x, axes_of(dim, x.ndim), keepdims=keepdim)


@lowering("aten::any")
def any_(x: jax.Array, dim: Dims = None, keepdim: bool = False) -> jax.Array:
    return jnp.any(x != 0, axes_of(dim, x.ndim), keepdims=keepdim)


@lowering("aten::all")
def all_(x: jax.Array, dim: Dims = None, keepdim: bool = False) -> jax.Array:
    return jnp.all(x != 0, axes_of(dim, x.ndim), keepdims=keepdim)


@lowering("aten::count_nonzero")
def count_nonzero(x: jax.Array, dim: Dims = None) -> jax.Array:
    return jnp.sum(x != 0, axes_of(dim, x.ndim))


# Extremes ----------------------------------------------------------------------------------------


@lowering("aten::amax")
def amax(x: jax.Array, dim: Dims = (), keepdim: bool = False) -> jax.Array:
    return jnp.max(x, axes_of(dim, x.ndim), keepdims=keepdim)


@lowering("aten::amin")
def amin(x: jax.Array, dim: Dims = (), keepdim: bool = False) -> jax.Array:
    return jnp.min(x, axes_of(dim, x.ndim), keepdims=keepdim)


@lowering("aten::max")
def max_(x: jax.Array) -> jax.Array:
    return jnp.max(x)


@lowering("aten::min")
def min_(x: jax.Array) -> jax.Array:
    return jnp.min(x)


@lowering("aten::aminmax")
def aminmax(
    x: jax.Array, *, dim: int | None = None, keepdim: bool = False
) -> tuple[jax.Array, jax.Array]:
    return amin(x, dim, keepdim), amax(x, dim, keepdim)


def _arg(x: jax.Array, dim: int | None, keepdim: bool, largest: bool) -> jax.Array:
    """Return the first place of an extreme; NaN is one."""
    find = jnp.argmax if largest else jnp.argmin
    if x.dtype == bool:
        x = x.astype(jnp.int32)
    if x.ndim == 0:
        return jnp.zeros((), int)
    if dim is None:
        found = find(x.reshape(-1))
        return found.reshape((1,) * x.ndim) if keepdim else found
    return find(x, dim, keepdims=keepdim)


@lowering("aten::argmax")
def argmax(x: jax.Array, dim: int | None = None, keepdim: bool = False) -> jax.Array:
    return _arg(x, dim, keepdim, True)


@lowering("aten::argmin")
def argmin(x: jax.Array, dim: int | None = None, keepdim: bool = False) -> jax.Array:
    return _arg(x, dim, keepdim, False)


def _with_place(
    x: jax.Array, dim: int, keepdim: bool, largest: bool
) -> tuple[jax.Array, jax.Array]:
    places = _arg(x, dim, True, largest)
    if x.ndim == 0:
        return x, places
    values = jnp.take_along_axis(x, places, dim)
    return (values, places) if keepdim else (values.squeeze(dim), places.squeeze(dim))


@lowering("aten::max.dim")
def max_with_place(x: jax.Array, dim: int, keepdim: bool = False) -> tuple[jax.Array, jax.Array]:
    return _with_place(x, dim, keepdim, True)


@lowering("aten::min.dim")
def min_with_place(x: jax.Array, dim: int, keepdim: bool = False) -> tuple[jax.Array, jax.Array]:
    return _with_place(x, dim, keepdim, False)


# Variances ---------------------------------------------------------------------------------------


def _variance(x: jax.Array, dim: Any, correction: Any, keepdim: bool) -> jax.Array:
    axes = axes_of(dim, x.ndim)
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    wide = x.astype(working(x.dtype))
    centred = wide - jnp.mean(wide, axes, keepdims=True)
    squares = centred.real**2 + centred.imag**2 if is_complex(x) else centred * centred
    freedom = max(count - correction, 0)
    return jnp.sum(squares, axes, keepdims=keepdim) / jnp.asarray(freedom, squares.dtype)


def _correction(unbiased: Any, correction: Any) -> Any:
    if correction is not None:
        return correction
    return 1 if unbiased is None or unbiased is True else 0


@lowering("aten::var", "aten::var.dim")
def var_flagged(
    x: jax.Array, dim: Any = None, unbiased: bool = True, keepdim: bool = False
) -> jax.Array:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    return _variance(x, dim, _correction(unbiased, None), keepdim)


@lowering("aten::var.correction")
def var(
    x: jax.Array, dim: Dims = None, *, correction: Any = None, keepdim: bool = False
) -> jax.Array:
    return _variance(x, dim, _correction(None, correction), keepdim)


@lowering("aten::std.correction")
def std(
    x: jax.Array, dim: Dims = None, *, correction: Any = None, keepdim: bool = False
) -> jax.Array:
    return _root(var(x, dim, correction=correction, keepdim=keepdim))


@lowering("aten::std", "aten::std.dim")
def std_flagged(
    x: jax.Array, dim: Any = None, unbiased: bool = True, keepdim: bool = False
) -> jax.Array:
    return _root(var_flagged(x, dim, unbiased, keepdim))


def _root(variance: jax.Array) -> jax.Array:
    """Return the square root; its derivative at 0 is 0, as PyTorch's for norms and deviations."""
    zero = variance == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, variance)))


@lowering("aten::var_mean.correction")
def var_mean(
    x: jax.Array, dim: Dims = None, *, correction: Any = None, keepdim: bool = False, result: Any
) -> tuple[jax.Array, jax.Array]:
    variance = var(x, dim, correction=correction, keepdim=keepdim)
    return variance, mean(x, dim, keepdim, result=result[1])


@lowering("aten::std_mean.correction")
def std_mean(
    x: jax.Array, dim: Dims = None, *, correction: Any = None, keepdim: bool = False, result: Any
) -> tuple[jax.Array, jax.Array]:
    variance, average = var_mean(x, dim, correction=correction, keepdim=keepdim, result=result)
    return _root(variance), average


# Norms -------------------------------------------------------------------------------------------


@lowering("aten::linalg_vector_norm")
def vector_norm(
    x: jax.Array,
    p: Any = 2,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    result: Any,
) -> jax.Array:
    axes = axes_of(dim, x.ndim)
    x = x.astype(working(result.dtype)) if not is_complex(x) else x
    if p == 2:
        squares = x.real**2 + x.imag**2 if is_complex(x) else x * x
        return _root(jnp.sum(squares, axes, keepdims=keepdim))
    size = _length(x)
    if p == 0:
        return jnp.sum(size != 0, axes, keepdims=keepdim)
    if p == float("inf"):
        return jnp.max(size, axes, keepdims=keepdim)
    if p == float("-inf"):
        return jnp.min(size, axes, keepdims=keepdim)
    if p == 1:
        return jnp.sum(size, axes, keepdims=keepdim)
    zero = size == 0
    powers = jnp.where(zero, 0 if p > 0 else jnp.inf, jnp.where(zero, 1, size) ** p)
    total = jnp.sum(powers, axes, keepdims=keepdim)
    nothing = (total == 0) | jnp.isinf(total) if p < 0 else total == 0
    return jnp.where(
        nothing, jnp.where(total == 0, total, 0), jnp.where(nothing, 1, total) ** (1 / p)
    )


def _length(x: jax.Array) -> jax.Array:
    if not is_complex(x):
        return jnp.abs(x)
    return _root(x.real**2 + x.imag**2)


@lowering("aten::norm")
def norm(
    x: jax.Array,
    p: Any = 2,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    result: Any,
) -> jax.Array:
    return vector_norm(x, 2 if p is None else p, dim, keepdim, result=result)


@lowering("aten::logsumexp")
def logsumexp(x: jax.Array, dim: Dims, keepdim: bool = False, *, result: Any) -> jax.Array:
    x = x.astype(working(result.dtype))
    return jax.scipy.special.logsumexp(x, axes_of(dim, x.ndim), keepdims=keepdim)


@lowering("aten::trace")
def trace(x: jax.Array, *, result: Any) -> jax.Array:
    return jnp.trace(x.astype(result.dtype))


# Along a dimension -------------------------------------------------------------------------------


@lowering("aten::cumsum")
def cumsum(x: jax.Array, dim: int, *, dtype: Any = None, result: Any) -> jax.Array:
    x = x.astype(working(result.dtype))
    return jnp.cumsum(x, dim) if x.ndim else x


@lowering("aten::cumprod")
def cumprod(x: jax.Array, dim: int, *, dtype: Any = None, result: Any) -> jax.Array:
    x = x.astype(working(result.dtype))
    return jnp.cumprod(x, dim) if x.ndim else x


@lowering("aten::logcumsumexp")
def logcumsumexp(x: jax.Array, dim: int) -> jax.Array:
    if x.ndim == 0:
        return x
    wide = x.astype(working(x.dtype))
    return lax.cumlogsumexp(wide, axis_of(dim, x.ndim))


def _cumulative_extreme(x: jax.Array, dim: int, largest: bool) -> tuple[jax.Array, jax.Array]:
    """Return the last place of each extreme so far; a NaN stays."""
    if x.ndim == 0:
        return x, jnp.zeros((), int)
    axis = axis_of(dim, x.ndim)
    places = lax.broadcasted_iota(jnp.int32, x.shape, axis)
    plain = lax.stop_gradient(x.astype(jnp.int32) if x.dtype == bool else x)

    def later(first: Any, second: Any) -> Any:
        better = second[0] >= first[0] if largest else second[0] <= first[0]
        if is_float(plain):
            better = (better | jnp.isnan(second[0])) & ~(
                jnp.isnan(first[0]) & ~jnp.isnan(second[0])
            )
        return tuple(jnp.where(better, s, f) for f, s in zip(first, second, strict=True))

    _, found = lax.associative_scan(later, (plain, places), axis=axis)
    return jnp.take_along_axis(x, found, axis), found


@lowering("aten::cummax")
def cummax(x: jax.Array, dim: int) -> tuple[jax.Array, jax.Array]:
    return _cumulative_extreme(x, dim, True)


@lowering("aten::cummin")
def cummin(x: jax.Array, dim: int) -> tuple[jax.Array, jax.Array]:
    return _cumulative_extreme(x, dim, False)


@lowering("aten::dist")
def dist(x: jax.Array, y: jax.Array, p: Any = 2, *, result: Any) -> jax.Array:
    return vector_norm(x - y, p, result=result)


@lowering("aten::diff")
def diff(x: jax.Array, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    return jnp.diff(x, n, dim, prepend, append)
