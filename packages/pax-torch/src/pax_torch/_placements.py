"""How `DTensor`s lie on the processes, and tensors that are to lie as others do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.nn import Parameter

_PLAIN = {Tensor, Parameter}


def all_plain(tensors: Iterable[Any]) -> bool:
    """Whether none of the tensors is of a class of its own, as a `DTensor` is."""
    return set(map(type, tensors)) <= _PLAIN


def is_distributed(tensor: Any) -> bool:
    """Whether a tensor is a `DTensor`, known without the seconds in which its class is imported."""
    return isinstance(tensor, Tensor) and hasattr(tensor, "device_mesh")


def placed_like(tensor: Any, other: Tensor) -> Any:
    """Return a `DTensor` in the placements of another one; anything else as it is.

    A gradient that is still to be summed over processes is summed by that, into parts where its
    parameter is in parts.
    """
    if not (is_distributed(tensor) and is_distributed(other)):
        return tensor
    there: Any = other
    if tensor.device_mesh != there.device_mesh or tensor.placements == there.placements:
        return tensor
    return tensor.redistribute(placements=there.placements)


def describe_placement(tensor: Any) -> str:
    """Say where a tensor lies."""
    if not is_distributed(tensor):
        return "a plain tensor"
    return f"a DTensor with {tensor.placements} on {tensor.device_mesh}"
