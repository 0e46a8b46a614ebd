"""Floating-point numbers drawn from a range or a distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._compat import bitcast
from pax_torch.random._keys import check_key, check_shape, split
from pax_torch.random._rounding import (
    INTEGERS,
    SQRT2,
    multiply_add,
    next_above,
    next_below,
    rounded,
)
from pax_torch.random._threefry import random_bits

Real = float | Tensor

# For each type: random bits used, bits of the mantissa, the bits of 1.0.
_LAYOUT = {
    torch.bfloat16: (8, 7, 0x3F80),
    torch.float16: (16, 10, 0x3C00),
    torch.float32: (32, 23, 0x3F800000),
    torch.float64: (64, 52, 0x3FF0000000000000),
}

_PARTS = {torch.complex64: torch.float32, torch.complex128: torch.float64}


def uniform(
    key: Tensor,
    shape: int | Sequence[int] = (),
    dtype: torch.dtype | None = None,
    minval: Real = 0.0,
    maxval: Real = 1.0,
) -> Tensor:
    """Draw numbers from a range, all equally likely.

    Args:
        key: of shape (2,).
        shape: of the result.
        dtype: of the result, a floating-point type; by default PyTorch's default type.
        minval: the least number; broadcast against `shape`.
        maxval: above all numbers; broadcast against `shape`.

    Returns:
        A tensor on the device of the key, of numbers from `minval` up to but not including `maxval`.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: the bounds do not broadcast to `shape`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.uniform(pax_torch.random.key(0), (2,))
        tensor([0.9477, 0.9786])

    The API and the bits are those of `jax.random.uniform`.
    """
    check_key(key, "uniform")
    sizes = check_shape(shape, "uniform")
    dtype = float_type(dtype, "uniform")
    low, high = as_parameters(key, sizes, dtype, (minval, maxval), "uniform")
    return torch.maximum(low, multiply_add(unit(key, sizes, dtype), rounded(high - low), low))


def unit(keys: Tensor, sizes: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return numbers from 0 to 1 of each of an array of keys, whose axes stand in front of `sizes`."""
    width, mantissa, one = _LAYOUT[dtype]
    bits = random_bits(keys, width, sizes) >> (width - mantissa) & ((1 << mantissa) - 1) | one
    return bitcast(bits.to(INTEGERS[dtype]), dtype) - 1


def normal(
    key: Tensor, shape: int | Sequence[int] = (), dtype: torch.dtype | None = None
) -> Tensor:
    """Draw numbers from the normal distribution with mean 0 and variance 1.

    Args:
        key: of shape (2,).
        shape: of the result.
        dtype: of the result, a floating-point or complex type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point or complex type.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.normal(pax_torch.random.key(0), (2,))
        tensor([1.6226, 2.0253])

    The API is that of `jax.random.normal`; so are the numbers, to the rounding of the inverse error
    function.
    """
    check_key(key, "normal")
    sizes = check_shape(shape, "normal")
    if dtype in _PARTS:
        parts = [normal(part, sizes, _PARTS[dtype]) for part in split(key).unbind()]
        return torch.complex(*parts) / math.sqrt(2)
    dtype = float_type(dtype, "normal")
    return standard_normal(key, sizes, dtype)


