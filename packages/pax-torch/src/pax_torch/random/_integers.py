"""Integers drawn from a range."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pax_torch._compat import bitcast
from pax_torch._tracing import values_are_hidden
from pax_torch.random._floats import check_broadcasts
from pax_torch.random._keys import check_key, check_shape, split
from pax_torch.random._threefry import random_bits

_LAST = 2**32 - 1
_SIGN = -(2**63)
INTEGER_TYPES = (
    *(torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
)

_UNSIGNED = INTEGER_TYPES[4:]


def randint(
    key: Tensor,
    shape: int | Sequence[int],
    minval: int | Tensor,
    maxval: int | Tensor,
    dtype: torch.dtype = torch.int32,
) -> Tensor:
    """Draw integers from a range, all (nearly) equally likely.

    Args:
        key: of shape (2,).
        shape: of the result.
        minval: the least integer, of at most 63 bits and a sign; broadcast against `shape`.
        maxval: above all integers; broadcast against `shape`. Where it is not above `minval`,
            `minval` is drawn.
        dtype: of the result, an integer type. As in JAX, 64-bit integers are drawn from twice as
            many random bits, and so differ from the others.

    Returns:
        A tensor on the device of the key, of integers from `minval` up to but not including `maxval`.

    Raises:
        TypeError: `key` is no key, a bound no integer, or `dtype` no integer type.
        ValueError: the bounds do not broadcast to `shape`, or one has more bits.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.randint(pax_torch.random.key(0), (3,), 0, 10)
        tensor([9, 0, 2], dtype=torch.int32)

    The API and the integers are those of `jax.random.randint`.
    """
    check_key(key, "randint")
    sizes = check_shape(shape, "randint")
    if dtype not in INTEGER_TYPES:
        raise TypeError(f"randint draws {', '.join(map(str, INTEGER_TYPES))}, got {dtype}.")
    own = torch.iinfo(dtype)
    info = own if own.bits >= 32 else torch.iinfo(torch.int32)
    last = min(info.max, 2**63 - 1)
    low, high = _bound(key, minval, sizes, "minval"), _bound(key, maxval, sizes, "maxval")
    if own.bits < 32:
        low, high = low.clamp(own.min, own.max), high.clamp(own.min, own.max + 1)
    is_open = high > last
    low, high = low.clamp(info.min, last), high.clamp(info.min, last)
    span = torch.where(high > low, high - low + is_open.to(torch.int64), 1)
    first, second = (random_bits(part, info.bits, sizes) for part in split(key).unbind())
    offset = (_offset_64 if info.bits == 64 else _offset_32)(first, second, span)
    return (low + offset).to(dtype)


def bits(key: Tensor, shape: int | Sequence[int] = (), dtype: torch.dtype = torch.uint32) -> Tensor:
    """Draw random bits, as unsigned integers.

    Args:
        key: of shape (2,).
        shape: of the result.
        dtype: of the result, an unsigned integer type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no unsigned integer type.

    Example:
        >>> import torch, pax_torch
        >>> pax_torch.random.bits(pax_torch.random.key(0), (2,), torch.uint8)
        tensor([167, 146], dtype=torch.uint8)

    The API and the bits are those of `jax.random.bits`.
    """
    check_key(key, "bits")
    if dtype not in _UNSIGNED:
        raise TypeError(f"bits draws {', '.join(map(str, _UNSIGNED))}, got {dtype}.")
    drawn = random_bits(key, torch.iinfo(dtype).bits, check_shape(shape, "bits"))
    return bitcast(drawn, dtype) if dtype is torch.uint64 else drawn.to(dtype)


def _bound(key: Tensor, bound: int | Tensor, sizes: tuple[int, ...], name: str) -> Tensor:
    if isinstance(bound, int) and not -(2**63) <= bound < 2**63:
        raise ValueError(_TOO_LARGE.format(name=name, bound=bound))
    tensor = torch.as_tensor(bound, device=key.device)
    if tensor.is_floating_point() or tensor.is_complex():
        raise TypeError(f"randint expected integers as bounds, got {bound!r} as {name}.")
    check_broadcasts(tensor, sizes, "randint")
    wide = tensor.to(torch.int64)
    if tensor.dtype is torch.uint64 and not values_are_hidden() and (wide < 0).any():
        raise ValueError(_TOO_LARGE.format(name=name, bound=bound))
    return wide


_TOO_LARGE = (
    "randint takes bounds of at most 63 bits and a sign, from -2**63 to 2**63 - 1, got {bound} as "
    "{name}; draw random bits for a wider range, or the two halves one by one."
)


def _offset_32(high: Tensor, low: Tensor, span: Tensor) -> Tensor:
    """Return a number of 64 bits modulo the span, in steps computed modulo 2**32 as JAX does."""
    root = 2**16 % span
    multiplier = (root * root & _LAST) % span
    return ((high % span * multiplier & _LAST) + low % span & _LAST) % span


def _offset_64(high: Tensor, low: Tensor, span: Tensor) -> Tensor:
    """Return the same for unsigned numbers of twice the width, held in `int64` by their bits."""
    root = _remainder(torch.full_like(span, 2**32), span)
    multiplier = _remainder(root * root, span)
    return _remainder(_remainder(high, span) * multiplier + _remainder(low, span), span)


def _remainder(x: Tensor, span: Tensor) -> Tensor:
    """Return `x % span` of unsigned 64-bit numbers; a span with the highest bit set goes in but once."""
    small = torch.where(span > 0, span, 1)
    half = (x >> 1 & 0x7FFFFFFFFFFFFFFF) % small
    doubled = torch.where(half >= small - half, half - (small - half), half + half)
    odd = x & 1
    by_small = torch.where(doubled >= small - odd, doubled - (small - odd), doubled + odd)
    is_above = (x ^ _SIGN) >= (span ^ _SIGN)
    by_large = torch.where(is_above, x - span, x)
    return torch.where(span > 0, by_small, by_large)
