"""Steps of `torch.optim.LBFGS`, which evaluates the loss itself."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pax_torch._grad import value_and_grad
from pax_torch._optimizer_class import ClassStep, readable
from pax_torch._optimizer_state import leaves_like
from pax_torch._optimizer_tensors import given_gradients
from pax_torch._rules import State
from pax_tree import PyTreeDef, tree_leaves, tree_unflatten

_SCRATCH = "al"  # room that the class takes for one loop


def init_closure_state() -> State:
    """Returns the state before the first step."""
    return {"func_evals": 0, "n_iter": 0}


def closure_step(
    class_step: ClassStep,
    variables: list[Tensor],
    params: Any,
    grads: Any,
    state: State,
    options: dict[str, Any],
    value_fn: Callable[[Any], Tensor],
    treedef: PyTreeDef,
) -> tuple[Any, State]:
    """Steps `variables` in place, and returns them as a tree and the new state.

    Args:
        class_step: of LBFGS.
        variables: the parameters, of which the step may write the memory.
        params: the tree that they are the parameters or copies of.
        grads: the gradients there, where they are known already.
        state: as returned before; nothing in it is written.
        options: hyperparameters that differ in this step.
        value_fn: from a tree of parameters to the loss.
        treedef: the structure of that tree.

    """
    optimizer = class_step.make(variables, **readable(options))
    optimizer.state[variables[0]] = {name: _copy(value) for name, value in state.items()}
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
    return tree_unflatten(treedef, variables), kept


def _all_gradients(
    variables: list[Tensor], grads: Any, params: Any, treedef: PyTreeDef
) -> list[Tensor]:
    given, gradients = given_gradients(variables, leaves_like(treedef, grads, "grads"), params)
    if len(given) < len(variables):
        raise ValueError("LBFGS needs the gradient of every parameter; give all, or grads=None.")
    return gradients


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    return list(value) if isinstance(value, list) else value


def needs_closure(cls: type[torch.optim.Optimizer]) -> bool:
    """Whether a class is LBFGS, the one that is given a function and not a gradient."""
    return issubclass(cls, torch.optim.LBFGS)
