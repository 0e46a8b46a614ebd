"""The gamma distribution, after Marsaglia and Tsang (2000), and what is made of its numbers."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pax_torch._autodiff.custom_jvp import custom_jvp
from pax_torch._compat import bitcast, gamma_derivative
from pax_torch.lax import while_loop
from pax_torch.random._floats import Real, normal, parameters, standard_normal, unit
from pax_torch.random._keys import check_shape, split
from pax_torch.random._rounding import multiply_add
from pax_torch.random._threefry import split_keys
from pax_torch.random._transformed import exponential, rademacher

Shape = int | Sequence[int]


def gamma(
    key: Tensor, a: Real, shape: Shape | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Draw numbers from the gamma distribution with scale 1.

    Args:
        key: of shape (2,).
        a: the shape of the distribution, above 0; broadcast against `shape`. The numbers have a
            derivative with respect to it, of first order.
        shape: of the result; by default that of `a`.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key. In half precision, the numbers of single precision rounded.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: `a` does not broadcast to `shape`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.gamma(pax_torch.random.key(0), 2.0, (2,))
        tensor([1.5898, 1.7599])

    The API is that of `jax.random.gamma`; so are the numbers in single and double precision, to
    rounding.
    """
    sizes, dtype, (a,) = parameters(key, shape, dtype, "gamma", a)
    return _drawn(key, a, sizes, False).to(dtype)


