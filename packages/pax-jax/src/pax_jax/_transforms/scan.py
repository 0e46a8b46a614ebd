"""`jax.lax.scan`, also over the second axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

C = TypeVar("C")


def scan(
    func: Callable[[C, Any], tuple[C, Any]],
    init: C,
    xs: Any,
    length: int | None = None,
    unroll: int | bool = 1,
    time_major: bool = True,
) -> tuple[C, Any]:
    """Run `func` over the slices of `xs`, carrying a state; as `jax.lax.scan`.

    Args:
        func: from the carry and a slice of `xs` to the new carry and an output.
        init: the first carry, such as a module, which `func` may change.
        xs: a pytree of arrays `(time, ...)`, or `None`.
        length: the number of steps, where `xs` does not say it.
        unroll: how many steps to unroll into one iteration of the loop.
        time_major: with `False` the arrays of `xs` and of the outputs are `(batch, time, ...)`.

    Returns:
        The last carry, and the outputs, stacked along the time axis.

    Raises:
        ValueError: with `time_major=False` an array has no second axis.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> add = lambda total, x: (total + x, total + x)
        >>> total, sums = pax.scan(add, jnp.zeros(1), jnp.array([[1.0, 2.0, 3.0]]), time_major=False)
        >>> sums
        Array([[1., 3., 6.]], dtype=float32)
    """
    if time_major:
        return jax.lax.scan(func, init, xs, length=length, unroll=unroll)
    xs = jax.tree.map(lambda leaf: _swapped("xs", leaf), xs)
    carry, ys = jax.lax.scan(func, init, xs, length=length, unroll=unroll)
    return carry, jax.tree.map(lambda leaf: _swapped("the outputs", leaf), ys)


def _swapped(what: str, leaf: Any) -> jax.Array:
    if jnp.ndim(leaf) < 2:
        raise ValueError(
            f"scan(..., time_major=False) expects {what} of shape (batch, time, ...), "
            f"got an array of shape {jnp.shape(leaf)}."
        )
    return jnp.swapaxes(leaf, 0, 1)