def standard_normal(keys: Tensor, sizes: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return normal numbers of each of an array of keys, whose axes stand in front of `sizes`."""
    low = torch.tensor(torch.finfo(dtype).eps / 2 - 1, dtype=dtype, device=keys.device)
    number = multiply_add(unit(keys, sizes, dtype), rounded(1 - low), low)
    return _from_normal_cdf(torch.maximum(low, number))


def truncated_normal(
    key: Tensor,
    lower: Real,
    upper: Real,
    shape: int | Sequence[int] | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Draw numbers from the standard normal distribution between two bounds.

    Args:
        key: of shape (2,).
        lower: below all numbers.
        upper: above all numbers; broadcast against `lower`.
        shape: of the result; by default that of `lower` and `upper` together.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: the bounds do not broadcast to `shape`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.truncated_normal(pax_torch.random.key(0), -1.0, 1.0, (2,))
        tensor([0.8619, 0.9413])

    The API is that of `jax.random.truncated_normal`; so are the numbers, to the rounding of the
    error function and its inverse.
    """
    check_key(key, "truncated_normal")
    dtype = float_type(dtype, "truncated_normal")
    if shape is None:
        shape = torch.broadcast_shapes(*(getattr(x, "shape", ()) for x in (lower, upper)))
    sizes = check_shape(shape, "truncated_normal")
    low, high = as_parameters(key, sizes, dtype, (lower, upper), "truncated_normal")
    cdf = [rounded(torch.erf(rounded(bound / SQRT2[dtype]))) for bound in (low, high)]
    numbers = _from_normal_cdf(uniform(key, sizes, dtype, *cdf))
    least, largest = next_above(low.detach()), next_below(high.detach())
    return torch.minimum(torch.maximum(numbers, least), largest)


def bernoulli(
    key: Tensor, p: Real = 0.5, shape: int | Sequence[int] | None = None, mode: str = "low"
) -> Tensor:
    """Draw True with a probability.

    Args:
        key: of shape (2,).
        p: the probability, from 0 to 1; a tensor broadcasts against `shape`, and its type is the
            precision of the draw.
        shape: of the result; by default that of `p`.
        mode: "high" draws from twice as many bits, for small probabilities.

    Returns:
        A tensor of type `bool` on the device of the key.

    Raises:
        TypeError: `key` is no key, or `p` is no floating-point number or tensor.
        ValueError: `p` does not broadcast to `shape`, or there is no such mode.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.bernoulli(pax_torch.random.key(0), 0.95, (2,))
        tensor([ True, False])

    The API and the bits are those of `jax.random.bernoulli`.
    """
    check_key(key, "bernoulli")
    check_one_of(mode, ("low", "high"), "bernoulli: mode")
    dtype = float_type(p.dtype if isinstance(p, Tensor) else None, "bernoulli")
    sizes = check_shape(getattr(p, "shape", ()) if shape is None else shape, "bernoulli")
    (probability,) = as_parameters(key, sizes, dtype, (p,), "bernoulli")
    if mode == "low":
        return uniform(key, sizes, dtype) < probability
    first, second = uniform(key, (2, *sizes), dtype).unbind()
    return rounded(second * 2.0 ** -_LAYOUT[dtype][1]) < rounded(probability - first)


def _from_normal_cdf(x: Tensor) -> Tensor:
    return rounded(rounded(torch.erfinv(x)) * SQRT2[x.dtype])


def float_type(dtype: torch.dtype | None, name: str) -> torch.dtype:
    dtype = torch.get_default_dtype() if dtype is None else dtype
    if dtype not in _LAYOUT:
        raise TypeError(
            f"{name} draws numbers of type {', '.join(map(str, _LAYOUT))}, got {dtype}."
        )
    return dtype


def as_parameters(
    key: Tensor, sizes: tuple[int, ...], dtype: torch.dtype, values: Sequence[Any], name: str
) -> list[Tensor]:
    """Return numbers and tensors as tensors of a type, after a check that they broadcast to a shape."""
    tensors = [rounded(torch.as_tensor(x, dtype=dtype, device=key.device)) for x in values]
    for tensor in tensors:
        check_broadcasts(tensor, sizes, name)
    return tensors


def parameters(
    key: Tensor,
    shape: int | Sequence[int] | None,
    dtype: torch.dtype | None,
    name: str,
    *values: Any,
) -> tuple[tuple[int, ...], torch.dtype, list[Tensor]]:
    """Return the shape and the dtype of a draw, and the parameters of its distribution as tensors.

    Args:
        key: a key.
        shape: of the result; by default that of the parameters together.
        dtype: a floating-point type; by default PyTorch's default type.
        name: the function's.
        *values: numbers and tensors.
    """
    check_key(key, name)
    dtype = float_type(dtype, name)
    if shape is None:
        shape = torch.broadcast_shapes(*(getattr(x, "shape", ()) for x in values))
    sizes = check_shape(shape, name)
    return sizes, dtype, as_parameters(key, sizes, dtype, values, name)


def check_one_of(value: object, allowed: tuple[str, ...], name: str) -> None:
    """Raise ValueError unless a value is one of some words."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}.")


def check_broadcasts(tensor: Tensor, sizes: tuple[int, ...], name: str) -> None:
    """Raise ValueError unless a tensor broadcasts to a shape."""
    shape = tuple(tensor.shape)
    trailing = sizes[len(sizes) - len(shape) :]
    if len(shape) > len(sizes) or any(
        a not in (1, b) for a, b in zip(shape, trailing, strict=True)
    ):
        raise ValueError(f"{name}: an argument of shape {shape} does not broadcast to {sizes}.")
