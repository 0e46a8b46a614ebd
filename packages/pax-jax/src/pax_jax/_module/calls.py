"""Calls of copies of modules: what a call changes is in the copy."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any, TypeVar

import jax

import pax_tree
from pax_jax._module.kinds import is_module
from pax_jax._module.trees import copy_tree

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

    It also decorates a method in a class body, which then returns the changed copy and the output.

    Args:
        module_or_method: a module that can be called, a bound method of a module, or a function whose
            first argument is a module.

    Returns:
        A function of the same arguments that returns the changed copy and the output.

    Raises:
        TypeError: `module_or_method` is none of these; or, at a call of a decorated method, its first
            argument is no module.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> norm = pax.BatchNorm1D(1)
        >>> norm, y = pax.module_and_value(norm.__call__)(jnp.ones((4, 1)))
        >>> norm.ema_mean
        Array([1.], dtype=float32)
        >>> class Counter(pax.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.count = 0
        ...
        ...     @pax.module_and_value
        ...     def step(self, x):
        ...         self.count += 1
        ...         return x
        >>> counter, y = Counter().step(2.0)
        >>> counter.count, y
        (1, 2.0)
    """
    if isinstance(module_or_method, FunctionType):
        return _decorated(module_or_method)
    module, function = _module_and_function(module_or_method)

    def wrapper(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        copy, args, kwargs = copy_tree((module, args, kwargs))
        value = function(copy, *args, **kwargs)
        return copy, value

    return wrapper


def _decorated(method: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        if not is_module(self):
            raise TypeError(
                f"{method.__qualname__} is decorated with module_and_value, and expects a module as its "
                f"first argument, got {self!r} of type {type(self).__name__}."
            )
        copy, args, kwargs = copy_tree((self, args, kwargs))
        value = method(copy, *args, **kwargs)
        return copy, value

    return wrapper


def _module_and_function(module_or_method: Any) -> tuple[Any, Callable[..., Any]]:
    if is_module(module_or_method) and callable(module_or_method):
        return module_or_method, type(module_or_method).__call__
    owner = getattr(module_or_method, "__self__", None)
    if is_module(owner):
        return owner, module_or_method.__func__
    if is_module(module_or_method):
        name = type(module_or_method).__name__
        method = "step" if callable(getattr(type(module_or_method), "step", None)) else "method"
        raise TypeError(
            f"The module {name} cannot be called: its class has no __call__. Call one of its methods, "
            f"`module, value = pax_jax.module_and_value(module.{method})(...)`."
        )
    raise TypeError(
        "Expected a module that can be called or a bound method of a module, "
        f"got {module_or_method!r} of type {type(module_or_method).__name__}."
    )


@contextmanager
def mutable(module: T) -> Iterator[T]:
    """Give a copy of `module` that can be changed in the block, and that is checked at its end.

    Args:
        module: it stays as it is.

    Raises:
        ValueError: the changed copy holds an array or a module twice, or what else `scan_bugs` finds.
        TypeError: as `scan_bugs`.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> net = pax.Linear(1, 2)
        >>> with pax.mutable(net) as changed:
        ...     changed.bias = jnp.ones(2)
        >>> net.bias, changed.bias
        (Array([0., 0.], dtype=float32), Array([1., 1.], dtype=float32))
    """
    copy: Any = module.copy()  # type: ignore[attr-defined]
    yield copy
    copy.scan_bugs()


class _Phase(threading.local):
    """Whether `hk_init` is running in this thread."""

    initializing = False


phase = _Phase()


def hk_init(module: T, *args: Any, enable_jit: bool = False, **kwargs: Any) -> T:
    """Return a copy in which the converted modules have their parameters.

    Needed once, before `parameters()`, for a module that is or holds modules of `from_haiku` or
    `from_flax` that were made without an example of their inputs. Nothing else changes: neither
    counters and averages of the module nor this module itself.

    Args:
        module: this module.
        *args: an example of the module's inputs; its shapes and dtypes decide.
        enable_jit: whether to run the call under `jax.jit`.
        **kwargs: keyword arguments that go with it.

    Returns:
        The copy.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> net = pax.Sequential(pax.Linear(2, 3))
        >>> net.hk_init(jnp.ones((1, 2))) == net  # nothing was to be made
        True
    """

    def run(module: Any, args: Any, kwargs: Any) -> Any:
        module = copy_tree(module)
        before, phase.initializing = phase.initializing, True
        try:
            module(*args, **kwargs)
        finally:
            phase.initializing = before
        return module

    made = (jax.jit(run) if enable_jit else run)(module, args, kwargs)
    return _with_leaves_of(module, made)


def _with_leaves_of(before: Any, after: Any) -> Any:
    """Return `after` with the leaves that stand in `before` at the same paths."""
    known = {tuple(path): leaf for path, leaf in pax_tree.tree_leaves_with_path(before)}
    leaves, treedef = pax_tree.tree_flatten_with_path(after)
    kept = [known.get(tuple(path), leaf) for path, leaf in leaves]
    return pax_tree.tree_unflatten(treedef, kept)
