"""Tangents that are zero, in functions that run on tensors without values.

Forward mode stands for such a tangent by a tensor of its own kind, whose product with infinity is
zero. Its reshaped views leave the tensors without values: they come out on the device "meta".
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from pax_torch._compat import (
    HAS_ZEROS,
    DispatchMode,
    dispatch_mode,
    efficient_zeros,
    memory_of,
    schema,
    written_by,
)
from pax_tree import tree_leaves, tree_map

_aten = torch.ops.aten
_Operation = type(_aten.add.Tensor)
_PRODUCTS = {_aten.mul.Tensor, _aten.mul.Scalar}
_QUOTIENTS = {_aten.div.Tensor, _aten.div.Scalar}
_SUMS = {_aten.add.Tensor, _aten.sub.Tensor}


def ordinary_zeros() -> AbstractContextManager[Any]:
    """Make zero tangents ordinary tensors if what runs now may be on tensors without values."""
    mode = dispatch_mode()
    if mode and HAS_ZEROS and not isinstance(mode, _OrdinaryZeros):
        return _OrdinaryZeros()
    return nullcontext()


class _OrdinaryZeros(DispatchMode):
    """Makes ordinary tensors in place of those zeros, and multiplies and divides them alike."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self._zeros = WeakIdKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Run one operation."""
        kwargs = kwargs or {}
        if func is efficient_zeros:
            return self._known(_aten.zeros.default(*args, **kwargs))
        out = func(*args, **kwargs)
        if not self._zeros or not isinstance(func, _Operation):
            return out
        if schema(func).is_mutable:
            self._forget_written(func, args, kwargs)
            return out
        if func.is_view and self._is_zero(args[0]):
            return tree_map(self._known, out)
        return self._known(torch.zeros_like(out)) if self._is_product(func, args) else out

    def _forget_written(self, func: Any, args: Sequence[Any], kwargs: Any) -> None:
        """Take what shares memory with a tensor that was written to for an ordinary one."""
        written = tree_leaves(written_by(func, args, kwargs))
        memory = {memory_of(leaf) for leaf in written if isinstance(leaf, Tensor)}
        for zeros in list(self._zeros):
            if memory_of(zeros) in memory:
                del self._zeros[zeros]

    def _is_product(self, func: Any, args: Sequence[Any]) -> bool:
        if func in _PRODUCTS:
            return any(map(self._is_zero, args))
        if func in _QUOTIENTS:
            return self._is_zero(args[0])
        return func in _SUMS and all(map(self._is_zero, args[:2]))

    def _is_zero(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value in self._zeros

    def _known(self, zeros: Tensor) -> Tensor:
        self._zeros[zeros] = True
        return zeros
