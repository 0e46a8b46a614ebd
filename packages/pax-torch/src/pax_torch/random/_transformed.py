"""Numbers that are elementary functions of uniform ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pax_torch.random._floats import (
    Real,
    bernoulli,
    check_one_of,
    float_type,
    parameters,
    uniform,
)
from pax_torch.random._integers import INTEGER_TYPES
from pax_torch.random._keys import check_key, check_shape
from pax_torch.random._rounding import rounded

Shape = int | Sequence[int]


def exponential(key: Tensor, shape: Shape = (), dtype: torch.dtype | None = None) -> Tensor:
    """Draw numbers from the exponential distribution with rate 1.

    Args:
        key: of shape (2,).
        shape: of the result.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.exponential(pax_torch.random.key(0), (2,))
        tensor([2.9501, 3.8434])

    The API is that of `jax.random.exponential`; so are the numbers, to the rounding of the logarithm.
    """
    return _minus_log1p(uniform(key, shape, float_type(dtype, "exponential")))


def gumbel(
    key: Tensor, shape: Shape = (), dtype: torch.dtype | None = None, mode: str = "low"
) -> Tensor:
    """Draw numbers from the standard Gumbel distribution.

    Args:
        key: of shape (2,).
        shape: of the result.
        dtype: of the result, a floating-point type; by default PyTorch's default type.
        mode: "high" draws from twice as many bits, so that larger numbers can occur.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: there is no such mode.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.gumbel(pax_torch.random.key(0), (2,))
        tensor([2.9234, 3.8326])

    The API is that of `jax.random.gumbel`, but for the mode "highest"; so are the numbers, to the
    rounding of the logarithm.
    """
    check_key(key, "gumbel")
    check_one_of(mode, ("low", "high"), "gumbel: mode")
    dtype, sizes = float_type(dtype, "gumbel"), check_shape(shape, "gumbel")
    info = torch.finfo(dtype)
    if mode == "low":
        drawn = -rounded(torch.log(uniform(key, sizes, dtype, info.tiny, 1.0)))
    else:
        high, low = uniform(key, (2, *sizes), dtype).unbind()
        fine = rounded(rounded(high + rounded(low * info.eps)) + info.tiny)
        drawn = _minus_log1p(torch.where(high >= 0.5, high, fine))
    return -rounded(torch.log(drawn))


def laplace(key: Tensor, shape: Shape = (), dtype: torch.dtype | None = None) -> Tensor:
    """Draw numbers from the standard Laplace distribution.

    Args:
        key: of shape (2,).
        shape: of the result.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.laplace(pax_torch.random.key(0), (2,))
        tensor([-2.2570, -3.1503])

    The API is that of `jax.random.laplace`; so are the numbers, to the rounding of the logarithm.
    """
    dtype = float_type(dtype, "laplace")
    u = uniform(key, shape, dtype, torch.finfo(dtype).eps / 2 - 1, 1.0)
    return -torch.sign(u) * _minus_log1p(u.abs())


def logistic(key: Tensor, shape: Shape = (), dtype: torch.dtype | None = None) -> Tensor:
    """Draw numbers from the standard logistic distribution.

    Args:
        key: of shape (2,).
        shape: of the result.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.logistic(pax_torch.random.key(0), (2,))
        tensor([2.8964, 3.8218])

    The API is that of `jax.random.logistic`; so are the numbers, to the rounding of the logarithm.
    """
    dtype = float_type(dtype, "logistic")
    u = uniform(key, shape, dtype, torch.finfo(dtype).tiny, 1.0)
    return rounded(torch.log(u)) + _minus_log1p(u)


def cauchy(key: Tensor, shape: Shape = (), dtype: torch.dtype | None = None) -> Tensor:
    """Draw numbers from the standard Cauchy distribution.

    Args:
        key: of shape (2,).
        shape: of the result.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.cauchy(pax_torch.random.key(0), (2,))
        tensor([ 6.0275, 14.8379])

    The API is that of `jax.random.cauchy`; so are the numbers, to the rounding of the tangent.
    """
    dtype = float_type(dtype, "cauchy")
    u = uniform(key, shape, dtype, torch.finfo(dtype).eps, 1.0)
    return torch.tan(rounded(math.pi * rounded(u - 0.5)))


def pareto(
    key: Tensor, b: Real, shape: Shape | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Draw numbers from the Pareto distribution with the least number 1.

    Args:
        key: of shape (2,).
        b: the exponent, above 0; broadcast against `shape`.
        shape: of the result; by default that of `b`.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: `b` does not broadcast to `shape`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.pareto(pax_torch.random.key(0), 2.0, (2,))
        tensor([4.3713, 6.8326])

    The API is that of `jax.random.pareto`; so are the numbers, to rounding.
    """
    sizes, dtype, (b,) = parameters(key, shape, dtype, "pareto", b)
    return torch.exp(rounded(exponential(key, sizes, dtype) / b))


