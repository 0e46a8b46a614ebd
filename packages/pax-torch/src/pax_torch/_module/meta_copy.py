"""Copies of modules without the memory of their tensors."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from types import MemberDescriptorType
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from pax_torch._module.references import walk


def copy_without_tensors(module: Module) -> Module:
    """Deep-copies a module with parameters and buffers that take no memory.

    Raises:
        TypeError: an attribute cannot be copied.
    """
    memo: dict[int, Any] = _empty_tensors(module)
    try:
        copied = copy.deepcopy(module, memo)
        for original in filter(slots, list(module.modules())):  # which modules do not copy
            for name, value in slots(original).items():
                object.__setattr__(memo[id(original)], name, copy.deepcopy(value, memo))
    except Exception as error:
        where = _what_fails(module, _empty_tensors(module))
        raise TypeError(
            f"functional_module cannot copy {where}: {error}; take it out of the module, or pass "
            "preserve_original=False to share it."
        ) from error
    return copied


def slots(module: Module) -> dict[str, Any]:
    """Return the attributes that are in `__slots__` rather than in `__dict__`."""
    names = [name for cls in type(module).__mro__ for name in _slot_names(cls)]
    return {name: getattr(module, name) for name in names if hasattr(module, name)}


def _slot_names(cls: type) -> list[str]:
    """Return the names of the slots that a class adds, as its instances know them."""
    return [name for name, value in vars(cls).items() if isinstance(value, MemberDescriptorType)]


def _empty_tensors(module: Module) -> dict[int, Tensor]:
    memo: dict[int, Tensor] = {}
    for tensor in module.buffers():
        memo[id(tensor)] = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    for tensor in module.parameters():
        empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
        memo[id(tensor)] = Parameter(empty, requires_grad=tensor.requires_grad)
    for tensor in _computed_tensors(module):
        memo.setdefault(id(tensor), tensor.detach().clone())
    return memo


def _computed_tensors(module: Module) -> Iterator[Tensor]:
    """Yield what attributes hold of the results of operations, which deepcopy refuses."""
    for part in walk([vars(submodule) for submodule in module.modules()], attributes=True):
        if isinstance(part, Tensor) and not part.is_leaf:
            yield part


def _what_fails(module: Module, memo: dict[int, Tensor]) -> str:
    for prefix, submodule in module.named_modules():
        own = {id(child): child for child in submodule.children()}
        for name, value in submodule.__dict__.items():
            try:
                copy.deepcopy(value, {**memo, **own})
            except Exception:
                return f"attribute {name!r} of {describe_place(prefix, submodule)}"
    return type(module).__qualname__


def describe_place(prefix: str, module: Module) -> str:
    """Return how an error names a submodule."""
    return f"submodule {prefix!r}" if prefix else f"the {type(module).__qualname__}"
