"""The steps of the `torch.optim` classes as pure functions of tensors.

They serve where the classes cannot: inside `vmap` and `jit`, and where a derivative is taken
through the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._optim.checks import is_of_torch
from pax_torch._optim.formulas.adam import ADAM, ADAMAX, NADAM, RADAM
from pax_torch._optim.formulas.descent import ADADELTA, ADAGRAD, ASGD, RMSPROP, RPROP, SGD
from pax_torch._optim.formulas.matrix import ADAFACTOR, MUON, SPARSE_ADAM
from pax_torch._optim.formulas.update_rule import (
    Constants,
    Options,
    State,
    Stepped,
    UpdateRule,
)
from pax_torch._tracing import values_are_hidden

_BY_NAME = {
    "ASGD": ASGD,
    "Adadelta": ADADELTA,
    "Adafactor": ADAFACTOR,
    "Adagrad": ADAGRAD,
    "Adam": ADAM,
    "AdamW": ADAM,
    "Adamax": ADAMAX,
    "Muon": MUON,
    "NAdam": NADAM,
    "RAdam": RADAM,
    "RMSprop": RMSPROP,
    "Rprop": RPROP,
    "SGD": SGD,
    "SparseAdam": SPARSE_ADAM,
}
# What a state has of shape (), whatever the shape of its parameter.
_NUMBERS = {"step", "mu_product", "eta", "mu"}
_TAKES_SPARSE = (SGD, ADAGRAD)


def rule_of(cls: type[torch.optim.Optimizer]) -> UpdateRule | None:
    """Return the rule of a class of `torch.optim`, and None for any other."""
    return _BY_NAME.get(cls.__name__) if is_of_torch(cls) else None


def init_state(rule: UpdateRule, param: Tensor, options: dict[str, Any]) -> State:
    """Return the state of a parameter before its first step."""
    return rule.init(param, Options(**options))


def take_steps(
    rule: UpdateRule,
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    states: Sequence[State],
    options: dict[str, Any],
) -> list[Stepped]:
    """Return parameters and their states after a step.

    Args:
        rule: as `rule_of` returns it.
        params: floating-point or complex.
        grads: like `params`; sparse where the class takes that.
        states: as `init_state` or the last step returned them.
        options: the hyperparameters, as in a parameter group of the class.

    Raises:
        ValueError: a sparse gradient for a class that does not take it, or a dense one for
            SparseAdam.
    """
    h = Options(**options)
    if params and "step" in states[0]:
        states = [{**state, "step": state["step"] + 1} for state in states]
    constants = _constants(rule, states, params, h)
    given = zip(params, grads, states, constants, strict=True)
    return [_take_step(rule, *each, h) for each in given]


def _constants(
    rule: UpdateRule, states: Sequence[State], params: Sequence[Tensor], h: Options
) -> list[Constants]:
    """Return what depends on the number of the step, for each parameter.

    The numbers are read where they can be; otherwise they are one vector, so that the operations
    are not more for many parameters than for one.
    """
    if rule.constants is None or not params:
        return [()] * len(params)
    steps = [state["step"] for state in states]
    if not (values_are_hidden() and isinstance(steps[0], Tensor)):
        numbers = [step.item() if isinstance(step, Tensor) else step for step in steps]
        return [rule.constants(number, h) for number in numbers]
    vector = _together(steps, params).to(torch.float64)
    columns = [value.expand(len(params)).unbind() for value in rule.constants(vector, h)]
    if all(param.device == vector.device for param in params):
        return list(zip(*columns, strict=True))
    return [
        tuple(x.to(param.device) for x in row)
        for param, row in zip(params, zip(*columns, strict=True), strict=True)
    ]


def _together(steps: Sequence[Tensor], params: Sequence[Tensor]) -> Tensor:
    device = params[0].device
    return torch.stack([step if step.device == device else step.to(device) for step in steps])


def _take_step(
    rule: UpdateRule, p: Tensor, g: Tensor, state: State, c: Constants, h: Options
) -> Stepped:
    if rule is not SPARSE_ADAM and p.dim() == 0:
        return _step_number(rule, p, _densified(rule, g) if g.is_sparse else g, state, c, h)
    g = -g if getattr(h, "maximize", False) else g
    if (rule is SPARSE_ADAM) != g.is_sparse:
        g = _densified(rule, g)
    if rule.elementwise and p.is_complex():
        views = {name: _as_real(value) for name, value in state.items()}
        new, after = rule.step(torch.view_as_real(p), torch.view_as_real(g), views, h, c)
        shape, new = new.shape, torch.view_as_complex(new)
        new_state = {name: _as_complex(value, shape) for name, value in after.items()}
    else:
        new, new_state = rule.step(p, g, state, h, c)
    kept = {name: _with_dtype(value, state.get(name, p)) for name, value in new_state.items()}
    return _with_dtype(new, p), kept


def _step_number(
    rule: UpdateRule, p: Tensor, g: Tensor, state: State, c: Constants, h: Options
) -> Stepped:
    """Step a parameter of shape () as one of shape (1,), which keeps its dtype with hyperparameters."""
    longer = {k: x[None] if k not in _NUMBERS else x for k, x in state.items()}
    new, new_state = _take_step(rule, p[None], g[None], longer, c, h)
    return new[0], {k: x[0] if k not in _NUMBERS else x for k, x in new_state.items()}


def _with_dtype(value: Any, like: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype is not like.dtype:
        return value.to(like.dtype)
    return value


def _densified(rule: UpdateRule, grad: Tensor) -> Tensor:
    if rule in _TAKES_SPARSE:
        return grad.to_dense()
    kind, other = ("sparse", "dense") if grad.is_sparse else ("dense", "sparse")
    raise ValueError(f"This optimizer takes no {kind} gradients; give it {other} ones.")


def _as_real(value: Any) -> Any:
    is_complex = isinstance(value, Tensor) and value.is_complex()
    return torch.view_as_real(value) if is_complex else value


def _as_complex(value: Any, shape: torch.Size) -> Any:
    is_like = isinstance(value, Tensor) and value.shape == shape
    return torch.view_as_complex(value) if is_like else value
