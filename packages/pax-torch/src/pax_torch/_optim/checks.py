"""The tensors of a step: parameters to write to, and gradients that fit them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from pax_torch._autodiff.flatten_fun import is_differentiable, to_tensors
from pax_torch._errors import leaf_place
from pax_tree import tree_map

Rows = list[dict[str, Any]]

_PLAIN = {Tensor, Parameter}
_DENSE, _OVERLAPS = 0, 1  # of three answers that PyTorch has for this question
_internal_overlap: Any = torch._debug_has_internal_overlap  # pyright: ignore[reportPrivateImportUsage]


def as_tensors(leaves: list[Any], params: Any) -> list[Tensor]:
    """Return the leaves of the parameters, with numbers and arrays turned into tensors."""
    if all(isinstance(leaf, Tensor) for leaf in leaves):
        return leaves
    return to_tensors(leaves, lambda i: leaf_place(params, i, "params"))


def given_gradients(
    tensors: Sequence[Tensor], gradients: list[Any], params: Any
) -> tuple[list[int], list[Tensor]]:
    """Return the places of the gradients that are not None, and these as tensors.

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


def check_dtypes(tensors: Sequence[Tensor], params: Any) -> None:
    """Raise TypeError unless the parameters are floating-point or complex."""
    if all(map(Tensor.is_floating_point, tensors)):
        return
    for i, tensor in enumerate(tensors):
        if not is_differentiable(tensor):
            raise TypeError(
                f"{leaf_place(params, i, 'params')} has dtype {tensor.dtype}, but an optimizer "
                "steps floating-point and complex parameters; convert it, or leave it out."
            )


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


def writable(tensors: Sequence[Tensor], donated: bool) -> list[Tensor]:
    """Return what a step writes to: the memory of the parameters where it is donated, else a copy."""
    if not donated:
        with torch.no_grad():
            return [tensor.clone() for tensor in tensors]
    return [
        tensor
        if tensor.grad_fn is None and not tensor.requires_grad and tensor.grad is None
        else tensor.detach()
        for tensor in tensors
    ]


def check_donated(tensors: Sequence[Tensor], params: Any) -> None:
    """Raise ValueError unless each parameter has memory of its own that can be written.

    Args:
        tensors: the leaves.
        params: the tree they are the leaves of.
    """
    if not all(map(Tensor.is_contiguous, tensors)):
        for i, tensor in enumerate(tensors):
            if _internal_overlap(tensor) == _OVERLAPS:
                raise ValueError(
                    f"{leaf_place(params, i, 'params')} has elements that share memory (it is "
                    "expanded), which cannot be donated; copy it, or leave donate=True out."
                )
    plain = set(map(type, tensors)) <= _PLAIN
    if not plain or len(set(map(Tensor.data_ptr, tensors))) < len(tensors):
        _check_addresses(tensors, params)
    if any(map(Tensor.is_inference, tensors)) and not torch.is_inference_mode_enabled():
        i = [tensor.is_inference() for tensor in tensors].index(True)
        raise ValueError(
            f"{leaf_place(params, i, 'params')} was made in inference mode, and cannot be written "
            "outside of it; copy it, or leave donate=True out."
        )


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor fills the memory that it spans, each place once."""
    return tensor.is_contiguous() or _internal_overlap(tensor) == _DENSE


def _address(tensor: Tensor) -> int:
    """Where a tensor begins; what has no memory of its own is known by its identity."""
    return (tensor.data_ptr() if type(tensor) in _PLAIN else 0) or id(tensor)


def _check_addresses(tensors: Sequence[Tensor], params: Any) -> None:
    seen: dict[int, int] = {}
    for i, tensor in enumerate(tensors):
        first = seen.setdefault(_address(tensor), i)
        if first != i:
            raise ValueError(
                f"{leaf_place(params, first, 'params')} and {leaf_place(params, i, 'params')} are "
                "one tensor, or views of one, whose memory cannot be donated twice; copy one of "
                "them, or leave donate=True out."
            )


def copies(rows: Rows) -> Rows:
    """Return the states of parameters, in memory of their own."""
    with torch.no_grad():
        return [
            {name: x.clone() if isinstance(x, Tensor) else _copy(x) for name, x in row.items()}
            for row in rows
        ]


def _copy(value: Any) -> Any:
    """Return a number, or a container of tensors as somebody else's class may keep it."""
    return tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, value)
