"""Steps of `torch.optim.LBFGS`, which evaluates the loss itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pax_torch._autodiff.grad import value_and_grad
from pax_torch._optim.checks import (
    check_donated,
    check_dtypes,
    given_gradients,
    writable,
)
from pax_torch._optim.formulas import State
from pax_torch._optim.options import readable
from pax_torch._optim.state import check_state, leaves_like
from pax_torch._optim.torch_class import ClassStep
from pax_tree import PyTreeDef, tree_leaves, tree_unflatten

_SCRATCH = "al"  # room that the class takes for one loop


def init_closure_state() -> State:
    """Return the state before the first step."""
    return {"func_evals": 0, "n_iter": 0}


def closure_step(
    class_step: ClassStep,
    tensors: list[Tensor],
    params: Any,
    grads: Any,
    state: State,
    options: dict[str, Any],
    value_fn: Callable[[Any], Tensor],
    treedef: PyTreeDef,
    donated: bool,
) -> tuple[Any, State]:
    """Return the parameters as a tree and the state after a step.

    Args:
        class_step: of LBFGS.
        tensors: the leaves of the parameters.
        params: the tree they are the leaves of.
        grads: the gradients there, where they are known already.
        state: as returned before; nothing in it is written.
        options: hyperparameters that differ in this step.
        value_fn: from a tree of parameters to the loss.
        treedef: the structure of that tree.
        donated: whether the new parameters are written to the memory of the old ones. The step
            tries points that `value_fn` may fail at, so that it does so last.
    """
    check_state(state)
    check_dtypes(tensors, params)
    if donated:
        check_donated(tensors, params)
    variables = writable(tensors, False)
    optimizer = class_step.make(variables, **readable(options))
    size = optimizer.param_groups[0]["history_size"]
    optimizer.state[variables[0]] = {name: _copy(value, size) for name, value in state.items()}
    known = None if grads is None else _all_gradients(variables, grads, params, treedef)

    def closure() -> Tensor:
        nonlocal known
        current = tree_unflatten(treedef, variables)
        if known is None:
            value, gradients = value_and_grad(value_fn)(current)
            new = tree_leaves(gradients)
        else:
            (value, new), known = (value_fn(current), known), None
        for variable, gradient in zip(variables, new, strict=True):
            variable.grad = gradient.contiguous()
        return value

    try:
        optimizer.step(closure)  # pyright: ignore[reportCallIssue, reportArgumentType]
    finally:
        for variable in variables:
            variable.grad = None
    new_state = optimizer.state[variables[0]]
    kept = {name: value for name, value in new_state.items() if name != _SCRATCH}
    if donated:
        new = variables
        variables = writable(tensors, True)
        for variable, value in zip(variables, new, strict=True):
            variable.copy_(value)
    return tree_unflatten(treedef, variables), kept


def _all_gradients(
    variables: list[Tensor], grads: Any, params: Any, treedef: PyTreeDef
) -> list[Tensor]:
    given, gradients = given_gradients(variables, leaves_like(treedef, grads, "grads"), params)
    if len(given) < len(variables):
        raise ValueError("LBFGS needs the gradient of every parameter; give all, or grads=None.")
    return gradients


def _copy(value: Any, history_size: int) -> Any:
    """Return a part of the state, of whose lists only the last entries are in the history."""
    if isinstance(value, Tensor):
        return value.clone()
    return value[-history_size:] if isinstance(value, list) else value


def needs_closure(cls: type[torch.optim.Optimizer]) -> bool:
    """Whether a class is LBFGS, the one that is given a function and not a gradient."""
    return issubclass(cls, torch.optim.LBFGS)
