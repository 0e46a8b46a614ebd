"""What a rule is: an optimizer's formulas for one parameter, without changing anything in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from torch import Tensor

State = dict[str, Any]
Constants = tuple[Any, ...]


@dataclass(frozen=True)
class Rule:
    """The formulas of an optimizer class.

    Args:
        init: from a parameter and the hyperparameters, the state before the first step.
        step: from parameter, gradient, state, hyperparameters and constants, the next parameter and
            state. The state holds the number of this step already.
        constants: from the number of the step, a number or a tensor, and the hyperparameters, what
            else the step depends on. All parameters share this work.
        elementwise: a complex parameter is stepped as twice as many real ones.
    """

    init: Callable[[Tensor, SimpleNamespace], State]
    step: Callable[[Tensor, Tensor, State, SimpleNamespace, Constants], tuple[Tensor, State]]
    constants: Callable[[Any, SimpleNamespace], Constants] | None = None
    elementwise: bool = True
