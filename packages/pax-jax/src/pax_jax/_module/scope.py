"""Who may write to a module: only the JAX trace (or the top level) in which it was made."""

from __future__ import annotations

from typing import Any

from jax.core import Tracer

import pax_tree
from pax_jax._compat import trace_reader

_read, _TOP_LEVEL = trace_reader()
pax_tree.set_scope_hook(_read, _TOP_LEVEL)


def current_trace() -> Any:
    """Return JAX's current trace, or `None` at the top level."""
    trace = _read()
    return None if trace is _TOP_LEVEL else trace


def is_traced(value: Any) -> bool:
    """Say whether a value is known only to a running trace."""
    return isinstance(value, Tracer)


def scope_error(module: Any, name: str) -> RuntimeError:
    """Make the error of a write to `module.name` outside the scope that made `module`."""
    attribute = f"{type(module).__name__}.{name}"
    return RuntimeError(
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
