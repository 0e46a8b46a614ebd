"""Numbers, vectors and matrices that are functions of normal ones."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch.random._floats import (
    Real,
    check_broadcasts,
    check_one_of,
    float_type,
    normal,
    parameters,
    uniform,
)
from pax_torch.random._keys import check_key, check_shape, split
from pax_torch.random._rounding import rounded
from pax_torch.random._transformed import rademacher

Shape = int | Sequence[int]


def lognormal(
    key: Tensor, sigma: Real = 1.0, shape: Shape | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Draw numbers whose logarithms are normal with mean 0.

    Args:
        key: of shape (2,).
        sigma: the standard deviation of the logarithms; broadcast against `shape`.
        shape: of the result; by default that of `sigma`.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: `sigma` does not broadcast to `shape`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.lognormal(pax_torch.random.key(0), 1.0, (2,))
        tensor([5.0665, 7.5781])

    The API is that of `jax.random.lognormal`; so are the numbers, to rounding.
    """
    sizes, dtype, (sigma,) = parameters(key, shape, dtype, "lognormal", sigma)
    return torch.exp(rounded(normal(key, sizes, dtype) * sigma))


def maxwell(key: Tensor, shape: Shape = (), dtype: torch.dtype | None = None) -> Tensor:
    """Draw numbers from the Maxwell distribution, the lengths of normal vectors of three numbers.

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
        >>> pax_torch.random.maxwell(pax_torch.random.key(0), (2,))
        tensor([2.6311, 0.9910])

    The API is that of `jax.random.maxwell`; so are the numbers, to rounding.
    """
    check_key(key, "maxwell")
    dtype, sizes = float_type(dtype, "maxwell"), check_shape(shape, "maxwell")
    return torch.linalg.vector_norm(normal(key, (*sizes, 3), dtype), dim=-1)


