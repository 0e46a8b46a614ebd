"""Numbers of events: the Poisson, the binomial and the multinomial distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pax_torch._compat import bitcast
from pax_torch.lax import scan, while_loop
from pax_torch.random._floats import Real, as_parameters, float_type, parameters, unit
from pax_torch.random._keys import check_key, check_shape, split
from pax_torch.random._threefry import split_keys
from pax_torch.random._transformed import check_integer_type, to_integers

Shape = int | Sequence[int]


def poisson(
    key: Tensor, lam: Real, shape: Shape | None = None, dtype: torch.dtype = torch.int32
) -> Tensor:
    """Draw numbers from the Poisson distribution.

    Args:
        key: of shape (2,).
        lam: the mean; broadcast against `shape`. It counts in single precision.
        shape: of the result; by default that of `lam`.
        dtype: of the result, an integer type. What is above its largest number comes as that.

    Returns:
        A tensor on the device of the key; -1 where `lam` is NaN.

    Raises:
        TypeError: `key` is no key, or `dtype` no integer type.
        ValueError: `lam` does not broadcast to `shape`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.poisson(pax_torch.random.key(0), 3.0, (4,))
        tensor([0, 0, 4, 4], dtype=torch.int32)

    The API is that of `jax.random.poisson`; so are the numbers, unless one is accepted by no more than
    the rounding of a logarithm.
    """
    check_integer_type(dtype, "poisson")
    sizes, _, (lam,) = parameters(key, shape, torch.float32, "poisson", lam)
    lam = lam.detach().broadcast_to(sizes)
    is_small = lam.isnan() | (lam < 10)
    small = _poisson_of_small(key, torch.where(is_small, lam, 0))
    large = _poisson_of_large(key, torch.where(is_small, 1e5, lam))
    drawn = torch.where(is_small, small, large)
    return to_integers(torch.where(lam == 0, 0, drawn), dtype)


def _poisson_of_small(key: Tensor, lam: Tensor) -> Tensor:
    """Count uniform numbers until their product is less than a limit, after Knuth."""

    def goes_on(carry: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        lam, _, _, log = carry
        return (log > -lam).any()

    def step(carry: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, ...]:
        lam, count, keys, log = carry
        keys, own = split_keys(keys, 2)
        count = torch.where(log > -lam, count + 1, count)
        return lam, count, keys, log + unit(own, tuple(lam.shape), torch.float32).log()

    zeros = torch.zeros_like(lam)
    return while_loop(goes_on, step, (lam, zeros, bitcast(key, torch.int32), zeros))[1] - 1


class _Accepted(NamedTuple):
    """What a loop has drawn so far, and where that is accepted."""

    key: Tensor
    drawn: Tensor
    is_accepted: Tensor


def _start(key: Tensor, like: Tensor) -> _Accepted:
    none = torch.zeros_like(like, dtype=torch.bool)
    return _Accepted(bitcast(key, torch.int32), torch.full_like(like, -1), none)


def _is_missing(carry: tuple[Any, _Accepted]) -> Tensor:
    return (~carry[1].is_accepted).any()


def _poisson_of_large(key: Tensor, lam: Tensor) -> Tensor:
    """Draw by transformed rejection, after Hörmann (1993)."""

    def step(carry: tuple[Tensor, _Accepted]) -> tuple[Tensor, _Accepted]:
        lam, state = carry
        b = 0.931 + 2.53 * lam.sqrt()
        a = -0.059 + 0.02483 * b
        key, first, second = split_keys(state.key, 3)
        sizes = tuple(lam.shape)
        u, v = unit(first, sizes, lam.dtype) - 0.5, unit(second, sizes, lam.dtype)
        shifted = 0.5 - u.abs()
        k = ((2 * a / shifted + b) * u + lam + 0.43).floor()
        s = (v * (1.1239 + 1.1328 / (b - 3.4)) / (a / (shifted * shifted) + b)).log()
        is_likely = s <= -lam + k * lam.log() - torch.lgamma(k + 1)
        is_rejected = (k < 0) | ((shifted < 0.013) & (v > shifted))
        is_accepted = ((shifted >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))) | (
            ~is_rejected & is_likely
        )
        return lam, _taken(state, key, k, is_accepted)

    return while_loop(_is_missing, step, (lam, _start(key, lam)))[1].drawn


def _taken(state: _Accepted, key: Tensor, drawn: Tensor, is_accepted: Tensor) -> _Accepted:
    """Return the state after a trial; as in JAX, the last number that is accepted counts."""
    taken = torch.where(is_accepted, drawn, state.drawn)
    return _Accepted(key, taken, state.is_accepted | is_accepted)


def binomial(
    key: Tensor,
    n: Real,
    p: Real,
    shape: Shape | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Draw numbers of successes.

    Args:
        key: of shape (2,).
        n: how many trials there are; broadcast against `shape`.
        p: the probability of a success; broadcast against `shape`. Its type is the precision of the
            draw; half precision is drawn in single precision.
        shape: of the result; by default that of `n` and `p` together.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key; NaN where `p` is NaN or outside of 0 to 1, or `n` is NaN or
        negative.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: a parameter does not broadcast to `shape`.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.binomial(pax_torch.random.key(0), 10, 0.3, (4,))
        tensor([2., 2., 1., 2.])

    The API is that of `jax.random.binomial`; so are the numbers in single and double precision, unless
    one is accepted by no more than the rounding of a logarithm.
    """
    dtype = float_type(dtype, "binomial")
    own = torch.float64 if getattr(p, "dtype", None) is torch.float64 else torch.float32
    sizes, _, (n, p) = parameters(key, shape, own, "binomial", n, p)
    return _binomial(key, n.detach().broadcast_to(sizes), p.detach().broadcast_to(sizes)).to(dtype)


