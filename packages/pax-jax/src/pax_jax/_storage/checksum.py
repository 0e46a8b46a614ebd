"""A checksum of arrays that adds up over their blocks, however an array is cut into them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from pax_jax._storage.codes import code_bits

_WIDTH = 2**64
_INNER = 1024  # words at least that one step adds up
_BLOCK = 2**18  # elements whose weights are made at once, a multiple of those of a word
_WORD = 8  # bytes
_SMALL = 2**20  # bytes of an array for which no thread is worth while
_ODD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)


def checksums(
    arrays: Mapping[str, Any], checksum_of: Callable[[Any], int] | None = None
) -> dict[str, int]:
    """Return the checksum of each array, those of large ones in as many threads as there are cores.

    Args:
        arrays: by name.
        checksum_of: returns that of one; `checksum` by default.
    """
    one = checksum_of or checksum
    large = [name for name, array in arrays.items() if array.nbytes > _SMALL]
    if len(large) < 2:
        return {name: one(array) for name, array in arrays.items()}
    with ThreadPoolExecutor(min(len(large), os.cpu_count() or 1)) as threads:
        futures = {name: threads.submit(one, arrays[name]) for name in large}
        small = {name: one(array) for name, array in arrays.items() if name not in futures}
        return {name: futures[name].result() if name in futures else small[name] for name in arrays}


def checksum(block: np.ndarray, start: Sequence[int] = ()) -> int:
    """Return the sum of the bits of all elements, each times a number made of its index, modulo 2**64.

    Elements of less than 8 bytes are multiplied and added up in words of 8 bytes. One flipped bit, or one
    changed element of 4 bytes or less, changes the sum for certain; other damage does, but for a
    chance of 2**-32 at most.

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
        _weighted(*_words(bits[i : i + rows], [first[0] + i, *first[1:]]))
        for i in range(0, len(bits), rows)
    )
    return sum(parts) % _WIDTH


def _words(bits: np.ndarray, start: list[int]) -> tuple[np.ndarray, list[int]]:
    """Return small elements as words, as many as stand in one of the whole, and the index of the first."""
    count = _WORD // bits.dtype.itemsize
    before = start[-1] % count
    after = -(before + bits.shape[-1]) % count
    if before or after:
        bits = np.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(before, after)])
    words = bits.astype(f"<u{bits.dtype.itemsize}", copy=False).view("<u8")
    # The upper half counts in the lower bits too, of which a product with a weight loses none.
    return words + (words >> np.uint64(32)), [*start[:-1], start[-1] // count]


def _weighted(words: np.ndarray, start: Sequence[int]) -> int:
    shape = list(words.shape)
    axes = [_weights(axis, start[axis], size) for axis, size in enumerate(shape)]
    while shape:
        weights = axes.pop()
        shape.pop()
        while axes and len(weights) < _INNER:
            weights = np.multiply.outer(axes.pop(), weights).ravel()
            shape.pop()
        words = np.einsum("ij,j->i", words.reshape(-1, len(weights)), weights).reshape(shape)
    return int(words)


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