def double_sided_maxwell(
    key: Tensor,
    loc: Real,
    scale: Real,
    shape: Shape | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Draw numbers from the Maxwell distribution with a random sign.

    Args:
        key: of shape (2,).
        loc: what is added to the numbers; broadcast against `shape`.
        scale: of the numbers; broadcast against `shape`.
        shape: of the result; by default that of `loc` and `scale` together.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: a parameter does not broadcast to `shape`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.double_sided_maxwell(pax_torch.random.key(0), 0.0, 1.0, (2,))
        tensor([1.5457, 1.5741])

    The numbers are those of `jax.random.double_sided_maxwell`, to rounding. That repeats the shape of
    the parameters after `shape`; here they broadcast against it, as in all other functions.
    """
    sizes, dtype, (loc, scale) = parameters(key, shape, dtype, "double_sided_maxwell", loc, scale)
    first, second = split(key).unbind()
    signed = rademacher(second, sizes, dtype) * maxwell(first, sizes, dtype)
    return rounded(signed * scale) + loc


def wald(
    key: Tensor, mean: Real, shape: Shape | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Draw numbers from the Wald distribution, the inverse Gaussian one, with scale 1.

    Args:
        key: of shape (2,).
        mean: of the numbers, above 0; broadcast against `shape`.
        shape: of the result; by default that of `mean`.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: `mean` does not broadcast to `shape`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.wald(pax_torch.random.key(0), 1.0, (2,))
        tensor([0.3806, 0.4157])

    The API is that of `jax.random.wald`; so are the numbers, to rounding.
    """
    sizes, dtype, (mean,) = parameters(key, shape, dtype, "wald", mean)
    first, second = split(key).unbind()
    v, z = normal(first, sizes, dtype), uniform(second, sizes, dtype)
    y, mean_sq = rounded(v * v), rounded(mean * mean)
    root = rounded(torch.sqrt(rounded(4 * mean * y) + rounded(mean_sq * rounded(y * y))))
    x = rounded(mean + rounded(rounded(mean_sq * y) / 2)) - rounded(mean / 2 * root)
    return torch.where(z <= rounded(mean / rounded(mean + x)), x, mean_sq / x)


def multivariate_normal(
    key: Tensor,
    mean: Any,
    cov: Any,
    shape: Shape | None = None,
    dtype: torch.dtype | None = None,
    method: str = "cholesky",
) -> Tensor:
    """Draw vectors from a normal distribution.

    Args:
        key: of shape (2,).
        mean: of shape (..., n).
        cov: the covariances, of shape (..., n, n).
        shape: of the result without the axis of the vectors; the axes of `mean` and `cov` in front
            broadcast against it, and give it by default.
        dtype: of the result, a floating-point type; by default that of `mean` and `cov`.
        method: how the covariances are factorised: "cholesky", which gives NaN where they are not
            positive definite, "eigh" or "svd". The signs of eigenvectors, and with them the numbers
            of these two, are those of the library that computes them.

    Returns:
        A tensor of shape (*shape, n) on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: `mean` or `cov` has not the right shape, or there is no such method.

    Example:
        >>> import torch, pax_torch
        >>> key, mean = pax_torch.random.key(0), torch.zeros(2)
        >>> pax_torch.random.multivariate_normal(key, mean, torch.eye(2))
        tensor([1.6226, 2.0253])

    The API is that of `jax.random.multivariate_normal`; so are the numbers, to rounding.
    """
    check_key(key, "multivariate_normal")
    check_one_of(method, ("cholesky", "eigh", "svd"), "multivariate_normal: method")
    mean, cov = _promoted(key, mean, cov, dtype)
    if mean.dim() < 1 or cov.dim() < 2 or cov.shape[-2:] != (mean.shape[-1],) * 2:
        raise ValueError(
            "multivariate_normal takes a mean of shape (..., n) and a cov of shape (..., n, n), got "
            f"{tuple(mean.shape)} and {tuple(cov.shape)}."
        )
    if shape is None:
        shape = torch.broadcast_shapes(mean.shape[:-1], cov.shape[:-2])
    sizes = check_shape(shape, "multivariate_normal")
    for batch in (mean[..., 0], cov[..., 0, 0]):
        check_broadcasts(batch, sizes, "multivariate_normal")
    numbers = normal(key, (*sizes, mean.shape[-1]), mean.dtype)
    return mean + (_factor(cov, method) @ numbers.unsqueeze(-1)).squeeze(-1)


def _promoted(key: Tensor, mean: Any, cov: Any, dtype: torch.dtype | None) -> tuple[Tensor, Tensor]:
    mean, cov = (torch.as_tensor(x, device=key.device) for x in (mean, cov))
    if dtype is None:
        dtype = torch.promote_types(mean.dtype, cov.dtype)
        dtype = dtype if dtype.is_floating_point else None
    dtype = float_type(dtype, "multivariate_normal")
    return mean.to(dtype), cov.to(dtype)


def _factor(cov: Tensor, method: str) -> Tensor:
    """Return a matrix whose product with its transpose is `cov`."""
    if method == "eigh":
        values, vectors = torch.linalg.eigh(cov)
        return vectors * values.unsqueeze(-2).sqrt()
    if method == "svd":
        left, values, _ = torch.linalg.svd(cov)
        return left * values.unsqueeze(-2).sqrt()
    factor, failed = torch.linalg.cholesky_ex((cov + cov.mT) / 2)
    return torch.where((failed == 0)[..., None, None], factor, torch.nan)


def orthogonal(
    key: Tensor, n: int, shape: Shape = (), dtype: torch.dtype | None = None, m: int | None = None
) -> Tensor:
    """Draw orthogonal matrices, all equally likely.

    Args:
        key: of shape (2,).
        n: how many rows.
        shape: of the result without the two axes of the matrices.
        dtype: of the result, a floating-point or complex type; by default PyTorch's default type.
        m: how many columns; by default `n`. Where there are more columns than rows, the rows are
            orthonormal, otherwise the columns.

    Returns:
        A tensor of shape (*shape, n, m) on the device of the key.

    Raises:
        TypeError: `key` is no key, `n` or `m` no integer, or `dtype` no type of these.
        ValueError: `n` or `m` is negative.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.orthogonal(pax_torch.random.key(0), 2)
        tensor([[ 0.9661,  0.2582],
                [-0.2582,  0.9661]])

    The API is that of `jax.random.orthogonal`; so are the numbers, to rounding.
    """
    check_key(key, "orthogonal")
    sizes = check_shape(shape, "orthogonal")
    rows, columns = _count(n, "n"), _count(n if m is None else m, "m")
    drawn = normal(key, (*sizes, max(rows, columns), min(rows, columns)), dtype)
    q, r = torch.linalg.qr(drawn)
    found = q * torch.sgn(r.diagonal(dim1=-2, dim2=-1)).unsqueeze(-2)
    return found.mT if rows < columns else found


def _count(number: Any, name: str) -> int:
    try:
        count = operator.index(number)
    except TypeError:
        raise TypeError(f"orthogonal: {name} must be an integer, got {number!r}.") from None
    if count < 0:
        raise ValueError(f"orthogonal: {name} must not be negative, got {count}.")
    return count
