"""Writing to places: scatter and its relatives."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from torch2jax_bridge._lowered.registry import lowering
from torch2jax_bridge._lowered.rules.numbers import added, as_dtype, axis_of, is_float


def _places(x: jax.Array, dim: int, index: jax.Array) -> Any:
    """Return the places in all dimensions that an index along one of them means."""
    axis = axis_of(dim, x.ndim)
    places: list[Any] = list(np.ogrid[tuple(map(slice, index.shape))])
    places[axis] = index
    return x.at[tuple(places)]


def _source(source: Any, x: jax.Array, index: jax.Array) -> jax.Array:
    """Return the values for an index: as many as it has places."""
    if isinstance(source, bool | int | float | complex) or source.ndim == 0:
        return jnp.broadcast_to(as_dtype(source, x.dtype), index.shape)
    return source[tuple(map(slice, index.shape))].astype(x.dtype)


def _atleast_1d(*arrays: Any) -> list[Any]:
    return [x[None] if getattr(x, "ndim", 1) == 0 else x for x in arrays]


@lowering("aten::scatter")
def scatter(
    x: jax.Array, dim: int, index: jax.Array, source: Any, *, reduce: str | None = None
) -> jax.Array:
    shape = x.shape
    x, index = _atleast_1d(x, index)
    places, values = _places(x, dim, index), _source(source, x, index)
    if reduce == "add":
        return added(places, values).reshape(shape)
    if reduce == "multiply":
        return places.multiply(values).reshape(shape)
    return places.set(values).reshape(shape)


@lowering("aten::scatter_add")
def scatter_add(x: jax.Array, dim: int, index: jax.Array, source: Any) -> jax.Array:
    return scatter(x, dim, index, source, reduce="add")


_EXTREME = {"amax": -np.inf, "amin": np.inf}


def _identity(reduce: str, dtype: Any) -> Any:
    if reduce in ("sum", "mean"):
        return 0
    if jnp.issubdtype(dtype, jnp.inexact):
        return _EXTREME[reduce]
    if dtype == jnp.bool_:
        return reduce == "amin"
    return jnp.iinfo(dtype).min if reduce == "amax" else jnp.iinfo(dtype).max


def _is_product(x: Any, dim: int, index: Any, source: Any, reduce: str, **_: Any) -> bool:
    return reduce == "prod"


# JAX has no derivative for products at places that are named twice.
@lowering("aten::scatter_reduce.two", unless=_is_product)
def scatter_reduce(
    x: jax.Array,
    dim: int,
    index: jax.Array,
    source: jax.Array,
    reduce: str,
    *,
    include_self: bool = True,
) -> jax.Array:
    shape = x.shape
    x, index, source = _atleast_1d(x, index, source)
    values = _source(source, x, index)
    if not include_self:
        x = _places(x, dim, index).set(_identity(reduce, x.dtype))
    places = _places(x, dim, index)
    if reduce == "amin":
        return places.min(values).reshape(shape)
    if reduce == "amax" or x.dtype == jnp.bool_:
        return places.max(values).reshape(shape)
    total = places.add(values)
    if reduce == "mean":
        counts = jnp.full(x.shape, int(include_self), jnp.int32)
        counts = jnp.maximum(_places(counts, dim, index).add(1), 1)
        total = total / counts.astype(x.dtype) if is_float(x) else total // counts.astype(x.dtype)
    return total.reshape(shape)


def _along(x: jax.Array, dim: int, index: jax.Array) -> Any:
    every: list[Any] = [slice(None)] * x.ndim
    every[axis_of(dim, x.ndim)] = index
    return x.at[tuple(every)]


@lowering("aten::index_add")
def index_add(
    x: jax.Array, dim: int, index: jax.Array, source: jax.Array, *, alpha: Any = 1
) -> jax.Array:
    shape = x.shape
    x, index, source = _atleast_1d(x, index, source)
    source = source.astype(x.dtype)
    return added(_along(x, dim, index), source if alpha == 1 else source * alpha).reshape(shape)


@lowering("aten::index_copy")
def index_copy(x: jax.Array, dim: int, index: jax.Array, source: jax.Array) -> jax.Array:
    shape = x.shape
    x, index, source = _atleast_1d(x, index, source)
    return _along(x, dim, index).set(source).reshape(shape)


@lowering("aten::index_fill")
def index_fill(x: jax.Array, dim: int, index: jax.Array, value: Any) -> jax.Array:
    shape = x.shape
    x, index = _atleast_1d(x, index)
    return _along(x, dim, index).set(as_dtype(value, x.dtype)).reshape(shape)


@lowering("aten::masked_scatter")
def masked_scatter(x: jax.Array, mask: jax.Array, source: jax.Array) -> jax.Array:
    x, mask = jnp.broadcast_arrays(x, mask)
    place = jnp.maximum(jnp.cumsum(mask.reshape(-1)) - 1, 0)
    values = jnp.take(source.reshape(-1), place, mode="clip").reshape(x.shape)
    return jnp.where(mask, values, x)


@lowering("aten::put")
def put(x: jax.Array, index: jax.Array, source: jax.Array, accumulate: bool = False) -> jax.Array:
    places = x.reshape(-1).at[index.reshape(-1)]
    values = source.reshape(-1)
    return (added(places, values) if accumulate else places.set(values)).reshape(x.shape)
