"""`associative_scan`: all partial results of an associative operation, in logarithmic depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pax_torch._autodiff.flatten_fun import to_tensors
from pax_torch._errors import check_callable, describe, leaf_place
from pax_torch.lax._types import Carry
from pax_tree import tree_flatten, tree_unflatten

Elements = list[Tensor]


def associative_scan(
    fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0
) -> Any:
    """Return all partial results of an associative operation along an axis.

    The operation is applied to many elements at once, about twice the logarithm of their number
    times.

    Args:
        fn: an associative operation. It takes two trees like `elems`, of any length along the axis,
            and returns one like them, element by element.
        elems: a pytree of tensors whose sizes along the axis are the same.
        reverse: begin with the last element.
        axis: the axis.

    Returns:
        A tree like `elems`: at position i the result of elements 0 to i, or i to the last if
        `reverse`.

    Raises:
        TypeError: `fn` returns something of another structure, shape or dtype.
        ValueError: the sizes differ, there is no such axis, or there are no elements at all.

    Example:
        >>> import torch, pax_torch
        >>> pax_torch.lax.associative_scan(torch.mul, torch.tensor([1, 2, 3, 4]))
        tensor([ 1,  2,  6, 24])

    The API is that of `jax.lax.associative_scan`.
    """
    check_callable(fn, "associative_scan")
    leaves, treedef = tree_flatten(elems)
    tensors = to_tensors(leaves, lambda i: f"associative_scan: {leaf_place(elems, i, 'elems')}")
    axes = _axes(elems, tensors, axis)
    fronted = [x.movedim(a, 0) for x, a in zip(tensors, axes, strict=True)]
    fronted = [x.flip(0) for x in fronted] if reverse else fronted

    def combine(first: Elements, second: Elements) -> Elements:
        if not len(first[0]):
            return first
        moved = [
            tree_unflatten(treedef, [x.movedim(0, a) for x, a in zip(part, axes, strict=True)])
            for part in (first, second)
        ]
        carry = Carry(moved[0], "associative_scan", "the first argument of fn", "what fn returns")
        found = carry.take(fn(*moved))
        return [x.movedim(a, 0) for x, a in zip(found, axes, strict=True)]

    found = _scan(combine, fronted)
    found = [x.flip(0) for x in found] if reverse else found
    return tree_unflatten(treedef, [x.movedim(0, a) for x, a in zip(found, axes, strict=True)])


def _axes(elems: Any, tensors: Elements, axis: int) -> list[int]:
    """Return the axis of each tensor, counted from 0."""
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise TypeError(f"associative_scan: axis must be an integer, got {describe(axis)}.")
    if not tensors:
        raise ValueError("associative_scan needs elements, but elems has no leaves.")
    for i, tensor in enumerate(tensors):
        if not -tensor.ndim <= axis < tensor.ndim:
            raise ValueError(
                f"associative_scan: {leaf_place(elems, i, 'elems')} has no axis {axis}; it is "
                f"{describe(tensor)}."
            )
    sizes = [tensor.shape[axis] for tensor in tensors]
    if any(size != sizes[0] for size in sizes):
        found = [f"{leaf_place(elems, i, 'elems')} has {size}" for i, size in enumerate(sizes)]
        raise ValueError(
            f"associative_scan: the sizes along axis {axis} differ: {', '.join(found)}."
        )
    return [axis % tensor.ndim for tensor in tensors]


def _scan(combine: Callable[[Elements, Elements], Elements], elements: Elements) -> Elements:
    """Return the partial results along axis 0, by those of pairs of neighbours."""
    size = len(elements[0])
    if size < 2:
        return elements
    pairs = combine([x[:-1:2] for x in elements], [x[1::2] for x in elements])
    odd = _scan(combine, pairs)
    before = [x[:-1] for x in odd] if size % 2 == 0 else odd
    even = combine(before, [x[2::2] for x in elements])
    even = [torch.cat((x[:1], y)) for x, y in zip(elements, even, strict=True)]
    return [_interleaved(x, y) for x, y in zip(even, odd, strict=True)]


def _interleaved(even: Tensor, odd: Tensor) -> Tensor:
    """Return both in turn; the first may have one element more."""
    paired = torch.stack((even[: len(odd)], odd), 1).flatten(0, 1)
    return paired if len(even) == len(odd) else torch.cat((paired, even[-1:]))
