"""`jax.checkpoint` for modules."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax

from pax_jax._transforms.changes import Changes, Watched, carry_out
from pax_jax._transforms.functions import Opened, closed, opened
from pax_tree._static_args import Static, StaticArguments


def remat(
    fun: Callable[..., Any] | None = None,
    *,
    prevent_cse: bool = True,
    policy: Callable[..., bool] | None = None,
    static_argnums: int | Sequence[int] = (),
) -> Callable[..., Any]:
    """Make a function that is computed again in the backward pass; `jax.checkpoint` for modules.

    What `fun` changes in the modules that it is given, such as averages and random keys, is assigned to
    the caller's modules, unless they come back in the result.

    Args:
        fun: a function of pytrees of modules and arrays, a module or one of its methods.
        prevent_cse: as in `jax.checkpoint`; `False` is faster inside `scan`.
        policy: which intermediate values are kept, such as one of `jax.checkpoint_policies`.
        static_argnums: numbers of arguments that are constants, hashable.

    Returns:
        A function of the same arguments.

    Raises:
        RuntimeError: at a call, a module that changes was not made in the current scope.
        ValueError: at a call, a static argument is not hashable, or a module that changes is given twice.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> norm = pax.BatchNorm1D(1)
        >>> y = pax.remat(norm)(jnp.ones((4, 1)))
        >>> norm.ema_mean
        Array([1.], dtype=float32)
    """
    if fun is None:
        return functools.partial(
            remat, prevent_cse=prevent_cse, policy=policy, static_argnums=static_argnums
        )
    function, owners = opened(fun)
    static = StaticArguments(fun, static_argnums, (), "remat")
    known: dict[Static, Any] = {}

    def call(owners: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs, constants = static.split(args, kwargs)
        given = (args, kwargs, owners)
        program = known.get(constants)
        if program is None:
            watched = _watched(function, constants)
            program = jax.checkpoint(watched, prevent_cse=prevent_cse, policy=policy)
            program = known.setdefault(constants, program)
        result, changes = program(*given)
        carry_out(given, changes)
        return result

    return closed(fun, call, owners)


def _watched(function: Opened, constants: Static) -> Callable[..., tuple[Any, Changes]]:
    def call(args: Any, kwargs: Any, owners: Any) -> tuple[Any, Changes]:
        watched = Watched((args, kwargs, owners))
        result = function(owners, *constants.join(args, kwargs))
        return result, watched.changes(result)

    return call
