"""`fori_loop` and `while_loop`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pax_torch._compat import is_mapped_anywhere, is_recorded, transforms_active
from pax_torch._errors import check_callable, describe
from pax_torch.lax._operators import (
    can_be_mapped,
    can_be_operators,
    can_be_repeated,
    repeat,
    repeat_compiled,
    repeat_mapped,
)
from pax_torch.lax._predicates import (
    has_value,
    holds_for_any,
    integer,
    is_known,
    loop_predicate,
    scalar,
    where_chosen,
)
from pax_torch.lax._scan import Integers, check_unroll, run_scan, warn_of_many
from pax_torch.lax._types import Carry

_AFTER = "what body_fun returns"


def while_loop(
    cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any
) -> Any:
    """Apply a function again and again, as long as a condition holds.

    Inside `vmap` each example has its own number of steps: the body runs on all examples while the
    condition holds for any, and leaves those for which it does not as they are.

    Args:
        cond_fun: takes the value and returns a boolean scalar.
        body_fun: takes the value and returns the next, of the same structure, shapes and dtypes.
        init_val: the first value, a pytree of tensors, arrays and numbers. The dtype of a Python
            number is that which the first step gives it.

    Returns:
        The first value for which the condition does not hold.

    Raises:
        TypeError: the value changes its structure, or a leaf of it its shape or dtype; the condition
            is no boolean scalar; a leaf is no tensor, array or number.

    Example:
        >>> import torch, pax_torch
        >>> pax_torch.lax.while_loop(lambda x: x < 100, lambda x: 2 * x, torch.tensor(3))
        tensor(192)

    The API is that of `jax.lax.while_loop`.
    """
    check_callable(cond_fun, "while_loop")
    check_callable(body_fun, "while_loop")
    return _while(cond_fun, body_fun, Carry(init_val, "while_loop", "init_val", _AFTER))


def _while(cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], carry: Carry) -> Any:
    mapped, compiled = can_be_mapped(), can_be_repeated(*carry.init)
    if mapped or compiled or can_be_operators(*carry.init):
        carry.settle(body_fun)
        if not compiled and not is_recorded():  # the types are all that is asked for
            return carry.tree(carry.take(body_fun(carry.tree(carry.init))))
        loop = repeat_mapped if mapped else repeat_compiled if compiled else repeat
        found = loop(
            lambda *xs: [loop_predicate(cond_fun(carry.tree(xs)))],
            lambda *xs: carry.take(body_fun(carry.tree(xs))),
            carry.init,
        )
        if found is not None:
            return carry.tree(found)
    tensors, first = carry.init, True
    while True:
        predicate = loop_predicate(cond_fun(carry.tree(tensors)))
        if not is_known(predicate) or (torch.compiler.is_compiling() and transforms_active()):
            raise TypeError(
                f"{carry.name} in jit and torch.compile is one operator of PyTorch, which has no "
                "derivative; take the derivative outside of them, or use a fori_loop from one number "
                "to another."
            )
        if not holds_for_any(predicate):
            return carry.tree(tensors)
        mapped = is_mapped_anywhere(predicate)
        given = where_chosen(predicate, tensors) if mapped else tensors
        after = body_fun(carry.tree(given))
        taken = carry.take_first(after) if first else carry.take(after)
        first = False
        if taken is None:
            tensors = carry.init
            given = where_chosen(predicate, tensors) if mapped else tensors
            taken = carry.take(body_fun(carry.tree(given)))
        if mapped:
            taken = [
                torch.where(predicate, new, old) for new, old in zip(taken, tensors, strict=True)
            ]
        tensors = taken


def fori_loop(
    lower: Any,
    upper: Any,
    body_fun: Callable[[Any, Any], Any],
    init_val: Any,
    *,
    unroll: int | bool | None = None,
) -> Any:
    """Apply a function for every integer of a range.

    Args:
        lower: the first integer; a number, or a tensor that `vmap` may map over.
        upper: the integer after the last, likewise.
        body_fun: takes the integer, a tensor, and the value, and returns the next value, of the same
            structure, shapes and dtypes.
        init_val: the first value, a pytree of tensors, arrays and numbers.
        unroll: as for `scan`; only where the range is known when the function is compiled.

    Returns:
        The last value.

    Raises:
        TypeError: an end of the range is no integer, or the two have different dtypes; the value
            changes its structure, or a leaf of it its shape or dtype.
        ValueError: `unroll` is no positive integer, or the range is not known.

    Example:
        >>> import torch, pax_torch
        >>> pax_torch.lax.fori_loop(1, 4, lambda i, x: x * i, torch.tensor(1.0))
        tensor(6.)

    The API is that of `jax.lax.fori_loop`.
    """
    check_callable(body_fun, "fori_loop")
    if unroll is not None:
        check_unroll(unroll, "fori_loop")
    low, high = _ends(lower, upper)
    carry = Carry(init_val, "fori_loop", "init_val", _AFTER)
    known = isinstance(lower, int) and isinstance(upper, int)
    if not (known or (has_value(low) and has_value(high))):
        if unroll is not None:
            raise ValueError("fori_loop takes unroll only where the range is known.")
        return _while_in_range(low, high, body_fun, init_val)
    first, last = (lower, upper) if known else (integer(low), integer(high))
    integers = Integers(range(first, last), low)
    if unroll is not True:
        warn_of_many(
            integers,
            "fori_loop",
            "give its end as a tensor, or use scan; unroll=True asks for this",
        )
    return run_scan(lambda value, i: (body_fun(i, value), None), carry, integers, False)[0]


def _while_in_range(
    low: Tensor, high: Tensor, body_fun: Callable[[Any, Any], Any], init_val: Any
) -> Any:
    carry = Carry((low, init_val), "fori_loop", "(lower, init_val)", f"(i, {_AFTER})")
    result = _while(
        lambda state: state[0] < high,
        lambda state: (state[0] + 1, body_fun(state[0], state[1])),
        carry,
    )
    return result[1]


def _ends(lower: Any, upper: Any) -> tuple[Tensor, Tensor]:
    """Return the ends of a range as tensors of one dtype of integers."""
    low, high = scalar(lower, "fori_loop: lower"), scalar(upper, "fori_loop: upper")
    for end, given, name in ((low, lower, "lower"), (high, upper, "upper")):
        if end.is_floating_point() or end.is_complex() or end.dtype == torch.bool:
            raise TypeError(f"fori_loop: {name} must be an integer, got {describe(given)}.")
    if isinstance(lower, int):
        return low.to(high), high
    if isinstance(upper, int):
        return low, high.to(low)
    if low.dtype != high.dtype:
        raise TypeError(
            f"fori_loop: lower and upper must have one dtype, got {low.dtype} and {high.dtype}."
        )
    return low, high
