"""What a rule is: an optimizer's formulas for one parameter, without changing anything in place."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from torch import Tensor

State = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """The formulas of an optimizer class.

    Args:
        init: from a parameter and the hyperparameters, the state before the first step.
        step: from parameter, gradient, state and hyperparameters, the next parameter and state.
        elementwise: a complex parameter is stepped as twice as many real ones.

    """

    init: Callable[[Tensor, SimpleNamespace], State]
    step: Callable[[Tensor, Tensor, State, SimpleNamespace], tuple[Tensor, State]]
    elementwise: bool = True
