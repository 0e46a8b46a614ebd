"""`cond` and `switch`: one of several functions, by the value of a tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._autodiff.flatten_fun import to_tensors
from pax_torch._compat import without_recording
from pax_torch._errors import check_callable, describe, leaf_place
from pax_torch.lax._operators import can_be_operators, choose
from pax_torch.lax._predicates import has_value, integer, scalar, truth, where_chosen
from pax_torch.lax._types import Results
from pax_tree import tree_flatten, tree_leaves, tree_unflatten


def cond(
    pred: Any,
    true_fun: Callable[..., Any],
    false_fun: Callable[..., Any],
    *operands: Any,
    operand: Any = ...,
) -> Any:
    """Call one of two functions.

    Only the function that is chosen runs. Inside `vmap`, where the choice may differ from example to
    example, both run on all of them.

    Args:
        pred: a scalar; numbers other than zero are true.
        true_fun: takes the operands and returns a pytree of tensors, arrays and numbers.
        false_fun: likewise; what both return has one structure, and the same shapes and dtypes.
        *operands: pytrees of tensors, arrays and numbers, which all become tensors.
        operand: the only operand by name, as in older programs of JAX.

    Returns:
        What the function that was chosen returns, with tensors as leaves.

    Raises:
        TypeError: `pred` is no scalar, or a leaf is no tensor, array or number; operands are given in
            both ways; both functions run, and what they return differs in structure, shape or dtype.

    Example:
        >>> import torch, pax_torch
        >>> pax_torch.lax.cond(torch.tensor(True), lambda x: x + 1, lambda x: x - 1, 1.0)
        tensor(2.)

    The API is that of `jax.lax.cond`.
    """
    check_callable(true_fun, "cond")
    check_callable(false_fun, "cond")
    if operand is not ...:
        if operands:
            raise TypeError("cond takes operands by position or one by operand=, got both.")
        operands = (operand,)
    predicate = truth(pred, "cond")
    names = ["what true_fun returns", "what false_fun returns"]
    # Index 0 is the function for true.
    index = ~predicate if isinstance(pred, Tensor) else int(not pred)
    return _choose(index, [true_fun, false_fun], names, operands, "cond")


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """Call one of several functions.

    Only the function that is chosen runs. Inside `vmap`, where the choice may differ from example to
    example, all of them run on all examples.

    Args:
        index: a scalar of an integer dtype; below 0 it counts as 0, beyond the last function as that.
        branches: functions of the operands, as for `cond`.
        *operands: pytrees of tensors, arrays and numbers, which all become tensors.

    Returns:
        What the function that was chosen returns, with tensors as leaves.

    Raises:
        TypeError: `index` is no scalar of integers, or a leaf is no tensor, array or number; all
            functions run, and what they return differs in structure, shape or dtype.
        ValueError: there are no functions.

    Example:
        >>> import torch, pax_torch
        >>> pax_torch.lax.switch(7, [lambda x: x, lambda x: -x], torch.tensor(2.0))
        tensor(-2.)

    The API is that of `jax.lax.switch`.
    """
    branches = list(branches)
    if not branches:
        raise ValueError("switch needs at least one function in branches, got none.")
    for branch in branches:
        check_callable(branch, "switch")
    number = scalar(index, "switch: index")
    if number.is_floating_point() or number.is_complex() or number.dtype == torch.bool:
        raise TypeError(f"switch: index must be an integer, got {describe(index)}.")
    names = [f"what branch {i} returns" for i in range(len(branches))]
    last = len(branches) - 1
    chosen = number.clamp(0, last) if isinstance(index, Tensor) else min(max(int(index), 0), last)
    return _choose(chosen, branches, names, operands, "switch")


def _choose(
    index: Tensor | int,
    branches: Sequence[Callable[..., Any]],
    names: Sequence[str],
    operands: tuple[Any, ...],
    name: str,
) -> Any:
    """Return what the branch at an index in range returns."""
    leaves, treedef = tree_flatten(operands)
    tensors = to_tensors(leaves, lambda i: f"{name}: {leaf_place(operands, i, 'operands')}")
    operands = tree_unflatten(treedef, tensors)
    if isinstance(index, Tensor) and len(branches) > 1 and not has_value(index):
        if can_be_operators(index, *tensors):
            found = _operator(index, branches, names, operands, name)
            if found is not None:
                return found
        found = [
            branch(*tree_unflatten(treedef, where_chosen(index == i, tensors)))
            for i, branch in enumerate(branches)
        ]
        return _select(index, found, names, name)
    if len(branches) == 1:
        index = 0
    chosen = integer(index) if isinstance(index, Tensor) else index
    result = branches[chosen](*operands)
    leaves, treedef = tree_flatten(result)
    place = names[chosen]
    return tree_unflatten(
        treedef, to_tensors(leaves, lambda i: f"{name}: {leaf_place(result, i, place)}")
    )


def _operator(
    index: Tensor,
    branches: Sequence[Callable[..., Any]],
    names: Sequence[str],
    operands: Any,
    name: str,
) -> Any:
    """Do what `_choose` does by operators of PyTorch; None where they cannot."""
    tensors, treedef = tree_flatten(operands)
    with without_recording():
        given = tree_unflatten(treedef, [torch.empty_like(x) for x in tensors])
        model = Results([branch(*given) for branch in branches], names, name)
    types = [x.dtype for x in model.rows[0]]

    def flat(branch: Callable[..., Any]) -> Callable[..., list[Tensor]]:
        def call(_: Tensor, *xs: Tensor) -> list[Tensor]:
            leaves = tree_leaves(branch(*tree_unflatten(treedef, xs)))
            return [x.to(t) for x, t in zip(to_tensors(leaves, str), types, strict=True)]

        return call

    def one_from(first: int) -> Callable[..., Any]:
        """Return the function for an index that is at least so much."""
        if first == len(branches) - 1:
            return flat(branches[first])
        pair = [flat(branches[first]), one_from(first + 1)]
        return lambda index, *xs: choose(index <= first, pair, (index, *xs))

    found = one_from(0)(index, *tensors)
    return None if found is None else tree_unflatten(model.treedef, found)


def _select(index: Tensor, found: Sequence[Any], names: Sequence[str], name: str) -> Any:
    """Return for each example the result of the branch that its index says."""
    results = Results(found, names, name)
    selected = results.rows[-1]
    for i in reversed(range(len(found) - 1)):
        row = results.rows[i]
        selected = [torch.where(index <= i, x, y) for x, y in zip(row, selected, strict=True)]
    return tree_unflatten(results.treedef, selected)
