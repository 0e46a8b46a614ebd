"""Who may write to a module: only the JAX trace (or the top level) in which it was made."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import jax
from jax.core import Tracer

import pax_tree
from pax_jax._compat import is_staging, rebuilders, trace_reader
from pax_tree._C import _set_rebuilders

# The folders of this package and of pax_tree.
_OWN = str(Path(__file__).parents[1]), str(Path(pax_tree.__file__).parent)

_read, _TOP_LEVEL = trace_reader()
pax_tree.set_scope_hook(_read, _TOP_LEVEL)
if (_rebuilders := rebuilders()) is not None:
    _set_rebuilders(*_rebuilders)


class LostChangeWarning(UserWarning):
    """A module was changed inside a JAX transformation that had rebuilt it, and did not come back.

    Example:
        >>> import warnings
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> net, x = pax.Dropout(0.5), jnp.ones(3)
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     y = jax.checkpoint(lambda net, x: net(x))(net, x)
        >>> caught[0].category.__name__
        'LostChangeWarning'
        >>> y = pax.remat(net)(x)  # gives the net its next random key
    """


class ScopeError(RuntimeError, ValueError):
    """A module is changed in a JAX transformation that neither made nor copied it.

    Example:
        >>> import jax
        >>> import pax_jax as pax
        >>> net = pax.Linear(2, 2)
        >>> @jax.jit
        ... def change(x):
        ...     net.bias = x
        >>> change(net.bias)
        Traceback (most recent call last):
        pax_jax.ScopeError: Cannot set Linear.bias here: this module was not made in the current JAX...
    """

    __module__ = "pax_jax"


def warn_of_loss(cls: type, name: str) -> None:
    """Say that `name` was changed in a module of this class, and that nobody has got the change."""
    warnings.warn(
        f"{cls.__name__}.{name} was changed inside a JAX transformation or callback, in a module that JAX "
        "had rebuilt for it and that did not come back: the change is lost. Return the module, or use the "
        "transformation of pax_jax (pax_jax.remat for jax.checkpoint, pax_jax.jit, vmap, scan, cond, "
        "...), which assigns changes to the caller's module. In evaluation mode layers do not change.",
        LostChangeWarning,
        stacklevel=3,
    )


def is_staged() -> bool:
    """Say whether what is read now stays in a program that JAX keeps, as a constant."""
    return is_staging(_read())


def forget_programs(cls: type, name: str) -> None:
    """Have JAX trace again what it has traced, for one of the programs has an old value.

    Args:
        cls: the class of a module that a traced function has read as one of its variables.
        name: what has changed in it.
    """
    jax.clear_caches()
    warnings.warn(
        f"{cls.__name__}.{name} has changed, and a function that JAX has compiled reads this module as "
        "a constant (a closure, a bound method): all functions are compiled again, so that none has "
        "the old value. Programs that were compiled ahead of time keep it. Give the module as an "
        "argument, `jax.jit(lambda net, x: net(x))(net, x)`, or give the module or its method to "
        "`pax_jax.jit`, which takes it for one.",
        RuntimeWarning,
        stacklevel=_own_frames() + 2,
    )


def _own_frames() -> int:
    """Return how many frames of this package and of those below stand between the caller and its user."""
    frame, count = inspect.currentframe(), -2
    while frame is not None and frame.f_code.co_filename.startswith(_OWN):
        frame, count = frame.f_back, count + 1
    return count


def current_trace() -> Any:
    """Return JAX's current trace, or `None` at the top level."""
    trace = _read()
    return None if trace is _TOP_LEVEL else trace


def is_traced(value: Any) -> bool:
    """Say whether a value is known only to a running trace."""
    return isinstance(value, Tracer)


def scope_error(module: Any, name: str) -> ScopeError:
    """Make the error of a write to `module.name` outside the scope that made `module`."""
    attribute = f"{type(module).__name__}.{name}"
    return ScopeError(
        f"Cannot set {attribute} here: this module was not made in the current JAX transformation, "
        "so the change would be lost or would leak a tracer. This usually occurs when a function "
        "under jax.jit, jax.grad or jax.vmap captures the module, or is given it as an argument "
        "that JAX passes on untouched. Take a copy first (`model = model.update(params)`, "
        "`model.copy()`, `model % inputs` or `pax_jax.pure`), change the copy and return it."
    )


def unhashable(module: Any) -> TypeError:
    """Make the error of a module that is asked for its hash."""
    name = type(module).__name__
    return TypeError(
        f"A module, here a {name}, is not hashable: it is data, and may change. JAX takes hashable "
        "things for constants (static arguments, functions), and would answer with what the module "
        "held once. Pass it as an argument, `jax.jit(lambda net, x: net(x))(net, x)`, or use the "
        "transformation of pax_jax of the same name, which takes a module as a function: "
        "`pax_jax.jit(net)(x)`."
    )
