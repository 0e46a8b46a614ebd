"""Choices among finitely many things."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._compat import bitcast
from pax_torch.random._floats import gumbel
from pax_torch.random._keys import check_key, check_shape, split
from pax_torch.random._rounding import rounded
from pax_torch.random._threefry import blocks


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
) -> Tensor:
    """Draw categories, with probabilities in proportion to the exponentials of the logits.

    Args:
        key: of shape (2,).
        logits: floating-point; logarithms of probabilities, up to a constant.
        axis: of `logits`, along which the categories are.
        shape: of the result; it must end in the shape of `logits` without `axis`, which is the
            default. What stands before is how many draws are made.
        replace: whether a category may be drawn more than once.

    Returns:
        A tensor of type `int64` with numbers of categories.

    Raises:
        TypeError: `key` is no key, or `logits` no floating-point tensor.
        ValueError: `shape` does not end in that of `logits` without `axis`, or more categories are
            to be drawn without replacement than there are.

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
    axis = range(logits.dim())[axis] - logits.dim()
    batch = tuple(size for i, size in enumerate(logits.shape, -logits.dim()) if i != axis)
    sizes = batch if shape is None else check_shape(shape, "categorical")
    draws = sizes[: len(sizes) - len(batch)]
    if sizes[len(draws) :] != batch:
        raise ValueError(
            f"categorical: shape must end in {batch}, the shape of logits without axis {axis}, "
            f"got {sizes}."
        )
    if replace:
        noise = gumbel(key, (*draws, *logits.shape), logits.dtype)
        return torch.argmax(rounded(noise + logits), axis)
    return _without_replacement(key, logits, axis, draws).reshape(sizes)


def _without_replacement(key: Tensor, logits: Tensor, axis: int, draws: Sequence[int]) -> Tensor:
    count = math.prod(draws)
    if count > logits.shape[axis]:
        raise ValueError(
            f"categorical cannot draw {count} of {logits.shape[axis]} categories without "
            "replacement."
        )
    noisy = rounded(logits + gumbel(key, logits.shape, logits.dtype))
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
