"""Tangents of tensors of shape () in arithmetic with Python numbers.

In the forward mode of `torch.func`, the product of a number and a tensor of shape () has a tangent in
double precision, whatever the dtype of the tensor: PyTorch forgets there that a number has no dtype.
Here such a number gets the dtype of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pax_torch._compat import function_mode

_NAMES = ("add", "sub", "subtract", "mul", "multiply", "div", "divide", "true_divide")
_OPERATORS = (
    "__add__",
    "__radd__",
    "__sub__",
    "__mul__",
    "__rmul__",
    "__truediv__",
    "__rtruediv__",
)
_ARITHMETIC = {getattr(owner, name) for owner in (torch, Tensor) for name in _NAMES}
_ARITHMETIC |= {getattr(Tensor, name) for name in (*_OPERATORS, "__div__", "__rdiv__")}
_NARROW = {torch.float16, torch.bfloat16}


def typed_numbers() -> AbstractContextManager[Any]:
    """Give numbers the dtypes of the tensors that they are computed with."""
    if torch.compiler.is_compiling() or isinstance(function_mode(), _TypedNumbers):
        return nullcontext()
    return _TypedNumbers()


class _TypedNumbers(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Run one operation."""
        kwargs = kwargs or {}
        if func not in _ARITHMETIC or len(args) != 2 or not all(map(_is_scalar, args)):
            return func(*args, **kwargs)
        tensor, number = args if isinstance(args[0], Tensor) else args[::-1]
        if not isinstance(tensor, Tensor) or isinstance(number, Tensor | int):
            return func(*args, **kwargs)
        dtype = torch.result_type(tensor, number)
        wide = torch.float32 if dtype in _NARROW else dtype
        # PyTorch rounds a number to single precision where it is computed with halves.
        typed = torch.tensor(number, dtype=wide)
        tensor = tensor if dtype is wide else tensor.to(wide)
        out = func(*((tensor, typed) if isinstance(args[0], Tensor) else (typed, tensor)), **kwargs)
        return out if dtype is wide else out.to(dtype)


def _is_scalar(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.dim() == 0
    return isinstance(value, float | complex | int) or hasattr(value, "__float__")
