"""Elements by their places: indexing, gathering, embeddings, search in sorted numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from torch2jax_bridge._lowered.registry import lowering
from torch2jax_bridge._lowered.rules.numbers import added, as_dtype, axis_of


def _places(x: jax.Array, indices: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(slice(None) if index is None else index for index in indices)


@lowering("aten::index.Tensor", "aten::_unsafe_index.Tensor", "aten::index")
def index(x: jax.Array, indices: Sequence[Any]) -> jax.Array:
    return x[_places(x, indices)]


@lowering("aten::_unsafe_masked_index")
def unsafe_masked_index(x: jax.Array, mask: jax.Array, indices: Sequence[Any], fill: Any) -> Any:
    return jnp.where(mask, x[_places(x, indices)], as_dtype(fill, x.dtype))


@lowering("aten::index_put", "aten::_unsafe_index_put", "aten::_index_put_impl")
def index_put(
    x: jax.Array,
    indices: Sequence[Any],
    values: jax.Array,
    accumulate: bool = False,
    unsafe: bool = False,
) -> jax.Array:
    values = values.astype(x.dtype)
    if any(i is not None and i.dtype == bool for i in indices):
        return _put_where(x, indices, values, accumulate)
    places = x.at[_places(x, indices)]
    return added(places, values) if accumulate else places.set(values)


def _put_where(
    x: jax.Array, indices: Sequence[Any], values: jax.Array, accumulate: bool
) -> jax.Array:
    """Put values where a mask is true; other places stay."""
    given = [i for i in indices if i is not None]
    if len(given) != 1:
        raise TypeError(
            "A program of XLA cannot write at a mask and at numbers together; write twice, or use "
            'backend="call".'
        )
    before = indices.index(given[0]) if given[0] is indices[0] else _first(indices)
    mask = given[0]
    after = x.ndim - before - mask.ndim
    rest = x.shape[before + mask.ndim :]
    is_one = values.ndim <= after or values.shape[-after - 1] == 1
    if before and not is_one:
        raise TypeError('A mask behind other dimensions takes one value; use backend="call".')
    if not is_one:
        place = jnp.maximum(jnp.cumsum(mask.reshape(-1)) - 1, 0)
        values = jnp.take(values, place, 0).reshape(*mask.shape, *rest)
    elif values.ndim > after and mask.ndim != 1:
        values = values.reshape(
            *values.shape[: values.ndim - after - 1],
            *([1] * mask.ndim),
            *values.shape[values.ndim - after :],
        )
    wide = mask.reshape(*([1] * before), *mask.shape, *([1] * after))
    return jnp.where(wide, x + values if accumulate else values, x).astype(x.dtype)


def _first(indices: Sequence[Any]) -> int:
    return next(i for i, index in enumerate(indices) if index is not None)


@lowering("aten::gather")
def gather(x: jax.Array, dim: int, index: jax.Array, *, sparse_grad: bool = False) -> jax.Array:
    if index.size == 0:
        return jnp.zeros(index.shape, x.dtype)
    if x.ndim == 0 or index.ndim == 0:
        return x.reshape(-1)[index.reshape(-1)].reshape(index.shape)
    axis = axis_of(dim, x.ndim)
    cut = tuple(slice(None) if i == axis else slice(size) for i, size in enumerate(index.shape))
    return jnp.take_along_axis(x[cut], index, axis)


@lowering("aten::take_along_dim")
def take_along_dim(x: jax.Array, index: jax.Array, dim: int | None = None) -> jax.Array:
    return jnp.take_along_axis(x, index, dim)


@lowering("aten::index_select")
def index_select(x: jax.Array, dim: int, index: jax.Array) -> jax.Array:
    if x.ndim == 0:
        return x
    taken = jnp.take(x, index, axis_of(dim, x.ndim))
    return taken if index.ndim else jnp.expand_dims(taken, axis_of(dim, x.ndim))


@lowering("aten::take")
def take(x: jax.Array, index: jax.Array) -> jax.Array:
    return x.reshape(-1)[index]


@lowering("aten::embedding")
def embedding(
    weight: jax.Array,
    indices: jax.Array,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> jax.Array:
    found = jnp.take(weight, indices, 0)
    if scale_grad_by_freq:
        counts = jnp.zeros(weight.shape[0], jnp.int32).at[indices.reshape(-1)].add(1)
        share = 1 / jnp.take(counts, indices, 0)[..., None].astype(weight.dtype)
        found = found * share + lax.stop_gradient(found * (1 - share))
    if padding_idx >= 0:
        found = jnp.where((indices == padding_idx)[..., None], lax.stop_gradient(found), found)
    return found


@lowering("aten::searchsorted.Tensor")
def searchsorted(
    edges: jax.Array,
    x: jax.Array,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: jax.Array | None = None,
) -> jax.Array:
    where = "right" if right or side == "right" else "left"
    if sorter is not None:
        edges = jnp.take_along_axis(edges, sorter, -1)
    if edges.ndim == 1:
        return jnp.searchsorted(edges, x, where)
    if x.size == 0:
        return jnp.zeros(x.shape, int)
    search = jax.vmap(lambda e, v: jnp.searchsorted(e, v, where))
    flat = search(edges.reshape(-1, edges.shape[-1]), x.reshape(-1, x.shape[-1]))
    return flat.reshape(x.shape)


@lowering("aten::searchsorted.Scalar")
def searchsorted_number(edges: jax.Array, x: Any, **options: Any) -> jax.Array:
    return searchsorted(edges, jnp.asarray(x), **options)


@lowering("aten::bucketize")
def bucketize(
    x: Any, edges: jax.Array, *, out_int32: bool = False, right: bool = False
) -> jax.Array:
    return jnp.searchsorted(edges, jnp.asarray(x), "right" if right else "left")


@lowering("aten::isin")
def isin(x: Any, among: Any, *, assume_unique: bool = False, invert: bool = False) -> jax.Array:
    return jnp.isin(jnp.asarray(x), jnp.asarray(among), invert=invert)


@lowering("aten::one_hot")
def one_hot(x: jax.Array, classes: int = -1, *, result: Any) -> jax.Array:
    return jax.nn.one_hot(x, result.shape[-1], dtype=result.dtype)
