"""`scan`, `map`, `while_loop` and `fori_loop` of `jax.lax`, for modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from pax_jax._module.trees import copy_tree, outermost_modules
from pax_jax._transforms.changes import (
    Changes,
    Plan,
    Watched,
    carry_out,
    fixed,
    plan_of,
    with_values,
)
from pax_jax._transforms.functions import Opened, opened, opened_all

C = TypeVar("C")


def scan(
    f: Callable[[C, Any], tuple[C, Any]],
    init: C,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    *,
    time_major: bool = True,
) -> tuple[C, Any]:
    """Run `f` over the slices of `xs`, carrying a state; `jax.lax.scan` for modules.

    A module in `init` is part of the state, and comes back in it. What `f` changes in modules of `xs`
    (stacked layers, say), or in the module that `f` itself is or is a method of, is assigned to them.

    Args:
        f: from the carry and a slice of `xs` to the new carry and an output; a function, a module or one
            of its methods.
        init: the first carry, such as a module, which `f` may change.
        xs: a pytree of arrays `(time, ...)`, or `None`.
        length: the number of steps, where `xs` does not say it.
        reverse: whether to begin with the last slice.
        unroll: how many steps to unroll into one iteration of the loop.
        time_major: with `False` the arrays of `xs` and of the outputs are `(batch, time, ...)`.

    Returns:
        The last carry, and the outputs, stacked along the time axis.

    Raises:
        ValueError: with `time_major=False` an array has no second axis.
        TypeError: a module that is not in the carry changes its structure.
        RuntimeError: a module that changes was not made in the current scope.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> add = lambda total, x: (total + x, total + x)
        >>> total, sums = pax.scan(add, jnp.zeros(1), jnp.array([[1.0, 2.0, 3.0]]), time_major=False)
        >>> sums
        Array([[1., 3., 6.]], dtype=float32)
        >>> gru = pax.GRU(3, 2)
        >>> state, ys = pax.scan(gru, gru.initial_state(4), jnp.ones((5, 4, 3)))
        >>> ys.shape
        (5, 4, 2)
    """
    options = {"length": length, "reverse": reverse, "unroll": unroll}
    function, owners = opened(f)
    slices = xs if time_major else _turned("xs", xs)
    if owners or outermost_modules(xs):
        carry, ys, changes = _scan(function, owners, init, slices, options)
        values = changes.values if time_major else _turned("a module of xs", changes.values)
        carry_out(xs, Changes(changes.plan, values))
    else:
        carry, ys = jax.lax.scan(f, init, slices, **options)
    return carry, ys if time_major else _turned("the outputs", ys)


def _turned(what: str, tree: Any) -> Any:
    return jax.tree.map(lambda leaf: _swapped(what, leaf), tree)


def _swapped(what: str, leaf: Any) -> jax.Array:
    if jnp.ndim(leaf) < 2:
        raise ValueError(
            f"scan(..., time_major=False) expects {what} of shape (batch, time, ...), "
            f"got an array of shape {jnp.shape(leaf)}."
        )
    return jnp.swapaxes(leaf, 0, 1)


def _scan(
    function: Opened, owners: tuple[Any, ...], init: Any, xs: Any, options: dict[str, Any]
) -> tuple[Any, Any, Changes]:
    """Scan with the changes of owners in the carry; return the changes of the slices' modules."""
    first = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), xs)

    def found(carry: Any, x: Any, owners: Any) -> Plan:
        watched = Watched(owners), Watched(x)
        result = function(owners, (carry, x), {})
        return watched[0].changes(()).plan + watched[1].changes(result).plan

    count, whole = len(outermost_modules(owners)), outermost_modules((owners, xs))
    plan = fixed(plan_of(found, init, first, owners), whole, "scan")
    plans = plan[:count], plan[count:]
    constant = copy_tree(owners)  # the loop reads this one, not the caller's

    def step(state: Any, x: Any) -> Any:
        carry, own = state[0], with_values(constant, plans[0], state[1])
        watched = Watched(own), Watched(x)
        carry, y = function(own, (carry, x), {})
        return (carry, watched[0].values(plans[0])), (y, watched[1].values(plans[1]))

    start = init, Watched(owners).values(plans[0])
    (carry, last), (ys, values) = jax.lax.scan(step, start, xs, **options)
    carry_out(owners, Changes(plans[0], last))
    return carry, ys, Changes(plans[1], values)


def map(f: Callable[..., Any], xs: Any) -> Any:
    """Call `f` with one slice of `xs` after the other; `jax.lax.map` for modules.

    Args:
        f: a function, a module or one of its methods, of a slice; what it changes in modules is assigned
            to them, as by `scan`.
        xs: a pytree of arrays, whose first axes are of one size.

    Returns:
        The outputs, stacked.

    Raises:
        TypeError: a module changes its structure.
        RuntimeError: a module that changes was not made in the current scope.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.map(pax.Linear(2, 3), jnp.ones((5, 4, 2))).shape
        (5, 4, 3)
    """
    function, owners = opened(f)
    if not owners and not outermost_modules(xs):
        return jax.lax.map(f, xs)

    def step(owners: Any, args: tuple[Any, Any], kwargs: Any) -> tuple[Any, Any]:
        return (), function(owners, args[1:], kwargs)

    _, ys, changes = _scan(step, owners, (), xs, {})
    carry_out(xs, changes)
    return ys


