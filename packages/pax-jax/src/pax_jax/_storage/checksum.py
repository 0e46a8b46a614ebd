"""A checksum of arrays that adds up over their blocks, however an array is cut into them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pax_jax._storage.codes import code_bits

_WIDTH = 2**64
_INNER = 1024  # elements at least that one step adds up
_BLOCK = 2**18  # elements whose weights are made at once
_ODD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)


def checksum(block: np.ndarray, start: Sequence[int] = ()) -> int:
    """Return the sum of the bits of all elements, each times an odd number made of its index, modulo 2**64.

    One changed element changes the sum for certain; other damage does, but for a chance of 2**-64.

    Args:
        block: an array, or a part of one.
        start: the index of the part's first element in the whole.
    """
    bits = _bits(block)
    first = [*start, *[0] * (bits.ndim - len(start))]
    if not bits.size:
        return 0
    if not bits.ndim:
        return int(bits)
    rows = max(1, _BLOCK // (bits.size // len(bits)))
    parts = (
        _weighted(bits[i : i + rows], [first[0] + i, *first[1:]]) for i in range(0, len(bits), rows)
    )
    return sum(parts) % _WIDTH


def _weighted(bits: np.ndarray, start: Sequence[int]) -> int:
    shape = list(bits.shape)
    axes = [_weights(axis, start[axis], size) for axis, size in enumerate(shape)]
    while shape:
        weights = axes.pop()
        shape.pop()
        while axes and len(weights) < _INNER:
            weights = np.multiply.outer(axes.pop(), weights).ravel()
            shape.pop()
        bits = np.einsum("ij,j->i", bits.reshape(-1, len(weights)), weights).reshape(shape)
    return int(bits)


def _weights(axis: int, start: int, size: int) -> np.ndarray:
    factor = np.uint64(_ODD[axis % len(_ODD)])
    return (np.arange(start, start + size, dtype=np.uint64) + np.uint64(axis)) * factor | np.uint64(
        1
    )


def _bits(block: np.ndarray) -> np.ndarray:
    """Return the bits of each element as an unsigned integer; two of them for a complex number."""
    block = np.asarray(block, order="C")
    size = block.dtype.itemsize
    if block.dtype.kind == "c":
        block, size = block.reshape(*block.shape, 1), size // 2
    bits = block.view(f"u{size}")
    width = code_bits(block.dtype)
    return bits if width is None else bits & np.uint8(2**width - 1)
