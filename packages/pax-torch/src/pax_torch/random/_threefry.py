"""The generator Threefry-2x32 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).

Words are unsigned 32-bit numbers, held in tensors of type `int32` by their bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pax_torch._compat import bitcast

_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
_PARITY = 0x1BD11BDA
_LOW = 0xFFFFFFFF


def threefry(key: tuple[Tensor, Tensor], high: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
    """Return two words for each pair of words of a 64-bit counter."""
    keys = (*key, key[0] ^ key[1] ^ _PARITY)
    x, y = high + keys[0], low + keys[1]
    for i in range(5):
        for rotation in _ROTATIONS[i % 2]:
            x += y
            y = _rotated(y, rotation)
            y ^= x
        x += keys[(i + 1) % 3]
        y += keys[(i + 2) % 3] + (i + 1)
    return x, y


def _rotated(x: Tensor, left: int) -> Tensor:
    right = x >> (32 - left)
    right &= (1 << left) - 1
    right |= x << left
    return right


def words(key: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two words of each key, along its last axis."""
    bits = bitcast(key, torch.int32)
    return bits[..., 0], bits[..., 1]


def blocks(key: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return two words for each place of an array of a shape, in row-major order.

    For an array of keys, which may be `int32` by their bits, they have its axes in front.
    """
    size = math.prod(shape)
    places = torch.arange(size, device=key.device)
    first, second = words(key)
    pair = first.unsqueeze(-1), second.unsqueeze(-1)
    x, y = threefry(pair, low_word(places >> 32), low_word(places))
    whole = (*key.shape[:-1], *shape)
    return x.reshape(whole), y.reshape(whole)


def split_keys(keys: Tensor, num: int) -> tuple[Tensor, ...]:
    """Return so many new keys of each of an array of keys, `int32` by their bits."""
    return torch.stack(blocks(keys, (num,)), -1).unbind(-2)


def low_word(x: Tensor) -> Tensor:
    """Return the low 32 bits of each integer, as `int32`."""
    low = x & _LOW
    return torch.where(low > 0x7FFFFFFF, low - 0x100000000, low).to(torch.int32)


def as_unsigned(x: Tensor) -> Tensor:
    """Return words as integers from 0, of type `int64`."""
    return x.to(torch.int64) & _LOW


def random_bits(key: Tensor, width: int, shape: Sequence[int]) -> Tensor:
    """Return random integers of a width of 8, 16, 32 or 64 bits.

    The result is of type `int64`: from 0 to 2**width - 1, but for the width 64, where every value occurs.
    """
    x, y = blocks(key, shape)
    if width == 64:
        return as_unsigned(x) << 32 | as_unsigned(y)
    return as_unsigned(x ^ y) & ((1 << width) - 1)