def _binomial(key: Tensor, n: Tensor, p: Tensor) -> Tensor:
    is_rare = p < 0.5
    q = torch.where(is_rare, p, 1 - p)
    no_count, no_chance = n.isnan() | (n < 0), q.isnan() | (q < 0)
    q = torch.where(no_chance, 0.01, q)
    by_inversion = no_count | (n * q <= 10)
    n = n.floor()
    few = _by_inversion(key, torch.where(by_inversion, n, 0), q)
    many = _by_rejection(key, torch.where(by_inversion, 1e4, n), torch.where(by_inversion, 0.5, q))
    drawn = torch.where(by_inversion, few, many)
    drawn = torch.where(n.isinf() & ~no_count, torch.inf, drawn)
    drawn = torch.where(is_rare | n.isinf(), drawn, n - drawn)
    return torch.where(no_count | no_chance, torch.nan, drawn)


def _by_inversion(key: Tensor, n: Tensor, p: Tensor) -> Tensor:
    """Count geometric numbers until their sum is above the number of trials."""

    def goes_on(carry: tuple[Any, Tensor, Tensor, Tensor]) -> Tensor:
        (n, _), _, total, _ = carry
        return (total <= n).any()

    def step(carry: tuple[Any, Tensor, Tensor, Tensor]) -> tuple[Any, ...]:
        (n, log), count, total, keys = carry
        own, keys = split_keys(keys, 2)
        count = torch.where(total <= n, count + 1, count)
        waited = (unit(own, tuple(n.shape), n.dtype).log() / log).ceil()
        return (n, log), count, total + waited, keys

    zeros, keys = torch.zeros_like(n), bitcast(key, torch.int32)
    return while_loop(goes_on, step, ((n, torch.log1p(-p)), zeros, zeros, keys))[1] - 1


