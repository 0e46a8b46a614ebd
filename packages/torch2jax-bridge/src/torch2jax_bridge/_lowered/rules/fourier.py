"""Fourier transforms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from torch2jax_bridge._lowered.registry import lowering

Array = jax.Array
_NONE, _BY_ROOT = 0, 1


def _scaled(x: Array, normalization: int, count: int) -> Array:
    """Divide by nothing, by the root of the number of elements, or by that number."""
    if normalization == _NONE:
        return x
    return x / (math.sqrt(count) if normalization == _BY_ROOT else count)


def _count(x: Array, dim: Sequence[int]) -> int:
    return math.prod(x.shape[d] for d in dim)


@lowering("aten::_fft_c2c")
def fft_c2c(x: Array, dim: Sequence[int], normalization: int, forward: bool) -> Array:
    count = _count(x, dim)
    if not dim:
        return x
    found = (jnp.fft.fftn if forward else jnp.fft.ifftn)(x, axes=dim)
    return _scaled(found if forward else found * count, normalization, count)


@lowering("aten::_fft_r2c")
def fft_r2c(x: Array, dim: Sequence[int], normalization: int, onesided: bool) -> Array:
    transform: Any = jnp.fft.rfftn if onesided else jnp.fft.fftn
    return _scaled(transform(x, axes=dim), normalization, _count(x, dim))


@lowering("aten::_fft_c2r")
def fft_c2r(x: Array, dim: Sequence[int], normalization: int, size: int) -> Array:
    sizes = [x.shape[d] for d in dim[:-1]] + [size]
    count = math.prod(sizes)
    found = jnp.fft.irfftn(x, sizes, axes=dim) * count
    return _scaled(found, normalization, count)
