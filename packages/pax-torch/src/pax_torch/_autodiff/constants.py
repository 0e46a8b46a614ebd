"""The tensors among the arguments of a function that are not differentiated, where it writes to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._autodiff.flatten_fun import holds_residuals
from pax_torch._compat import current_level, level_of, transforms_active, wrap_constant
from pax_tree import tree_leaves, tree_map


def call_with_constants(
    fun: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    variables: Sequence[Tensor],
) -> Any:
    """Call `fun`, which may write to any tensor among its arguments.

    A derivative of `torch.func` refuses writes to tensors that it does not know, or passes over them:
    the constants are made known to it.

    Args:
        fun: the function.
        args: its positional arguments.
        kwargs: its keyword arguments.
        variables: the tensors that are being differentiated.

    Raises:
        RuntimeError: `fun` changes a dict, list or other container of tensors among its arguments.
    """
    if not variables or torch.compiler.is_compiling() or not transforms_active():
        return fun(*args, **kwargs)
    level = level_of(variables[0])
    if level != current_level():
        return fun(*args, **kwargs)
    seen: list[tuple[Any, list[Any]]] = []

    def known(leaf: Any) -> Any:
        is_constant = isinstance(leaf, Tensor) and level_of(leaf) != level
        return wrap_constant(leaf, level) if is_constant else leaf

    def argument(value: Any) -> Any:
        if isinstance(value, Tensor):
            return known(value)
        leaves = tree_leaves(value, holds_residuals)
        if not any(isinstance(x, Tensor) and level_of(x) != level for x in leaves):
            return value
        copy = tree_map(known, value, is_leaf=holds_residuals)
        seen.append((copy, tree_leaves(copy, holds_residuals)))
        return copy

    out = fun(*map(argument, args), **{name: argument(x) for name, x in kwargs.items()})
    for copy, leaves in seen:
        _check_unchanged(copy, leaves)
    return out


def _check_unchanged(tree: Any, leaves: list[Any]) -> None:
    found = tree_leaves(tree, holds_residuals)
    if len(found) != len(leaves) or any(x is not y for x, y in zip(found, leaves, strict=True)):
        raise RuntimeError(
            f"The function changes a {type(tree).__name__} of tensors among its arguments, where "
            "torch.func takes the derivative and such a change would be lost; return the new values "
            "with has_aux=True, or write to the tensors themselves."
        )
