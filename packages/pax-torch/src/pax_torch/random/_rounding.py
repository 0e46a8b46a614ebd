"""Floating-point arithmetic rounded as XLA rounds it, eagerly and in compiled programs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pax_torch._compat import bitcast

# For each type an integer of its size.
INTEGERS = {
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}

SQRT2 = {dtype: torch.tensor(math.sqrt(2), dtype=dtype, device="cpu").item() for dtype in INTEGERS}


def rounded(x: Tensor) -> Tensor:
    """Return numbers as their type holds them.

    Eagerly they are so already. A compiler computes half-precision numbers in single precision and
    drops the rounding between two operations, but cannot where integers are made of the bits.
    """
    if x.element_size() > 2:
        return x
    exact = x.detach()
    stored = bitcast(bitcast(exact, torch.int16) & -1, x.dtype)
    # The difference is exact, and its derivative is 0; between infinities it would be NaN.
    return torch.where(stored == exact, x, x + (stored - exact))


def next_above(x: Tensor) -> Tensor:
    """Return the next larger number, as `torch.nextafter`, which compilers take in single precision."""
    bits = bitcast(x, INTEGERS[x.dtype])
    step = torch.where(x < 0, -1, 1) * (x < math.inf)
    return bitcast(torch.where(x == 0, 1, bits + step).to(bits.dtype), x.dtype)


def next_below(x: Tensor) -> Tensor:
    """Return the next smaller number."""
    return -next_above(-x)


def multiply_add(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """`x * y + z` rounded once, as XLA computes it in single and double precision."""
    if x.dtype is torch.float32:
        return (x.double() * y.double() + z.double()).float()
    if x.dtype is not torch.float64:
        return rounded(rounded(x * y) + z)
    product, lost = _exact_product(x, y)
    total = product + z
    part = total - product
    corrected = total + ((product - (total - part)) + (z - part) + lost)
    return torch.where(total.isfinite(), corrected, total)


def _exact_product(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the product and what rounding took from it, after Dekker (1971), for `x` of moderate size."""
    product = x * y
    # Halves of the largest numbers would overflow.
    scale = torch.where(y.abs() > 2.0**900, 2.0**-64, 1.0)
    (x1, x2), (y1, y2) = _halves(x), _halves(y * scale)
    return product, (((x1 * y1 - product * scale) + x1 * y2 + x2 * y1) + x2 * y2) / scale


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    scaled = x * (2**27 + 1)
    high = scaled - (scaled - x)
    return high, x - high
