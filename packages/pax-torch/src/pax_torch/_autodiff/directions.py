"""Tangents and cotangents: one tensor for each tensor that has a derivative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._args import describe, is_differentiable, to_tensor

Place = Callable[[int], str]


def directions(given: Sequence[Any], points: Sequence[Tensor], place: Place) -> list[Tensor]:
    """Return the given directions of the differentiable ones among `points`, as tensors.

    Args:
        given: for each point a tensor, array or number like it, or None for zeros; None for a
            point of a dtype that has no derivative.
        points: the tensors.
        place: names the i-th direction.

    Raises:
        TypeError: a direction has another dtype than its point, or its point has no derivative.
        ValueError: a direction has another shape than its point.
    """
    found = []
    for i, (direction, point) in enumerate(zip(given, points, strict=True)):
        if is_differentiable(point):
            found.append(_direction(direction, point, lambda i=i: place(i)))
        elif direction is not None:
            raise TypeError(
                f"{place(i)} must be None, since what it belongs to has dtype {point.dtype} and "
                f"no derivative, got {describe(direction)}."
            )
    return found


def _direction(given: Any, point: Tensor, place: Callable[[], str]) -> Tensor:
    if given is None:
        return torch.zeros_like(point, requires_grad=False)
    try:
        tensor = to_tensor(given)
    except TypeError as error:
        raise TypeError(f"{place()}: {str(error).rstrip('.')}.") from None
    if isinstance(given, int | float) or (isinstance(given, complex) and point.is_complex()):
        tensor = tensor.to(point.dtype)
    if tensor.dtype != point.dtype:
        raise TypeError(
            f"{place()} has dtype {tensor.dtype}, but must have dtype {point.dtype}, "
            "that of what it belongs to."
        )
    if tensor.shape != point.shape:
        raise ValueError(
            f"{place()} has shape {tuple(tensor.shape)}, but must have shape "
            f"{tuple(point.shape)}, that of what it belongs to."
        )
    return tensor
