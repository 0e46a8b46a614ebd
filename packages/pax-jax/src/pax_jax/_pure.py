"""Calls that leave their arguments alone and return the changed copies."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from pax_jax._kinds import is_module
from pax_jax._trees import copy_tree

T = TypeVar("T")


def pure(fun: Callable[..., T]) -> Callable[..., T]:
    """Make a function without side effects on modules: it is called with copies of its arguments.

    Args:
        fun: a function that may change the modules it is given.

    Returns:
        A function of the same arguments; return from `fun` the modules whose changes are to be kept.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> @jax.jit
        ... @pax.pure
        ... def normalise(norm, x):
        ...     y = norm(x)
        ...     return y, norm
        >>> norm = pax.BatchNorm1D(1)
        >>> y, norm = normalise(norm, jnp.ones((4, 1)))
        >>> norm.ema_mean
        Array([1.], dtype=float32)
    """

    @functools.wraps(fun, updated=())
    def wrapper(*args: Any, **kwargs: Any) -> T:
        args, kwargs = copy_tree((args, kwargs))
        return fun(*args, **kwargs)

    return wrapper


def purecall(module: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Call a copy of `module`.

    Args:
        module: a module that can be called.
        *args: what to call it with.
        **kwargs: the same.

    Returns:
        The changed copy, and its output.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> norm, y = pax.purecall(pax.BatchNorm1D(1), jnp.ones((4, 1)))
        >>> norm.ema_mean
        Array([1.], dtype=float32)
    """
    return module_and_value(module)(*args, **kwargs)


def module_and_value(module_or_method: Any) -> Callable[..., tuple[Any, Any]]:
    """Make a function that calls a copy of a module, or of a method's module, and returns both.

    Args:
        module_or_method: a module that can be called, or a bound method of a module.

    Returns:
        A function of the same arguments that returns the changed copy and the output.

    Raises:
        TypeError: `module_or_method` is neither.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> norm = pax.BatchNorm1D(1)
        >>> norm, y = pax.module_and_value(norm.__call__)(jnp.ones((4, 1)))
        >>> norm.ema_mean
        Array([1.], dtype=float32)
    """
    module, function = _module_and_function(module_or_method)

    def wrapper(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        copy, args, kwargs = copy_tree((module, args, kwargs))
        value = function(copy, *args, **kwargs)
        return copy, value

    return wrapper


def _module_and_function(module_or_method: Any) -> tuple[Any, Callable[..., Any]]:
    if is_module(module_or_method) and callable(module_or_method):
        return module_or_method, type(module_or_method).__call__
    owner = getattr(module_or_method, "__self__", None)
    if is_module(owner):
        return owner, module_or_method.__func__
    raise TypeError(
        "Expected a module that can be called or a bound method of a module, "
        f"got {module_or_method!r} of type {type(module_or_method).__name__}."
    )
