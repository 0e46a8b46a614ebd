"""Arithmetic on hyperparameters and counters, which are Python numbers or tensors of shape ()."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Scalar = Any  # float or Tensor of shape ()

_TRACERS = tuple(torch._C._TorchDispatchModeKey.__members__.values())


def given(value: Scalar) -> bool:
    """Whether a hyperparameter has an effect: it is a tensor, whose value may vary, or no zero."""
    return isinstance(value, Tensor) or value != 0


def is_traced() -> bool:
    """Whether values cannot be read now: under `torch.func`, `torch.compile` or a fake mode."""
    return (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or any(torch._C._get_dispatch_mode(mode) is not None for mode in _TRACERS)
    )


def sqrt(x: Scalar) -> Scalar:
    """Return the square root, with the derivative 0 at 0."""
    if not isinstance(x, Tensor):
        return x**0.5
    if not x.requires_grad:
        return x.sqrt()
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1).sqrt(), 0)


def lerp(start: Tensor, end: Tensor, weight: Scalar) -> Tensor:
    return torch.lerp(start, end, weight) if _plain(weight) else start + (end - start) * weight


def average_square(average: Tensor, x: Tensor, decay: Scalar) -> Tensor:
    """Return the running average of `x**2`, which forgets by the factor `decay`."""
    if _plain(decay):
        return torch.addcmul(average * decay, x, x, value=1 - decay)
    return average * decay + (1 - decay) * x * x


def where(condition: Any, x: Scalar, y: Scalar) -> Scalar:
    if isinstance(condition, Tensor):
        return torch.where(condition, x, y)
    return x if condition else y


def maximum(x: Scalar, y: Scalar) -> Scalar:
    return where(x > y, x, y)


def minimum(x: Scalar, y: Scalar) -> Scalar:
    return where(x < y, x, y)


def scalar_state(value: Scalar, param: Tensor) -> Tensor:
    """Return a number as a tensor of shape (), in single precision or that of the parameter."""
    wide = param.dtype in (torch.float64, torch.complex128)
    dtype = torch.float64 if wide else torch.float32
    if isinstance(value, Tensor):
        return value.to(dtype)
    return _scalar(value, dtype, param)


def zero_steps(param: Tensor) -> Tensor:
    """Return the number of steps of a parameter before the first."""
    return _scalar(0.0, torch.float32, param)


def _scalar(value: float, dtype: torch.dtype, param: Tensor) -> Tensor:
    """Return a number as a tensor; made of the parameter if that may be one of a population's."""
    if torch._C._are_functorch_transforms_active():
        return param.new_full((), value, dtype=dtype, device="cpu")
    return torch.tensor(value, dtype=dtype)


def _plain(weight: Scalar) -> bool:
    return not isinstance(weight, Tensor)
