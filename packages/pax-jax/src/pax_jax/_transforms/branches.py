"""`cond` and `switch` of `jax.lax`, for modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from pax_jax._module.trees import outermost_modules
from pax_jax._transforms.changes import Change, Changes, Plan, Watched, carry_out, fixed, plan_of
from pax_jax._transforms.functions import Opened, opened_all


def cond(
    pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any
) -> Any:
    """Call one of two functions; `jax.lax.cond` for modules.

    What the called branch changes in a module, be it the branch itself, the module of a method, or one of
    the operands, is assigned to the module.

    Args:
        pred: a boolean.
        true_fun: called if it is true; a function, a module or one of its methods.
        false_fun: called if it is false.
        *operands: what to call it with.

    Returns:
        What the branch returned.

    Raises:
        TypeError: the branches return different structures, shapes or dtypes, or change the structure of
            a module.
        RuntimeError: a module that changes was not made in the current scope.
        ValueError: a module that changes is given twice.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> norm, skip = pax.BatchNorm1D(1), pax.Identity()
        >>> y = pax.cond(True, norm, skip, jnp.ones((4, 1)))
        >>> norm.ema_mean
        Array([1.], dtype=float32)
    """
    select = lambda branches, *given: jax.lax.cond(pred, *branches, *given)  # noqa: E731
    return _select(select, (true_fun, false_fun), operands, "cond")


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """Call one of several functions; `jax.lax.switch` for modules.

    Args:
        index: an integer, the number of the branch; the nearest one if there is none of that number.
        branches: functions, modules or their methods.
        *operands: what to call the branch with; else as `cond`.

    Returns:
        What the branch returned.

    Raises:
        TypeError: as `cond`.
        RuntimeError: as `cond`.
        ValueError: as `cond`.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> experts = [pax.Linear(2, 3) for _ in range(4)]
        >>> pax.switch(2, experts, jnp.ones((1, 2))).shape
        (1, 3)
    """
    select = lambda branches, *given: jax.lax.switch(index, branches, *given)  # noqa: E731
    return _select(select, branches, operands, "switch")


def _select(
    select: Callable[..., Any], funs: Sequence[Any], operands: tuple[Any, ...], name: str
) -> Any:
    functions, owners = opened_all(funs)
    modules = outermost_modules((operands, owners))
    if not modules:
        return select(funs, *operands)
    plans = [
        fixed(plan_of(_plan_of(function), operands, owners), modules, name)
        for function in functions
    ]
    plan = _united(plans)
    branches = [_with_values_of(function, plan) for function in functions]
    result, values = select(branches, operands, owners)
    carry_out((operands, owners), Changes(plan, values))
    return result


def _plan_of(function: Opened) -> Callable[..., Plan]:
    def found(operands: Any, owners: Any) -> Plan:
        watched = Watched((operands, owners))
        return watched.changes(function(owners, operands, {})).plan

    return found


def _with_values_of(function: Opened, plan: Plan) -> Callable[..., tuple[Any, list[Any]]]:
    def branch(operands: Any, owners: Any) -> tuple[Any, list[Any]]:
        watched = Watched((operands, owners))
        result = function(owners, operands, {})
        return result, watched.values(plan)

    return branch


def _united(plans: Sequence[Plan]) -> Plan:
    """Return the leaves that one of the branches changes, for each module."""
    return tuple(
        Change(tuple(sorted({place for change in changes for place in change.places})))
        for changes in zip(*plans, strict=True)
    )