def while_loop(cond_fun: Callable[[C], Any], body_fun: Callable[[C], C], init_val: C) -> C:
    """Call `body_fun` while `cond_fun` is true; `jax.lax.while_loop` for modules.

    A module in `init_val` is part of the state, and comes back in it. What `body_fun` changes in the
    module that it is, or is a method of, is assigned to it.

    Args:
        cond_fun: from the state to a boolean; a function, a module or one of its methods.
        body_fun: from the state to the new state; the same.
        init_val: the first state.

    Returns:
        The last state.

    Raises:
        TypeError: `cond_fun` changes a module, or `body_fun` the structure of its own.
        RuntimeError: a module that changes was not made in the current scope.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> def step(state):
        ...     dropout, x = state
        ...     return dropout, dropout(x)
        >>> dropout, x = pax.while_loop(
        ...     lambda state: state[1].sum() > 4.0, step, (pax.Dropout(0.5), jnp.ones(8))
        ... )
        >>> bool(x.sum() > 4.0)
        False
    """
    (condition, body), owners = opened_all((cond_fun, body_fun))
    if not owners and not outermost_modules(init_val):
        return jax.lax.while_loop(cond_fun, body_fun, init_val)
    plan = _state_of(body, owners, (init_val,), "while_loop")
    _check_condition(condition, owners, init_val)
    constant = copy_tree(owners)  # the loop reads this one, not the caller's

    def test(state: Any) -> Any:
        return condition(with_values(constant, plan, state[1]), (state[0],), {})

    def step(state: Any) -> Any:
        own = with_values(constant, plan, state[1])
        watched = Watched(own)
        value = body(own, (state[0],), {})
        return value, watched.values(plan)

    value, last = jax.lax.while_loop(test, step, (init_val, Watched(owners).values(plan)))
    carry_out(owners, Changes(plan, last))
    return value


def fori_loop(
    lower: Any,
    upper: Any,
    body_fun: Callable[[Any, C], C],
    init_val: C,
    *,
    unroll: int | bool | None = None,
) -> C:
    """Call `body_fun` for the numbers from `lower` up to `upper`; `jax.lax.fori_loop` for modules.

    Args:
        lower: the first number.
        upper: one more than the last.
        body_fun: from a number and the state to the new state; else as in `while_loop`.
        init_val: the first state.
        unroll: as in `jax.lax.fori_loop`.

    Returns:
        The last state.

    Raises:
        TypeError: `body_fun` changes the structure of its own module.
        RuntimeError: a module that changes was not made in the current scope.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> norm, y = pax.fori_loop(
        ...     0, 3, lambda i, s: (s[0], s[0](s[1])), (pax.BatchNorm1D(1), jnp.ones((4, 1)))
        ... )
        >>> y.shape
        (4, 1)
    """
    function, owners = opened(body_fun)
    if not owners:
        return jax.lax.fori_loop(lower, upper, body_fun, init_val, unroll=unroll)
    plan = _state_of(function, owners, (jnp.asarray(lower), init_val), "fori_loop")
    constant = copy_tree(owners)  # the loop reads this one, not the caller's

    def step(i: Any, state: Any) -> Any:
        own = with_values(constant, plan, state[1])
        watched = Watched(own)
        value = function(own, (i, state[0]), {})
        return value, watched.values(plan)

    start = init_val, Watched(owners).values(plan)
    value, last = jax.lax.fori_loop(lower, upper, step, start, unroll=unroll)
    carry_out(owners, Changes(plan, last))
    return value


def _state_of(function: Opened, owners: tuple[Any, ...], args: tuple[Any, ...], name: str) -> Plan:
    """Return which leaves of the owners one step of a loop changes."""

    def found(owners: Any, args: Any) -> Plan:
        watched = Watched(owners)
        function(owners, args, {})
        return watched.changes(()).plan

    return fixed(plan_of(found, owners, args), outermost_modules(owners), name)


def _check_condition(condition: Opened, owners: tuple[Any, ...], value: Any) -> None:
    def found(owners: Any, value: Any) -> Plan:
        watched = Watched((owners, value))
        condition(owners, (value,), {})
        return watched.changes(()).plan

    plan = plan_of(found, owners, value)
    for module, change in zip(outermost_modules((owners, value)), plan, strict=True):
        if change:
            raise TypeError(
                f"cond_fun of pax_jax.while_loop changes a {type(module).__name__}, and what a "
                "condition changes is lost. Change it in body_fun, and keep in the state what the "
                "condition is about."
            )
