"""What an update rule is, and the arithmetic that its formulas have in common.

Hyperparameters and counters are Python numbers or tensors of shape ().
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from pax_torch._compat import transforms_active

Options = SimpleNamespace  # the hyperparameters
State = dict[str, Any]
Stepped = tuple[Tensor, State]
Constants = tuple[Any, ...]
Scalar = Any  # float or Tensor of shape ()


@dataclass(frozen=True)
class UpdateRule:
    """The formulas of an optimizer class.

    Args:
        init: from a parameter and the hyperparameters, the state before the first step.
        step: from parameter, gradient, state, hyperparameters and constants, the next parameter and
            state. The state holds the number of this step already.
        constants: from the number of the step, a number or a tensor, and the hyperparameters, what
            else the step depends on. All parameters share this work.
        elementwise: a complex parameter is stepped as twice as many real ones.
    """

    init: Callable[[Tensor, Options], State]
    step: Callable[[Tensor, Tensor, State, Options, Constants], Stepped]
    constants: Callable[[Any, Options], Constants] | None = None
    elementwise: bool = True


def given(value: Scalar) -> bool:
    """Whether a hyperparameter has an effect: it is a tensor, whose value may vary, or no zero."""
    return isinstance(value, Tensor) or value != 0


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


def counted(param: Tensor, *names: str) -> State:
    """Return the number of steps before the first, and zeros like a parameter under other names."""
    return {"step": zero_steps(param), **{name: torch.zeros_like(param) for name in names}}


def _scalar(value: float, dtype: torch.dtype, param: Tensor) -> Tensor:
    """Return a number as a tensor; made of the parameter if that may be one of a population's."""
    if transforms_active():
        return param.new_full((), value, dtype=dtype, device="cpu")
    return torch.tensor(value, dtype=dtype)


def _plain(weight: Scalar) -> bool:
    return not isinstance(weight, Tensor)
