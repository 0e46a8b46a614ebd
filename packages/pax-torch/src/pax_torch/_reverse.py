"""Reverse-mode differentiation of a function of a list of tensors.

Two engines give the same result: `torch.autograd` where no `torch.func` transform is active,
and `torch.func` inside one, where autograd cannot be told to track a tensor.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pax_tree import tree_flatten, tree_map, tree_unflatten

Call = Callable[[Sequence[Tensor]], tuple[Tensor, Any]]
Result = tuple[Tensor, Any, list[Tensor | None]]


class _Depth(threading.local):
    """How many differentiations are running in this thread."""

    value = 0


_depth = _Depth()


def reverse(
    call: Call, leaves: Sequence[Tensor], *, create_graph: bool, find_unused: bool
) -> Result:
    """Returns value, aux and the gradient of the value for each leaf.

    Args:
        call: maps tensors like `leaves` to a scalar and anything else.
        leaves: floating-point or complex tensors; they are read, never changed.
        create_graph: keep the graph of the results. It is kept in any case inside another
            differentiation.
        find_unused: give None, and not zeros, for every leaf that the value does not depend on.

    Returns:
        The scalar, the second result of `call`, and per leaf its gradient, or None where the
        value does not depend on it.

    """
    if torch._C._are_functorch_transforms_active():
        return _reverse_by_func(call, leaves, find_unused)
    keep = create_graph or (_depth.value > 0 and torch.is_grad_enabled())
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(False):
            return _reverse_by_autograd(call, leaves, keep)
    return _reverse_by_autograd(call, leaves, keep)


def _reverse_by_autograd(call: Call, leaves: Sequence[Tensor], keep: bool) -> Result:
    _depth.value += 1
    try:
        with torch.enable_grad():
            variables = [_variable(leaf, keep) for leaf in leaves]
            value, aux = call(variables)
            grads = _pull_back(value, variables, create_graph=keep)
    finally:
        _depth.value -= 1
    if keep:
        return value, aux, grads
    return value.detach(), tree_map(_detach, aux), grads


def _variable(leaf: Tensor, keep: bool) -> Tensor:
    """A new differentiable tensor with the memory of `leaf`, in its graph when that is kept."""
    if leaf.is_inference():
        leaf = leaf.clone()
    if keep and leaf.requires_grad:
        return leaf.view_as(leaf)
    return leaf.detach().requires_grad_()


def _pull_back(
    value: Tensor, variables: Sequence[Tensor], create_graph: bool
) -> list[Tensor | None]:
    if not value.requires_grad:
        return [None] * len(variables)
    return list(torch.autograd.grad(value, variables, create_graph=create_graph, allow_unused=True))


def _detach(leaf: Any) -> Any:
    return leaf.detach() if isinstance(leaf, Tensor) and leaf.requires_grad else leaf


def _reverse_by_func(call: Call, leaves: Sequence[Tensor], find_unused: bool) -> Result:
    """The same through `torch.func.vjp`, which takes and returns nothing but tensors."""
    aux_leaves, aux_treedef = tree_flatten(None)
    unused = [False] * len(leaves)

    def tensors_only(*variables: Tensor) -> tuple[Tensor, list[Tensor]]:
        nonlocal aux_leaves, aux_treedef, unused
        value, aux = call(variables)
        aux_leaves, aux_treedef = tree_flatten(aux)
        if find_unused:
            unused = [g is None for g in _pull_back(value, variables, create_graph=True)]
        return value, [leaf for leaf in aux_leaves if isinstance(leaf, Tensor)]

    result: tuple[Any, ...] = torch.func.vjp(tensors_only, *leaves, has_aux=True)
    value, pull_back, aux_tensors = result
    grads = pull_back(torch.ones_like(value))
    tensors = iter(aux_tensors)
    merged = [next(tensors) if isinstance(leaf, Tensor) else leaf for leaf in aux_leaves]
    aux = tree_unflatten(aux_treedef, merged)
    return value, aux, [None if none else grad for grad, none in zip(grads, unused, strict=True)]
