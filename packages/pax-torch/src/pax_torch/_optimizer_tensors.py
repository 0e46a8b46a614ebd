"""The tensors of a step: parameters to write to, and gradients that fit them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._args import leaf_place, to_tensors
from pax_tree import tree_leaves

Rows = list[dict[str, Any]]


def as_tensors(leaves: list[Any], params: Any) -> list[Tensor]:
    """The leaves of the parameters, with numbers and arrays turned into tensors."""
    if all(isinstance(leaf, Tensor) for leaf in leaves):
        return leaves
    return to_tensors(leaves, lambda i: leaf_place(params, i, "params"))


def given_gradients(
    tensors: Sequence[Tensor], gradients: list[Any], params: Any
) -> tuple[list[int], list[Tensor]]:
    """The places of the gradients that are not None, and these as tensors.

    Raises:
        ValueError: one differs from its parameter in shape, dtype or device.

    """
    given = [i for i, gradient in enumerate(gradients) if gradient is not None]
    found = [gradients[i] for i in given]
    if not all(isinstance(gradient, Tensor) for gradient in found):
        found = to_tensors(found, lambda i: leaf_place(params, given[i], "grads"))
    for i, gradient in zip(given, found, strict=True):
        _check_gradient(tensors[i], gradient, params, i)
    return given, found


def _check_gradient(tensor: Tensor, gradient: Tensor, params: Any, i: int) -> None:
    if tensor.shape != gradient.shape:
        raise ValueError(
            f"{leaf_place(params, i, 'grads')} has shape {tuple(gradient.shape)}, "
            f"but its parameter has shape {tuple(tensor.shape)}."
        )
    if tensor.dtype is not gradient.dtype or tensor.device != gradient.device:
        raise ValueError(
            f"{leaf_place(params, i, 'grads')} has dtype {gradient.dtype} on {gradient.device}, "
            f"but its parameter has dtype {tensor.dtype} on {tensor.device}; "
            "they must be the same."
        )


def writable(tensors: Sequence[Tensor], params: Any, donated: bool) -> list[Tensor]:
    """What a step writes to: the memory of the parameters where it is donated, else a copy."""
    if not donated:
        with torch.no_grad():
            return [tensor.clone() for tensor in tensors]
    if len(set(map(id, tensors))) < len(tensors):
        raise ValueError(
            f"{_repeated(params)} are one tensor, whose memory cannot be donated twice; "
            "copy one of them, or leave donate=True out."
        )
    return [
        tensor if tensor.grad_fn is None and not tensor.requires_grad else tensor.detach()
        for tensor in tensors
    ]


def copies(rows: Rows) -> Rows:
    """The states of parameters, in memory of their own."""
    with torch.no_grad():
        return [
            {name: x.clone() if isinstance(x, Tensor) else x for name, x in row.items()}
            for row in rows
        ]


def _repeated(params: Any) -> str:
    """The places of the first leaf that stands in two."""
    seen: dict[int, int] = {}
    for i, leaf in enumerate(tree_leaves(params)):
        first = seen.setdefault(id(leaf), i)
        if first != i:
            return f"{leaf_place(params, first, 'params')} and {leaf_place(params, i, 'params')}"
    raise AssertionError(params)
