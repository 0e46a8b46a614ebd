"""Views, copies, joins and padding: the same elements in another shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from torch2jax_bridge._lowered.registry import lowering
from torch2jax_bridge._lowered.rules.numbers import as_dtype, axes_of, axis_of

_END = 2**63 - 1


@lowering("aten::alias", "aten::clone", "aten::lift_fresh", "aten::lift", "aten::contiguous")
@lowering("aten::lift_fresh_copy", "aten::_to_copy", "aten::_autocast_to_full")
@lowering("aten::view_as", "aten::to")
def same(x: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
    """Return the array; whoever evaluates the program casts it."""
    return x


@lowering("aten::view.dtype")
def view_as_dtype(x: jax.Array, dtype: Any, *, result: Any) -> jax.Array:
    if x.dtype.itemsize == result.dtype.itemsize:
        return lax.bitcast_convert_type(x, result.dtype)
    if x.dtype.itemsize > result.dtype.itemsize:
        return lax.bitcast_convert_type(x, result.dtype).reshape(result.shape)
    ratio = result.dtype.itemsize // x.dtype.itemsize
    return lax.bitcast_convert_type(x.reshape(*result.shape, ratio), result.dtype)


@lowering("aten::copy")
def copy(x: jax.Array, source: jax.Array, non_blocking: bool = False) -> jax.Array:
    return jnp.broadcast_to(as_dtype(source, x.dtype), x.shape)


@lowering("aten::view", "aten::reshape", "aten::_unsafe_view", "aten::_reshape_alias")
@lowering("aten::flatten", "aten::unflatten", "aten::_reshape_copy")
def reshape(x: jax.Array, *args: Any, result: Any) -> jax.Array:
    return x.reshape(result.shape)


@lowering("aten::expand", "aten::broadcast_to")
def expand(x: jax.Array, *args: Any, result: Any, **kwargs: Any) -> jax.Array:
    return jnp.broadcast_to(x, result.shape)


@lowering("aten::permute")
def permute(x: jax.Array, dims: Sequence[int]) -> jax.Array:
    return jnp.transpose(x, axes_of(dims, x.ndim))


@lowering("aten::t", "aten::numpy_T", "aten::mT")
def t(x: jax.Array) -> jax.Array:
    return x if x.ndim < 2 else jnp.swapaxes(x, -1, -2)


@lowering("aten::transpose.int", "aten::transpose", "aten::swapaxes")
def transpose(x: jax.Array, first: int, second: int) -> jax.Array:
    return jnp.swapaxes(x, first, second) if x.ndim else x


@lowering("aten::squeeze", "aten::squeeze.dim", "aten::squeeze.dims")
def squeeze(x: jax.Array, *args: Any, result: Any) -> jax.Array:
    return x.reshape(result.shape)


@lowering("aten::atleast_1d")
def atleast_1d(x: jax.Array) -> jax.Array:
    return jnp.atleast_1d(x)


@lowering("aten::atleast_2d")
def atleast_2d(x: jax.Array) -> jax.Array:
    return jnp.atleast_2d(x)


@lowering("aten::unsqueeze")
def unsqueeze(x: jax.Array, dim: int) -> jax.Array:
    return jnp.expand_dims(x, dim)


@lowering("aten::select.int", "aten::select")
def select(x: jax.Array, dim: int, index: Any) -> jax.Array:
    if isinstance(index, int):
        return lax.index_in_dim(x, index, dim, keepdims=False)
    return lax.dynamic_index_in_dim(x, index, dim, keepdims=False)


@lowering("aten::slice.Tensor", "aten::slice")
def slice_(
    x: jax.Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> jax.Array:
    return x[_slices(x.ndim, dim, slice(start, None if end == _END else end, step))]


def _slices(ndim: int, dim: int, found: slice) -> tuple[slice, ...]:
    every = [slice(None)] * ndim
    every[dim] = found
    return tuple(every)


@lowering("aten::slice_scatter")
def slice_scatter(
    x: jax.Array,
    source: jax.Array,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> jax.Array:
    found = _slices(x.ndim, dim, slice(start, None if end == _END else end, step))
    return x.at[found].set(source.astype(x.dtype))


@lowering("aten::select_scatter")
def select_scatter(x: jax.Array, source: jax.Array, dim: int, index: int) -> jax.Array:
    every: list[Any] = [slice(None)] * x.ndim
    every[dim] = index
    return x.at[tuple(every)].set(source.astype(x.dtype))


@lowering("aten::diagonal")
def diagonal(x: jax.Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> jax.Array:
    return jnp.diagonal(x, offset, dim1, dim2)


@lowering("aten::diagonal_scatter")
def diagonal_scatter(
    x: jax.Array, source: jax.Array, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> jax.Array:
    moved = jnp.moveaxis(x, (dim1, dim2), (-2, -1))
    rows = np.arange(source.shape[-1]) + max(-offset, 0)
    moved = moved.at[..., rows, rows + offset].set(source.astype(x.dtype))
    return jnp.moveaxis(moved, (-2, -1), (dim1, dim2))


@lowering("aten::diag_embed")
def diag_embed(x: jax.Array, offset: int = 0, dim1: int = -2, dim2: int = -1) -> jax.Array:
    size = x.shape[-1] + abs(offset)
    rows = np.arange(x.shape[-1]) + max(-offset, 0)
    out = jnp.zeros((*x.shape[:-1], size, size), x.dtype).at[..., rows, rows + offset].set(x)
    return jnp.moveaxis(out, (-2, -1), (dim1, dim2))


def _places(size: Sequence[int], stride: Sequence[int], offset: int) -> np.ndarray:
    """Return for each element of a strided view where it is in memory."""
    places = np.asarray(offset)
    for length, step in zip(size, stride, strict=True):
        places = places[..., None] + np.arange(length) * step
    return places


@lowering("aten::as_strided")
def as_strided(
    x: jax.Array, size: Sequence[int], stride: Sequence[int], offset: int | None = None
) -> jax.Array:
    return x.reshape(-1)[_places(size, stride, offset or 0)]


@lowering("aten::as_strided_scatter")
def as_strided_scatter(
    x: jax.Array,
    source: jax.Array,
    size: Sequence[int],
    stride: Sequence[int],
    offset: int | None = None,
) -> jax.Array:
    places = _places(size, stride, offset or 0)
    return x.reshape(-1).at[places].set(source.astype(x.dtype)).reshape(x.shape)


@lowering("aten::unfold")
def unfold(x: jax.Array, dim: int, size: int, step: int) -> jax.Array:
    if x.ndim == 0:
        return x[None][:size]
    count = (x.shape[dim] - size) // step + 1
    places = np.arange(count)[:, None] * step + np.arange(size)
    windows = jnp.take(x, places, axis=dim)
    return jnp.moveaxis(windows, dim % x.ndim + 1, -1)


# Parts and joins ---------------------------------------------------------------------------------


@lowering("aten::split.Tensor", "aten::split", "aten::split_with_sizes", "aten::unsafe_split")
@lowering("aten::split.sizes", "aten::unsafe_split_with_sizes", "aten::chunk")
@lowering("aten::unsafe_chunk", "aten::tensor_split")
def split(x: jax.Array, sizes: Any, dim: int = 0, *, result: Any) -> list[jax.Array]:
    ends = np.cumsum([part.shape[dim] for part in result])
    return jnp.split(x, ends[:-1], dim)


@lowering("aten::unbind.int", "aten::unbind")
def unbind(x: jax.Array, dim: int = 0) -> list[jax.Array]:
    return [lax.index_in_dim(x, i, dim, keepdims=False) for i in range(x.shape[dim])]


@lowering("aten::cat")
def cat(tensors: Sequence[jax.Array], dim: int = 0, *, result: Any) -> jax.Array:
    parts = [x.astype(result.dtype) for x in tensors if x.shape != (0,)]
    return jnp.concatenate(parts, dim) if parts else jnp.zeros(result.shape, result.dtype)


@lowering("aten::stack")
def stack(tensors: Sequence[jax.Array], dim: int = 0, *, result: Any) -> jax.Array:
    return jnp.stack([x.astype(result.dtype) for x in tensors], dim)


@lowering("aten::block_diag")
def block_diag(tensors: Sequence[jax.Array], *, result: Any) -> jax.Array:
    out, row, col = jnp.zeros(result.shape, result.dtype), 0, 0
    for part in map(jnp.atleast_2d, tensors):
        height, width = part.shape
        out = out.at[row : row + height, col : col + width].set(part.astype(result.dtype))
        row, col = row + height, col + width
    return out


# Orders and repetitions --------------------------------------------------------------------------


@lowering("aten::flip")
def flip(x: jax.Array, dims: Sequence[int]) -> jax.Array:
    return jnp.flip(x, axes_of(dims, x.ndim)) if dims and x.ndim else x


@lowering("aten::roll")
def roll(x: jax.Array, shifts: Any, dims: Any = ()) -> jax.Array:
    shifts = [shifts] if isinstance(shifts, int) else list(shifts)
    dims = [dims] if isinstance(dims, int) else list(dims)
    if not dims:
        return jnp.roll(x.reshape(-1), shifts[0]).reshape(x.shape)
    return jnp.roll(x, shifts, dims)


@lowering("aten::rot90")
def rot90(x: jax.Array, k: int = 1, dims: Sequence[int] = (0, 1)) -> jax.Array:
    return jnp.rot90(x, k, (dims[0], dims[1]))


@lowering("aten::repeat", "aten::tile")
def repeat(x: jax.Array, repeats: Sequence[int]) -> jax.Array:
    return jnp.tile(x, tuple(repeats))


@lowering("aten::repeat_interleave.self_int")
def repeat_interleave(
    x: jax.Array, repeats: int, dim: int | None = None, *, output_size: int | None = None
) -> jax.Array:
    return jnp.repeat(x, repeats, dim)


@lowering("aten::tril")
def tril(x: jax.Array, diagonal: int = 0) -> jax.Array:
    return jnp.tril(x, diagonal)


@lowering("aten::triu")
def triu(x: jax.Array, diagonal: int = 0) -> jax.Array:
    return jnp.triu(x, diagonal)


@lowering("aten::pixel_shuffle")
def pixel_shuffle(x: jax.Array, factor: int) -> jax.Array:
    *batch, channels, height, width = x.shape
    n = len(batch)
    x = x.reshape(*batch, channels // factor**2, factor, factor, height, width)
    x = x.transpose(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return x.reshape(*batch, channels // factor**2, height * factor, width * factor)


@lowering("aten::pixel_unshuffle")
def pixel_unshuffle(x: jax.Array, factor: int) -> jax.Array:
    *batch, channels, height, width = x.shape
    n = len(batch)
    x = x.reshape(*batch, channels, height // factor, factor, width // factor, factor)
    x = x.transpose(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return x.reshape(*batch, channels * factor**2, height // factor, width // factor)


@lowering("aten::channel_shuffle", "aten::native_channel_shuffle")
def channel_shuffle(x: jax.Array, groups: int) -> jax.Array:
    parts = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    return jnp.swapaxes(parts, 1, 2).reshape(x.shape)


# Padding -----------------------------------------------------------------------------------------


def _pads(x: jax.Array, pad: Sequence[int]) -> list[tuple[int, int]]:
    """Return what is added to each dimension; PyTorch counts them from the last."""
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    return [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]


@lowering("aten::constant_pad_nd")
def constant_pad(x: jax.Array, pad: Sequence[int], value: Any = 0) -> jax.Array:
    config = [(before, after, 0) for before, after in _pads(x, pad)]
    return lax.pad(x, as_dtype(value, x.dtype), config)


def _padded_by_index(x: jax.Array, pad: Sequence[int], mode: str) -> jax.Array:
    """Pad by places, cut off where the padding is negative."""
    for axis, (before, after) in enumerate(_pads(x, pad)):
        if before or after:
            size = x.shape[axis]
            places = np.arange(-before, size + after)
            if mode == "reflect":
                period = max(2 * (size - 1), 1)
                places = np.abs((places + size - 1) % period - (size - 1))
            else:
                places = np.clip(places, 0, size - 1)
            x = jnp.take(x, places, axis=axis)
    return x


@lowering("aten::reflection_pad1d", "aten::reflection_pad2d", "aten::reflection_pad3d")
def reflection_pad(x: jax.Array, pad: Sequence[int]) -> jax.Array:
    return _padded_by_index(x, pad, "reflect")


@lowering("aten::replication_pad1d", "aten::replication_pad2d", "aten::replication_pad3d")
def replication_pad(x: jax.Array, pad: Sequence[int]) -> jax.Array:
    return _padded_by_index(x, pad, "edge")


@lowering("aten::im2col")
def im2col(
    x: jax.Array,
    kernel: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
    *,
    result: Any,
) -> jax.Array:
    places = [
        _window_places(size, *options)
        for size, *options in zip(x.shape[-2:], kernel, dilation, padding, stride, strict=True)
    ]
    pads = [(0, 0)] * (x.ndim - 2) + [(p, p) for p in padding]
    padded = jnp.pad(x, pads)
    rows, cols = places
    windows = padded[..., rows[:, None, :, None], cols[None, :, None, :]]
    return windows.reshape(result.shape)


def _window_places(size: int, kernel: int, dilation: int, padding: int, stride: int) -> np.ndarray:
    """Return the place of each element of a kernel (rows) in each window (columns)."""
    count = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    return np.arange(kernel)[:, None] * dilation + np.arange(count) * stride


@lowering("aten::col2im")
def col2im(
    x: jax.Array,
    size: Sequence[int],
    kernel: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
    *,
    result: Any,
) -> jax.Array:
    rows, cols = (
        _window_places(length, *options)
        for length, *options in zip(size, kernel, dilation, padding, stride, strict=True)
    )
    lead = result.shape[:-2]
    windows = x.reshape(*lead, kernel[0], kernel[1], rows.shape[1], cols.shape[1])
    height, width = (n + 2 * p for n, p in zip(size, padding, strict=True))
    out = jnp.zeros((*lead, height, width), x.dtype)
    out = out.at[..., rows[:, None, :, None], cols[None, :, None, :]].add(windows)
    top, left = padding
    return out[..., top : top + size[0], left : left + size[1]]


@lowering("aten::_shape_as_tensor")
def shape_as_tensor(x: jax.Array) -> jax.Array:
    return jnp.asarray(x.shape)


@lowering("aten::narrow")
def narrow(x: jax.Array, dim: int, start: int, length: int) -> jax.Array:
    return lax.slice_in_dim(x, start, start + length, axis=axis_of(dim, x.ndim))
