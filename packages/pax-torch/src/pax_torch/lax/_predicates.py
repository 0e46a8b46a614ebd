"""Values that decide what runs next: read where they can be, also where `vmap` maps over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._autodiff.flatten_fun import is_differentiable, to_tensor
from pax_torch._compat import is_mapped_anywhere, is_without_values, without_wrappers
from pax_torch._errors import describe
from pax_tree import tree_flatten


def holds_for_any(predicate: Tensor) -> bool:
    """Whether a predicate is true, for any one of the examples where a `vmap` maps over it."""
    return bool(without_wrappers(predicate).any())


def is_known(tensor: Tensor) -> bool:
    """Whether the values of a tensor can be read now."""
    if torch.compiler.is_compiling():  # which says itself what it cannot read
        return True
    # A number that the function itself has given has its value in a trace too.
    return not is_without_values() or getattr(tensor, "constant", None) is not None


def has_value(tensor: Tensor) -> bool:
    """Whether a scalar has one value, which can be read now."""
    if torch.compiler.is_compiling():
        return False
    return is_known(tensor) and not is_mapped_anywhere(tensor)


def where_chosen(chosen: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors, with derivatives only in the examples for which `chosen` holds.

    What is computed for the others is dropped, and may have an infinite derivative, which times zero
    would be NaN.
    """
    return [torch.where(chosen, x, x.detach()) if is_differentiable(x) else x for x in tensors]


def integer(value: Tensor) -> int:
    """Return the integer in a tensor of one element, that no `vmap` maps over."""
    return int(without_wrappers(value))


def scalar(value: Any, place: str) -> Tensor:
    """Return a scalar as a tensor.

    Raises:
        TypeError: it has a shape, or is no tensor, array or number.
    """
    tensor = to_tensor(value, lambda: place)
    if tensor.shape != ():
        raise TypeError(f"{place} must be a scalar, of shape (), but is {describe(tensor)}.")
    return tensor


def truth(value: Any, name: str) -> Tensor:
    """Return the predicate of a conditional; numbers other than zero are true."""
    tensor = scalar(value, f"{name}: the predicate")
    return tensor if tensor.dtype == torch.bool else tensor != 0


def loop_predicate(value: Any) -> Tensor:
    """Return what the condition of a loop returned.

    Raises:
        TypeError: it is no boolean scalar.
    """
    leaves, _ = tree_flatten(value)
    if len(leaves) != 1 or leaves[0] is not value:
        raise TypeError(
            f"while_loop: cond_fun must return a boolean scalar, but it returned {describe(value)}."
        )
    tensor = scalar(value, "while_loop: what cond_fun returns")
    if tensor.dtype != torch.bool:
        raise TypeError(
            "while_loop: cond_fun must return a boolean scalar, but it returned "
            f"{describe(value)}; compare it with something."
        )
    return tensor
