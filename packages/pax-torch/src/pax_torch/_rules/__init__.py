"""The steps of the `torch.optim` classes as pure functions of tensors.

They serve where the classes cannot: inside `vmap` and `jit`, and where a derivative is taken
through the step.
"""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from pax_torch._rules._adam import ADAM, ADAMAX, NADAM, RADAM
from pax_torch._rules._arithmetic import is_traced
from pax_torch._rules._descent import ADADELTA, ADAGRAD, ASGD, RMSPROP, RPROP, SGD
from pax_torch._rules._matrix import ADAFACTOR, MUON, SPARSE_ADAM
from pax_torch._rules._rule import Rule, State

__all__ = ["Rule", "State", "init_state", "is_traced", "rule_of", "take_step"]

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
_TAKES_SPARSE = (SGD, ADAGRAD)


def rule_of(cls: type[torch.optim.Optimizer]) -> Rule | None:
    """Returns the rule of a class of `torch.optim`, and None for any other."""
    own = getattr(torch.optim, cls.__name__, None) is cls
    return _BY_NAME.get(cls.__name__) if own else None


def init_state(rule: Rule, param: Tensor, options: dict[str, Any]) -> State:
    """Returns the state of a parameter before its first step."""
    return rule.init(param, SimpleNamespace(**options))


def take_step(
    rule: Rule, param: Tensor, grad: Tensor, state: State, options: dict[str, Any]
) -> tuple[Tensor, State]:
    """Returns a parameter and its state after a step.

    Args:
        rule: as `rule_of` returns it.
        param: floating-point or complex.
        grad: like `param`; sparse where the class takes that.
        state: as `init_state` or the last step returned it.
        options: the hyperparameters, as in a parameter group of the class.

    Raises:
        ValueError: a sparse gradient for a class that does not take it, or a dense one for
            SparseAdam.

    """
    h = SimpleNamespace(**options)
    grad = -grad if options.get("maximize") else grad
    if (rule is SPARSE_ADAM) != grad.is_sparse:
        grad = _densified(rule, grad)
    if rule.elementwise and param.is_complex():
        new, new_state = _step_as_real(rule, param, grad, state, h)
    else:
        new, new_state = rule.step(param, grad, state, h)
    # A parameter of shape () promotes with the hyperparameters; its class writes in place.
    kept = {name: _with_dtype(value, state.get(name, param)) for name, value in new_state.items()}
    return new.to(param.dtype), kept


def _step_as_real(
    rule: Rule, param: Tensor, grad: Tensor, state: State, h: SimpleNamespace
) -> tuple[Tensor, State]:
    real = torch.view_as_real(param)
    views = {name: _as_real(value) for name, value in state.items()}
    new, new_state = rule.step(real, torch.view_as_real(grad), views, h)
    return torch.view_as_complex(new), {
        name: torch.view_as_complex(value) if _is_like(value, real) else value
        for name, value in new_state.items()
    }


def _with_dtype(value: Any, like: Any) -> Any:
    return value.to(like.dtype) if isinstance(value, Tensor) else value


def _densified(rule: Rule, grad: Tensor) -> Tensor:
    if rule in _TAKES_SPARSE:
        return grad.to_dense()
    kind, other = ("sparse", "dense") if grad.is_sparse else ("dense", "sparse")
    raise ValueError(f"this optimizer takes no {kind} gradients; give it {other} ones.")


def _as_real(value: Any) -> Any:
    is_complex = isinstance(value, Tensor) and value.is_complex()
    return torch.view_as_real(value) if is_complex else value


def _is_like(value: Any, param: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == param.shape