def rayleigh(
    key: Tensor, scale: Real, shape: Shape | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Draw numbers from the Rayleigh distribution.

    Args:
        key: of shape (2,).
        scale: of the numbers; broadcast against `shape`.
        shape: of the result; by default that of `scale`.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: `scale` does not broadcast to `shape`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.rayleigh(pax_torch.random.key(0), 1.0, (2,))
        tensor([0.3279, 0.2081])

    The API is that of `jax.random.rayleigh`; so are the numbers, to the rounding of the logarithm.
    """
    sizes, dtype, (scale,) = parameters(key, shape, dtype, "rayleigh", scale)
    log = rounded(torch.log(uniform(key, sizes, dtype)))
    return scale * rounded(torch.sqrt(rounded(-2 * log)))


def weibull_min(
    key: Tensor,
    scale: Real,
    concentration: Real,
    shape: Shape | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Draw numbers from the Weibull distribution of minima.

    Args:
        key: of shape (2,).
        scale: of the numbers; broadcast against `shape`.
        concentration: the exponent; broadcast against `shape`.
        shape: of the result; by default that of `scale` and `concentration` together.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: a parameter does not broadcast to `shape`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.weibull_min(pax_torch.random.key(0), 1.0, 2.0, (2,))
        tensor([1.7176, 1.9605])

    The API is that of `jax.random.weibull_min`, which draws one number where no shape is given; so are
    the numbers, to rounding.
    """
    sizes, dtype, (scale, concentration) = parameters(
        key, shape, dtype, "weibull_min", scale, concentration
    )
    drawn = exponential(key, sizes, dtype)
    return rounded(torch.pow(drawn, rounded(1.0 / concentration))) * scale


def triangular(
    key: Tensor,
    left: Real,
    mode: Real,
    right: Real,
    shape: Shape | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Draw numbers from the triangular distribution.

    Args:
        key: of shape (2,).
        left: the least number; broadcast against `shape`.
        mode: the most likely number; broadcast against `shape`.
        right: the largest number; broadcast against `shape`.
        shape: of the result; by default that of the three together.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: a parameter does not broadcast to `shape`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.triangular(pax_torch.random.key(0), 0.0, 1.0, 2.0, (2,))
        tensor([1.6765, 1.7930])

    The API is that of `jax.random.triangular`; so are the numbers, to rounding.
    """
    sizes, dtype, (left, mode, right) = parameters(
        key, shape, dtype, "triangular", left, mode, right
    )
    u, width = uniform(key, sizes, dtype), rounded(right - left)
    below, above = rounded(mode - left), rounded(right - mode)
    rising = left + rounded(torch.sqrt(rounded(rounded(u * width) * below)))
    falling = right - rounded(torch.sqrt(rounded(rounded(rounded(1 - u) * width) * above)))
    return torch.where(u < rounded(below / width), rising, falling)


def rademacher(key: Tensor, shape: Shape = (), dtype: torch.dtype = torch.int32) -> Tensor:
    """Draw -1 or 1, equally likely.

    Args:
        key: of shape (2,).
        shape: of the result.
        dtype: of the result, any type that has -1.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no type that has -1.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.rademacher(pax_torch.random.key(0), (4,))
        tensor([-1, -1,  1,  1], dtype=torch.int32)

    The API and the numbers are those of `jax.random.rademacher`.
    """
    check_key(key, "rademacher")
    if not isinstance(dtype, torch.dtype) or not dtype.is_signed:
        raise TypeError(f"rademacher draws numbers of a type that has -1, got {dtype}.")
    half = torch.tensor(0.5, dtype=torch.float32, device=key.device)
    return torch.where(bernoulli(key, half, check_shape(shape, "rademacher")), 1, -1).to(dtype)


def geometric(
    key: Tensor, p: Real, shape: Shape | None = None, dtype: torch.dtype = torch.int32
) -> Tensor:
    """Draw how many trials there are until the first success.

    Args:
        key: of shape (2,).
        p: the probability of a success; broadcast against `shape`. Its type is the precision of the
            draw.
        shape: of the result; by default that of `p`.
        dtype: of the result, an integer type. What is above its largest number comes as that.

    Returns:
        A tensor on the device of the key, of numbers from 1.

    Raises:
        TypeError: `key` is no key, `p` no floating-point number or tensor, or `dtype` no integer type.
        ValueError: `p` does not broadcast to `shape`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.geometric(pax_torch.random.key(0), 0.01, (2,))
        tensor([6, 3], dtype=torch.int32)

    The API is that of `jax.random.geometric`; so are the numbers, unless one is as near to the next as
    the rounding of the logarithm.
    """
    check_integer_type(dtype, "geometric")
    own = p.dtype if isinstance(p, Tensor) else None
    sizes, own, (p,) = parameters(key, shape, own, "geometric", p)
    u = uniform(key, sizes, own)
    log = rounded(torch.log(torch.where(u == 0, 1, u)))
    return to_integers(torch.floor(rounded(log / -_minus_log1p(p))) + 1, dtype)


def check_integer_type(dtype: object, name: str) -> None:
    """Raise TypeError unless a dtype is one of integers."""
    if dtype not in INTEGER_TYPES:
        raise TypeError(f"{name} draws numbers of an integer type, got {dtype}.")


def to_integers(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return whole numbers as integers; those outside of the type as its ends, NaN as 0."""
    info = torch.iinfo(dtype)
    x = torch.nan_to_num(x, 0.0, math.inf, -math.inf)
    # Ends that the floating-point type does not have are rounded outwards.
    is_above, is_below = x >= float(info.max), x <= float(info.min)
    inside = torch.where(is_above | is_below, 0, x).to(torch.int64)
    last = min(info.max, 2**63 - 1)
    return torch.where(is_above, last, torch.where(is_below, info.min, inside)).to(dtype)


def _minus_log1p(u: Tensor) -> Tensor:
    return -rounded(torch.log1p(-u))