def loggamma(
    key: Tensor, a: Real, shape: Shape | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Draw logarithms of numbers from the gamma distribution, which for small `a` would be 0.

    Args:
        key: of shape (2,).
        a: as in `gamma`, as are all other arguments.
        shape: of the result.
        dtype: of the result.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError, ValueError: as in `gamma`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.loggamma(pax_torch.random.key(0), 0.001, (2,))
        tensor([-110.6179,  -95.5481])

    The API is that of `jax.random.loggamma`; so are the numbers in single and double precision, to
    rounding.
    """
    sizes, dtype, (a,) = parameters(key, shape, dtype, "loggamma", a)
    return _drawn(key, a, sizes, True).to(dtype)


def beta(
    key: Tensor, a: Real, b: Real, shape: Shape | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Draw numbers from the beta distribution.

    Args:
        key: of shape (2,).
        a: the first parameter, above 0; broadcast against `shape`.
        b: the second parameter, above 0; broadcast against `shape`.
        shape: of the result; by default that of `a` and `b` together.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: a parameter does not broadcast to `shape`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.beta(pax_torch.random.key(0), 2.0, 3.0, (2,))
        tensor([0.2363, 0.4905])

    The API is that of `jax.random.beta`; so are the numbers in single and double precision, to
    rounding.
    """
    sizes, dtype, (a, b) = parameters(key, shape, dtype, "beta", a, b)
    first, second = split(key).unbind()
    logs = torch.stack([_drawn(first, a, sizes, True), _drawn(second, b, sizes, True)])
    return torch.softmax(logs, 0)[0].to(dtype)


def dirichlet(
    key: Tensor, alpha: Any, shape: Shape | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Draw vectors of probabilities from the Dirichlet distribution.

    Args:
        key: of shape (2,).
        alpha: of shape (..., n), numbers above 0.
        shape: of the result without the axis of the vectors; the axes of `alpha` in front broadcast
            against it, and are the default.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor of shape (*shape, n) on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: `alpha` has no axis, or its axes in front do not broadcast to `shape`.

    Example:
        >>> import torch, pax_torch
        >>> pax_torch.random.dirichlet(pax_torch.random.key(0), torch.ones(3))
        tensor([0.3647, 0.4283, 0.2070])

    The API is that of `jax.random.dirichlet`; so are the numbers in single and double precision, to
    rounding.
    """
    alpha = torch.as_tensor(alpha, device=getattr(key, "device", None))
    if alpha.dim() < 1:
        raise ValueError("dirichlet takes alpha of shape (..., n), got a single number.")
    if shape is not None:
        shape = (*check_shape(shape, "dirichlet"), alpha.shape[-1])
    sizes, dtype, (alpha,) = parameters(key, shape, dtype, "dirichlet", alpha)
    return torch.softmax(_drawn(key, alpha, sizes, True), -1).to(dtype)


def chisquare(
    key: Tensor, df: Real, shape: Shape | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Draw numbers from the chi-square distribution.

    Args:
        key: of shape (2,).
        df: the degrees of freedom, above 0; broadcast against `shape`.
        shape: of the result; by default that of `df`.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: `df` does not broadcast to `shape`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.chisquare(pax_torch.random.key(0), 3.0, (2,))
        tensor([2.2051, 2.4900])

    The API is that of `jax.random.chisquare`; so are the numbers in single and double precision, to
    rounding.
    """
    sizes, dtype, (df,) = parameters(key, shape, dtype, "chisquare", df)
    return _chi_squared(key, df, sizes).to(dtype)


def f(
    key: Tensor,
    dfnum: Real,
    dfden: Real,
    shape: Shape | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Draw numbers from the F distribution.

    Args:
        key: of shape (2,).
        dfnum: the degrees of freedom of the numerator; broadcast against `shape`.
        dfden: those of the denominator; broadcast against `shape`.
        shape: of the result; by default that of the two together.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: a parameter does not broadcast to `shape`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.f(pax_torch.random.key(0), 3.0, 5.0, (2,))
        tensor([2.5797, 0.1922])

    The API is that of `jax.random.f`; so are the numbers in single and double precision, to rounding.
    """
    sizes, dtype, (dfnum, dfden) = parameters(key, shape, dtype, "f", dfnum, dfden)
    second, first = split(key).unbind()
    numerator = _chi_squared(first, dfnum, sizes) / _wide(dfnum)
    return (numerator / (_chi_squared(second, dfden, sizes) / _wide(dfden))).to(dtype)


def t(
    key: Tensor, df: Real, shape: Shape | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Draw numbers from Student's t distribution.

    Args:
        key: of shape (2,).
        df: the degrees of freedom, above 0; broadcast against `shape`.
        shape: of the result; by default that of `df`.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: `df` does not broadcast to `shape`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.t(pax_torch.random.key(0), 3.0, (2,))
        tensor([ 0.6902, -3.2393])

    The API is that of `jax.random.t`; so are the numbers in single and double precision, to rounding.
    """
    sizes, dtype, (df,) = parameters(key, shape, dtype, "t", df)
    first, second = split(key).unbind()
    half = _wide(df) / 2
    numbers = normal(first, sizes, half.dtype)
    return (numbers * torch.sqrt(half / _drawn(second, half, sizes, False))).to(dtype)


def generalized_normal(
    key: Tensor, p: Real, shape: Shape | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Draw numbers with a density in proportion to the exponential of `-abs(x) ** p`.

    Args:
        key: of shape (2,).
        p: the exponent, above 0; broadcast against `shape`.
        shape: of the result; by default that of `p`.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: `p` does not broadcast to `shape`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.generalized_normal(pax_torch.random.key(0), 4.0, (2,))
        tensor([0.8788, 0.1026])

    The API is that of `jax.random.generalized_normal`; so are the numbers in single and double
    precision, to rounding.
    """
    sizes, dtype, (p,) = parameters(key, shape, dtype, "generalized_normal", p)
    first, second = split(key).unbind()
    inverse = 1 / _wide(p)
    size = _drawn(first, inverse, sizes, False) ** inverse
    return (rademacher(second, sizes, size.dtype) * size).to(dtype)


def ball(
    key: Tensor, d: int, p: Real = 2, shape: Shape = (), dtype: torch.dtype | None = None
) -> Tensor:
    """Draw vectors from the unit ball of a norm, all equally likely.

    Args:
        key: of shape (2,).
        d: the length of the vectors.
        p: of the norm, above 0; a number or a tensor of shape ().
        shape: of the result without the axis of the vectors.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor of shape (*shape, d) on the device of the key.

    Raises:
        TypeError: `key` is no key, `d` no integer, or `dtype` no floating-point type.
        ValueError: `d` is negative, or `p` more than one number.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.ball(pax_torch.random.key(0), 2)
        tensor([0.9172, 0.3928])

    The API is that of `jax.random.ball`; so are the numbers in single and double precision, to
    rounding.
    """
    sizes, dtype, (p,) = parameters(key, shape, dtype, "ball", p)
    first, second = split(key).unbind()
    p = _wide(p)
    numbers = generalized_normal(first, p, (*sizes, operator.index(d)), p.dtype)
    norm = (numbers.abs() ** p).sum(-1) + exponential(second, sizes, p.dtype)
    return (numbers / (norm ** (1 / p)).unsqueeze(-1)).to(dtype)


def _wide(x: Tensor) -> Tensor:
    """Return numbers in single precision at least, where a step of a rejection is decided."""
    return x if x.dtype is torch.float64 else x.float()


def _chi_squared(key: Tensor, df: Tensor, sizes: tuple[int, ...]) -> Tensor:
    return torch.exp(_drawn(key, _wide(df) / 2, sizes, True)) * 2


def _drawn(key: Tensor, a: Tensor, sizes: tuple[int, ...], logs: bool) -> Tensor:
    a = _wide(a).broadcast_to(sizes)
    if a.numel() == 0:
        return torch.empty_like(a)
    return (_log_sample if logs else _sample)(key, a)


@custom_jvp
def _sample(key: Tensor, a: Tensor) -> Tensor:
    d, v, is_large, boost_key = _accepted(key, a)
    boost = (1 - unit(boost_key, (), a.dtype)) ** (1 / a)
    return d * v * torch.where(is_large, 1, boost)


@custom_jvp
def _log_sample(key: Tensor, a: Tensor) -> Tensor:
    d, v, is_large, boost_key = _accepted(key, a)
    log = torch.log1p(-unit(boost_key, (), a.dtype))
    return d.log() + v.log() + torch.where(is_large | (log == 0), 0, log * (1 / a))


@_sample.defjvp
def _sample_jvp(primals: Any, tangents: Any) -> tuple[Tensor, Tensor]:
    key, a = primals
    sample = _sample(key, a)
    return sample, tangents[1] * _Derivative.apply(a, sample)


@_log_sample.defjvp
def _log_sample_jvp(primals: Any, tangents: Any) -> tuple[Tensor, Tensor]:
    key, a = primals
    log = _log_sample(key, a)
    sample = log.exp()
    sample = torch.where(sample == 0, torch.finfo(a.dtype).tiny, sample)
    return log, tangents[1] * (_Derivative.apply(a, sample) / sample)


class _Derivative(torch.autograd.Function):
    """The derivative of a number of the gamma distribution by the shape of that."""

    @staticmethod
    def forward(a: Tensor, sample: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return it."""
        return gamma_derivative(a, sample)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep nothing."""

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        """Refuse: it is not known."""
        raise RuntimeError(_NO_SECOND)

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> Any:
        """Refuse: it is not known."""
        raise RuntimeError(_NO_SECOND)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *tensors: Tensor) -> tuple[Tensor, int]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return it for all."""
        pairs = zip(tensors, in_dims, strict=True)
        moved = [x if axis is None else x.movedim(axis, 0) for x, axis in pairs]
        return _Derivative.apply(*torch.broadcast_tensors(*moved)), 0  # pyright: ignore[reportReturnType]


_NO_SECOND = (
    "Numbers of the gamma distribution have a derivative of first order by its parameter, and none of "
    "second order."
)


def _accepted(key: Tensor, a: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the two factors of a number, where it needs no third, and the keys of that.

    Each number has a key of its own. Of each, the loop is that of JAX: a normal number is drawn until
    `v` is above 0, and both of that and a uniform number until they are accepted.
    """
    a = a.detach()
    is_large = a >= 1
    d = torch.where(is_large, a, a + 1) - 1 / 3
    keys = torch.stack(split_keys(bitcast(key, torch.int32), a.numel()), -2)
    trial_keys, boost_keys = split_keys(keys.reshape(*a.shape, 2), 2)
    state = _Trials(
        trial_keys, trial_keys, trial_keys, torch.ones_like(a, dtype=torch.bool), d != d, d
    )
    return d, while_loop(_goes_on, _one_trial, (d, state))[1].v, is_large, boost_keys


class _Trials(NamedTuple):
    """Where the loops of many numbers are.

    Args:
        keys: of the next trials.
        normal_keys: of the next normal numbers.
        uniform_keys: of the uniform numbers.
        is_new: whether a trial begins.
        is_done: whether a number is accepted.
        v: the numbers.
    """

    keys: Tensor
    normal_keys: Tensor
    uniform_keys: Tensor
    is_new: Tensor
    is_done: Tensor
    v: Tensor


def _goes_on(carry: tuple[Tensor, _Trials]) -> Tensor:
    return (~carry[1].is_done).any()


def _one_trial(carry: tuple[Tensor, _Trials]) -> tuple[Tensor, _Trials]:
    """Draw one normal number of each, and decide where `v` is above 0."""
    d, old = carry
    is_new = old.is_new.unsqueeze(-1)
    news = split_keys(old.keys, 3)
    olds = old.keys, old.normal_keys, old.uniform_keys
    keys = [torch.where(is_new, new, kept) for new, kept in zip(news, olds, strict=True)]
    normal_keys, number_keys = split_keys(keys[1], 2)
    x = standard_normal(number_keys, (), d.dtype)
    v = multiply_add(x, 1 / 3 / d.sqrt(), torch.ones_like(x))
    is_complete = ~(v <= 0)
    cube, square, u = v * v * v, x * x, unit(keys[2], (), d.dtype)
    is_rejected = (u >= 1 - 0.0331 * (square * square)) & (
        u.log() >= square * 0.5 + d * (1 - cube + cube.log())
    )
    is_done = old.is_done | (is_complete & ~is_rejected)
    v = torch.where(old.is_done, old.v, cube)
    return d, _Trials(keys[0], normal_keys, keys[2], is_complete, is_done, v)
