"""What an update rule is, and the arithmetic that its formulas have in common.

Hyperparameters and counters are Python numbers or tensors of shape ().
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pax_torch._compat import forward_mode_runs, transforms_active

State = dict[str, Any]
Stepped = tuple[Tensor, State]
Constants = tuple[Any, ...]
Scalar = Any  # float or Tensor of shape ()


class Options:
    """The hyperparameters, as attributes."""

    def __init__(self, **hyperparameters: Any) -> None:
        self.__dict__.update(hyperparameters)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


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
    if not (x.requires_grad or forward_mode_runs()):
        return x.sqrt()
    is_zero = x == 0
    return torch.where(is_zero, 0, torch.where(is_zero, 1, x).sqrt())


def lerp(start: Tensor, end: Tensor, weight: Scalar) -> Tensor:
    """Return `start + weight * (end - start)`, with the roundings and the infinities of PyTorch's."""
    return torch.lerp(start, end, weight if _plain(weight) else weight.to(start))


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


def scalar_dtype() -> torch.dtype:
    """Return the dtype of numbers in a state: single precision, unless the default is wider."""
    default = torch.get_default_dtype()
    return default if default is torch.float64 else torch.float32


def scalar_state(value: Scalar, param: Tensor) -> Tensor:
    """Return a number of a state as a tensor of shape ()."""
    dtype = scalar_dtype()
    if isinstance(value, Tensor):
        return value.to(dtype)
    if transforms_active():  # made of the parameter, which may be one of a population's
        return param.new_full((), value, dtype=dtype, device="cpu")
    return torch.tensor(value, dtype=dtype)


def counted(param: Tensor, *names: str) -> State:
    """Return the number of steps before the first, and zeros like a parameter under other names."""
    return {"step": scalar_state(0.0, param), **{name: torch.zeros_like(param) for name in names}}


def _plain(weight: Scalar) -> bool:
    return not isinstance(weight, Tensor)
