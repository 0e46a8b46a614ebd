"""Choices among finitely many things."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._compat import bitcast
from pax_torch.random._floats import check_one_of, uniform
from pax_torch.random._integers import randint
from pax_torch.random._keys import check_axis, check_key, check_shape, split
from pax_torch.random._rounding import rounded
from pax_torch.random._threefry import blocks
from pax_torch.random._transformed import gumbel


def permutation(key: Tensor, x: Any, axis: int = 0, independent: bool = False) -> Tensor:
    """Put things into a random order.

    Args:
        key: of shape (2,).
        x: a tensor or an array, or a number n for the integers from 0 to n - 1.
        axis: of `x`, along which things change places.
        independent: whether each vector along the axis has an order of its own.

    Returns:
        A tensor like `x`; for a number, of shape (n,), type `int64` and on the device of the key.

    Raises:
        TypeError: `key` is no key, or `x` no integer and no tensor with an axis.
        ValueError: `x` is negative.
        IndexError: `x` has no such axis.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.permutation(pax_torch.random.key(0), 5)
        tensor([0, 1, 4, 3, 2])

    The API and the order are those of `jax.random.permutation`.
    """
    check_key(key, "permutation")
    if not getattr(x, "shape", ()):
        return _shuffled(key, _arange(key, x), 0)
    x = x if isinstance(x, Tensor) else torch.as_tensor(x, device=key.device)
    axis = check_axis(axis, x.dim(), "permutation")
    if independent or x.dim() == 1:
        return _shuffled(key, x, axis)
    order = _shuffled(key, torch.arange(x.shape[axis], device=key.device), 0)
    return torch.index_select(x, axis, order)


def _arange(key: Tensor, size: Any) -> Tensor:
    (number,) = check_shape((size,), "permutation")
    return torch.arange(number, device=key.device)


def _shuffled(key: Tensor, x: Tensor, axis: int) -> Tensor:
    """Sort by random words, more than once, as these may coincide."""
    rounds = math.ceil(3 * math.log(max(1, x.numel())) / math.log(2**32 - 1))
    for _ in range(rounds):
        key, part = split(key).unbind()
        high, low = blocks(part, x.shape)
        # Signed numbers sort as unsigned ones do when their sign bit is flipped.
        words = (high ^ low) ^ -(2**31)
        order = torch.sort(words, dim=axis, stable=True).indices
        x = torch.take_along_dim(x, order, axis)
    return x


def categorical(
    key: Tensor,
    logits: Tensor,
    axis: int = -1,
    shape: int | Sequence[int] | None = None,
    replace: bool = True,
    mode: str = "low",
) -> Tensor:
    """Draw categories, with probabilities in proportion to the exponentials of the logits.

    Args:
        key: of shape (2,).
        logits: floating-point; logarithms of probabilities, up to a constant.
        axis: of `logits`, along which the categories are.
        shape: of the result; it must end in the shape of `logits` without `axis`, which is the
            default. What stands before is how many draws are made.
        replace: whether a category may be drawn more than once.
        mode: of `gumbel`, "high" for unlikely categories.

    Returns:
        A tensor of type `int64` with numbers of categories.

    Raises:
        TypeError: `key` is no key, or `logits` no floating-point tensor.
        ValueError: `shape` does not end in that of `logits` without `axis`, or more categories are
            to be drawn without replacement than there are, or there is no such mode.

    Example:
        >>> import torch, pax_torch
        >>> logits = torch.tensor([0.1, 0.2, 0.7]).log()
        >>> pax_torch.random.categorical(pax_torch.random.key(0), logits, shape=(6,))
        tensor([1, 2, 2, 1, 2, 2])

    The API is that of `jax.random.categorical`; so are the categories, unless two are as likely up
    to the rounding of a logarithm.
    """
    check_key(key, "categorical")
    if not (isinstance(logits, Tensor) and logits.is_floating_point()):
        raise TypeError(f"categorical expected logits as a floating-point tensor, got {logits!r}.")
    axis = check_axis(axis, logits.dim(), "categorical") - logits.dim()
    batch = tuple(size for i, size in enumerate(logits.shape, -logits.dim()) if i != axis)
    sizes = batch if shape is None else check_shape(shape, "categorical")
    draws = sizes[: len(sizes) - len(batch)]
    if sizes[len(draws) :] != batch:
        raise ValueError(
            f"categorical: shape must end in {batch}, the shape of logits without axis {axis}, "
            f"got {sizes}."
        )
    if replace:
        noise = gumbel(key, (*draws, *logits.shape), logits.dtype, mode)
        return torch.argmax(rounded(noise + logits), axis)
    noisy = rounded(logits + gumbel(key, logits.shape, logits.dtype, mode))
    return _without_replacement(noisy, axis, draws).reshape(sizes)


def _without_replacement(noisy: Tensor, axis: int, draws: Sequence[int]) -> Tensor:
    count = math.prod(draws)
    if count > noisy.shape[axis]:
        raise ValueError(
            f"categorical cannot draw {count} of {noisy.shape[axis]} categories without "
            "replacement."
        )
    return _largest(noisy.movedim(axis, -1), count).movedim(-1, 0)


def _largest(x: Tensor, count: int) -> Tensor:
    """Return the places of the largest numbers along the last axis, in order; of equal ones the first."""
    if x.dtype is torch.float64:
        return torch.sort(x, descending=True, stable=True).indices[..., :count]
    # The bits of floats above zero are in order, and there is room for the places below them.
    bits = bitcast(x.float(), torch.int32).to(torch.int64)
    order = torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    places = torch.arange(x.shape[-1], device=x.device)
    return torch.topk((order << 31) - places, count).indices


def choice(
    key: Tensor,
    a: Any,
    shape: int | Sequence[int] = (),
    replace: bool = True,
    p: Any = None,
    axis: int = 0,
    mode: str = "low",
) -> Tensor:
    """Draw some of many things.

    Args:
        key: of shape (2,).
        a: a tensor or an array, or a number n for the integers from 0 to n - 1.
        shape: of the draws.
        replace: whether a thing may be drawn more than once.
        p: a vector of probabilities, one for each thing; by default all are equally likely.
        axis: of `a`, along which the things are.
        mode: of `gumbel`, which draws with `p` and without replacement; "high" for unlikely things.

    Returns:
        A tensor like `a` with the axes of `shape` in place of the axis; for a number, of shape `shape`,
        type `int64` and on the device of the key.

    Raises:
        TypeError: `key` is no key, `a` no integer and no tensor with an axis, or `p` not of numbers.
        ValueError: there is nothing to draw from, too little to draw without replacement, `p` has
            another length, or there is no such mode.
        IndexError: `a` has no such axis.

    Example:
        >>> import torch, pax_torch
        >>> pax_torch.random.choice(pax_torch.random.key(0), 10, (4,), replace=False)
        tensor([0, 1, 8, 5])

    The API is that of `jax.random.choice`; so are the things, with `p` unless two are as likely up to
    rounding.
    """
    check_key(key, "choice")
    check_one_of(mode, ("low", "high"), "choice: mode")
    sizes = check_shape(shape, "choice")
    is_number = not getattr(a, "shape", ()) and not isinstance(a, list | tuple)
    things = torch.arange(*check_shape(a, "choice"), device=key.device) if is_number else a
    things = things if isinstance(things, Tensor) else torch.as_tensor(things, device=key.device)
    axis = check_axis(axis, things.dim(), "choice")
    count, draws = things.shape[axis], math.prod(sizes)
    if draws == 0:
        places = torch.zeros(0, dtype=torch.int64, device=key.device)
    else:
        _check_draws(draws, count, replace)
        if p is None:
            places = _equally_likely(key, sizes, count, replace)
        else:
            places = _by_probability(key, sizes, _probabilities(key, p, count), replace, mode)
    whole = (*things.shape[:axis], *sizes, *things.shape[axis + 1 :])
    return torch.index_select(things, axis, places.reshape(-1)).reshape(whole)


def _check_draws(draws: int, count: int, replace: bool) -> None:
    if count == 0 or (draws > count and not replace):
        how = "" if replace else " without replacement"
        raise ValueError(f"choice cannot draw {draws} of {count} things{how}.")


def _equally_likely(key: Tensor, sizes: tuple[int, ...], count: int, replace: bool) -> Tensor:
    if replace:
        return randint(key, sizes, 0, count)
    return _shuffled(key, torch.arange(count, device=key.device), 0)[: math.prod(sizes)]


def _by_probability(
    key: Tensor, sizes: tuple[int, ...], p: Tensor, replace: bool, mode: str
) -> Tensor:
    if not replace:
        noisy = rounded(gumbel(key, p.shape, p.dtype, mode) + rounded(torch.log(p)))
        return _largest(noisy, math.prod(sizes))
    total = rounded(torch.cumsum(p, 0))
    place = rounded(total[-1] * rounded(1 - uniform(key, sizes, p.dtype)))
    return torch.searchsorted(total, place)


def _probabilities(key: Tensor, p: Any, count: int) -> Tensor:
    p = torch.as_tensor(p, device=key.device).detach()
    if p.is_complex() or p.dtype is torch.bool:
        raise TypeError(f"choice takes p of numbers, got {p.dtype}.")
    if p.shape != (count,):
        raise ValueError(
            f"choice takes p as one probability for each of {count} things, got shape {tuple(p.shape)}."
        )
    return p if p.is_floating_point() else p.to(torch.get_default_dtype())
