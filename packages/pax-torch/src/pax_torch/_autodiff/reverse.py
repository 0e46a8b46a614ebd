"""Reverse-mode differentiation of a function of a list of tensors.

Two engines give the same result: `torch.autograd` where no `torch.func` transform is active,
and `torch.func` inside one, where autograd cannot be told to track a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._autograd import CreationMeta, _set_creation_meta
from torch.autograd.graph import _engine_run_backward

from pax_torch._autodiff.flatten_fun import FlatFunction, NonEmptyOutput
from pax_torch._autodiff.nesting import (
    detach_tree,
    detached,
    differentiation,
    forward_mode_runs,
    nested,
    normal_tensors,
    transforms_active,
)

Call = Callable[[Sequence[Tensor]], tuple[Tensor, Any]]
Result = tuple[Tensor, Any, list[Tensor | None]]


def reverse(
    call: Call, leaves: Sequence[Tensor], *, create_graph: bool, find_unused: bool
) -> Result:
    """Return value, aux and the gradient of the value for each leaf.

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
    if transforms_active():
        return _reverse_by_func(call, leaves, find_unused)
    keep = create_graph or nested()
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(False):
            return _reverse_by_autograd(call, leaves, keep)
    return _reverse_by_autograd(call, leaves, keep)


def _reverse_by_autograd(call: Call, leaves: Sequence[Tensor], keep: bool) -> Result:
    with differentiation(), torch.enable_grad():
        variables = _variables(leaves, keep)
        value, aux = call(variables)
        _let_write(variables, keep)
        grads = _pull_back(value, variables, create_graph=keep)
    if keep:
        return value, aux, grads
    return detached(value), detach_tree(aux), grads


def _variables(leaves: Sequence[Tensor], keep: bool) -> list[Tensor]:
    """Return new differentiable tensors with the memory of the leaves, in their graph when that is kept."""
    leaves = normal_tensors(leaves)
    if not keep:
        detach = detached if forward_mode_runs() else Tensor.detach
        return [detach(leaf).requires_grad_() for leaf in leaves]
    return [
        _view(leaf) if leaf.requires_grad else detached(leaf).requires_grad_() for leaf in leaves
    ]


def _view(leaf: Tensor) -> Tensor:
    """Return a view of a tensor that PyTorch refuses to write to."""
    view = leaf.view_as(leaf)
    _set_creation_meta(view, CreationMeta.MULTI_OUTPUT_NODE)
    return view


def _let_write(variables: Sequence[Tensor], keep: bool) -> None:
    """Undoes what `_view` does, for views that outlive the function that may not write to them."""
    for variable in variables if keep else ():
        if variable._is_view():
            _set_creation_meta(variable, CreationMeta.DEFAULT)


def _pull_back(
    value: Tensor, variables: Sequence[Tensor], create_graph: bool
) -> list[Tensor | None]:
    if not value.requires_grad:
        return [None] * len(variables)
    # What `torch.autograd.grad` does once it has checked its arguments, which takes it longer.
    grads = _engine_run_backward(
        (value,),
        (torch.ones_like(value),),
        create_graph,
        create_graph,
        tuple(variables),
        allow_unreachable=True,
        accumulate_grad=False,
    )
    return list(grads)


def pull_back_by_func(
    function: Callable[..., Any], points: Sequence[Tensor]
) -> tuple[tuple[Tensor, ...], Callable[..., Sequence[Tensor]], Any]:
    """Return `(out, pull_back, aux)` of a function that returns a tuple of tensors and aux tensors.

    It is `torch.func.vjp`, also for a function that returns the empty tuple.
    """
    filled = NonEmptyOutput(function)
    result: Any = torch.func.vjp(filled, *points, has_aux=True)
    if filled.empty:
        return (), lambda _: tuple(map(torch.zeros_like, points)), result[2]
    return result


def _reverse_by_func(call: Call, leaves: Sequence[Tensor], find_unused: bool) -> Result:
    unused = [False] * len(leaves)

    def call_and_see(variables: Sequence[Tensor]) -> tuple[Tensor, Any]:
        nonlocal unused
        value, aux = call(variables)
        if find_unused:
            unused = [g is None for g in _pull_back(value, variables, create_graph=True)]
        return value, aux

    flat = FlatFunction(call_and_see, True, "grad")
    result: tuple[Any, ...] = torch.func.vjp(flat, *leaves, has_aux=True)
    (value,), pull_back, rest = result
    grads = pull_back((torch.ones_like(value),))
    return (
        value,
        flat.aux(rest),
        [None if none else g for g, none in zip(grads, unused, strict=True)],
    )
