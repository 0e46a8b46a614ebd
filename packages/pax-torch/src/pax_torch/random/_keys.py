"""Keys: how they are made, and how one becomes many."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._compat import bitcast
from pax_torch._errors import describe
from pax_torch._tracing import values_are_hidden
from pax_torch.random._threefry import blocks, low_word, threefry, words

_SEEDS = range(-(2**63), 2**63)
_WORDS = range(2**32)
_OUTSIDE = "{}: {} must be from {} to {}, got {}."


def key(seed: int | Tensor, *, device: Any = None) -> Tensor:
    """Return the key that belongs to a seed.

    Args:
        seed: an integer of 64 bits, or a tensor of integers of shape (). As in JAX with 32-bit
            types, its default, the low 32 bits count.
        device: where the key is, and what is drawn with it; by default that of `seed`, or
            PyTorch's default device.

    Returns:
        A tensor of shape (2,) and dtype `uint32`.

    Raises:
        TypeError: `seed` is no integer.
        ValueError: `seed` does not fit into 64 bits.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.key(42)
        tensor([ 0, 42], dtype=torch.uint32)

    The API is that of `jax.random.key`, and the tensor is what `jax.random.key_data` returns.
    """
    low = low_word(_integer(seed, "key", "seed", _SEEDS, device))
    return bitcast(torch.stack([torch.zeros_like(low), low]), torch.uint32)


def split(key: Tensor, num: int | Sequence[int] = 2) -> Tensor:
    """Return new keys, from which independent numbers are drawn.

    Args:
        key: of shape (2,).
        num: how many, or a shape of keys.

    Returns:
        A tensor of shape (num, 2), or (*num, 2), of dtype `uint32`.

    Raises:
        TypeError: `key` is no key, or `num` no integer or sequence of integers.
        ValueError: `num` is negative.

    Example:
        >>> import torch, pax_torch
        >>> key, subkey = pax_torch.random.split(pax_torch.random.key(0))
        >>> subkey
        tensor([ 928981903, 3453687069], dtype=torch.uint32)

    The API and the keys are those of `jax.random.split`.
    """
    check_key(key, "split")
    shape = check_shape(num, "split")
    return bitcast(torch.stack(blocks(key, shape), -1), torch.uint32)


def fold_in(key: Tensor, data: int | Tensor) -> Tensor:
    """Return a new key from a key and a number, such as that of a step or of a device.

    Args:
        key: of shape (2,).
        data: an integer from 0 to 2**32 - 1, or a tensor of integers of shape ().

    Returns:
        A tensor of shape (2,) and dtype `uint32`.

    Raises:
        TypeError: `key` is no key, or `data` no integer.
        ValueError: `data` is out of range.

    Example:
        >>> import pax_torch
        >>> pax_torch.random.fold_in(pax_torch.random.key(0), 1)
        tensor([ 928981903, 3453687069], dtype=torch.uint32)

    The API and the key are those of `jax.random.fold_in`.
    """
    check_key(key, "fold_in")
    low = low_word(_integer(data, "fold_in", "data", _WORDS, key.device))
    return bitcast(torch.stack(threefry(words(key), torch.zeros_like(low), low)), torch.uint32)


def check_key(key: object, name: str) -> None:
    """Raise TypeError unless `key` is a single key."""
    if isinstance(key, Tensor) and key.dtype is torch.uint32 and key.shape == (2,):
        return
    raise TypeError(
        f"{name} expected one key, a tensor of shape (2,) and dtype torch.uint32 as "
        f"pax_torch.random.key returns it, got {describe(key)}; use vmap for several keys."
    )


def check_axis(axis: Any, dims: int, name: str) -> int:
    """Return an axis as its number from 0."""
    try:
        return range(dims)[axis]
    except IndexError:
        raise IndexError(f"{name}: there is no axis {axis} in an array of {dims} axes.") from None


def check_shape(shape: Any, name: str) -> tuple[int, ...]:
    """Return a shape as a tuple of integers; an integer is the size of a vector."""
    try:
        sizes = tuple(map(operator.index, shape if hasattr(shape, "__iter__") else (shape,)))
    except TypeError:
        raise TypeError(
            f"{name} expected a shape, a sequence of integers, got {describe(shape)}."
        ) from None
    if any(size < 0 for size in sizes):
        raise ValueError(f"{name}: a shape has no negative sizes, got {sizes}.")
    return sizes


def _integer(value: Any, function: str, name: str, allowed: range, device: Any) -> Tensor:
    if isinstance(value, Tensor) and value.shape == () and not _is_real(value):
        wide = value.to(device=device or value.device, dtype=torch.int64)
        at_hand = value.device.type == "cpu" and not values_are_hidden()
        if at_hand and int(value) not in allowed:
            raise ValueError(_OUTSIDE.format(function, name, allowed[0], allowed[-1], int(value)))
        return wide
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{function} expected {name} to be an integer, got {describe(value)}."
        ) from None
    if number not in allowed:
        raise ValueError(_OUTSIDE.format(function, name, allowed[0], allowed[-1], number))
    return torch.tensor(number, device=device)


def _is_real(value: Tensor) -> bool:
    return value.is_floating_point() or value.is_complex()