def _by_rejection(key: Tensor, n: Tensor, p: Tensor) -> Tensor:
    """Draw by transformed rejection with squeeze, after Hörmann (1993)."""

    def step(carry: tuple[tuple[Tensor, Tensor], _Accepted]) -> tuple[Any, _Accepted]:
        (n, p), state = carry
        deviation = (n * p * (1 - p)).sqrt()
        b = 1.15 + 2.53 * deviation
        a, c = -0.0873 + 0.0248 * b + 0.01 * p, n * p + 0.5
        key, first, second = split_keys(state.key, 3)
        sizes = tuple(n.shape)
        u, v = unit(first, sizes, n.dtype) - 0.5, unit(second, sizes, n.dtype)
        us = 0.5 - u.abs()
        k = ((2 * a / us + b) * u + c).floor()
        is_inner = (us >= 0.07) & (v <= 0.92 - 4.2 / b)
        log = (v * ((2.83 + 5.1 / b) * deviation) / (a / (us * us) + b)).log()
        is_likely = ~((k < 0) | (k > n)) & (log <= _log_density(k, n, p))
        return (n, p), _taken(state, key, k, is_inner | is_likely)

    return while_loop(_is_missing, step, ((n, p), _start(key, n)))[1].drawn


def _log_density(k: Tensor, n: Tensor, p: Tensor) -> Tensor:
    """Return the logarithm of the probability of a number over that of the most likely one."""
    r, m = p / (1 - p), ((n + 1) * p).floor()
    logs = (
        (m + 0.5) * ((m + 1) / (r * (n - m + 1))).log()
        + (n + 1) * ((n - m + 1) / (n - k + 1)).log()
        + (k + 0.5) * (r * (n - k + 1) / (k + 1)).log()
    )
    return logs + _tail(m) + _tail(n - m) - _tail(k) - _tail(n - k)


# What Stirling's formula lacks of the logarithms of the factorials of 0 to 9.
_TAILS = (
    *(0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509),
    *(0.0166446911898211, 0.0138761288230707, 0.0118967099458917, 0.010411265261972),
    *(0.00925546218271273, 0.00833056343336287),
)


def _tail(k: Tensor) -> Tensor:
    square = (k + 1) * (k + 1)
    tail = (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1)
    for i, known in enumerate(_TAILS):
        is_this = k.floor() == i if i else k < 1
        tail = torch.where(is_this & (k <= 9), known, tail)
    return tail


def multinomial(
    key: Tensor,
    n: Real,
    p: Any,
    *,
    shape: Shape | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Draw how often each of some outcomes occurs.

    Args:
        key: of shape (2,).
        n: how many trials there are; broadcast against the result without its last axis.
        p: the probabilities of the outcomes, along the last axis.
        shape: of the result; by default that of `p`.
        dtype: of the result, a floating-point type; by default PyTorch's default type.

    Returns:
        A tensor on the device of the key, whose sums along the last axis are `n`.

    Raises:
        TypeError: `key` is no key, or `dtype` no floating-point type.
        ValueError: `p` has no axis, or a parameter does not broadcast to `shape`.

    Example:
        >>> import torch, pax_torch
        >>> p = torch.tensor([0.2, 0.3, 0.5])
        >>> pax_torch.random.multinomial(pax_torch.random.key(0), 10, p)
        tensor([1., 1., 8.])

    The API is that of `jax.random.multinomial`; so are the numbers, as far as those of `binomial`.
    """
    check_key(key, "multinomial")
    dtype = float_type(dtype, "multinomial")
    own = torch.float64 if getattr(p, "dtype", None) is torch.float64 else torch.float32
    p = torch.as_tensor(p, dtype=own, device=key.device).detach()
    sizes = check_shape(p.shape if shape is None else shape, "multinomial")
    if not sizes or p.dim() == 0:
        raise ValueError("multinomial takes p with an axis of outcomes, got a single number.")
    as_parameters(key, sizes, own, (p,), "multinomial")
    (n,) = as_parameters(key, sizes[:-1], own, (n,), "multinomial")
    p = p.broadcast_to(sizes).movedim(-1, 0)
    left = p.flip(0).cumsum(0).flip(0)
    ratios = (p / torch.where(left == 0, 1, left)).clamp(0, 1)

    def step(n: Tensor, each: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        count = _binomial(each[1], n, each[0])
        return n - count, count

    start = n.detach().broadcast_to(sizes[:-1]).clone()
    counts = scan(step, start, (ratios, split(key, sizes[-1])))[1]
    return counts.movedim(0, -1).to(dtype)
