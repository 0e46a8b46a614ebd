"""Who may write to a module: only the JAX trace (or the top level) in which it was made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax._src import core  # the current trace has no public name

import pax_tree


def current_trace() -> Any:
    """Return JAX's current trace, or `None` at the top level."""
    trace = core.trace_ctx.trace
    return None if trace is core.eval_trace else trace


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


def _hook() -> tuple[Callable[[], Any], Any]:
    """Return JAX's own function that `trace_ctx.trace` reads the trace with, and its top level.

    It is called for every module that is made, and costs a fraction of `current_trace`.
    """
    state = getattr(core, "trace_state_strong_ref", None)
    getter = getattr(getattr(type(state), "value", None), "fget", None)
    if getter is None or getter(state) is not core.trace_ctx.trace:
        return current_trace, None  # another version of JAX
    return getter.__get__(state), core.eval_trace


pax_tree.set_scope_hook(*_hook())
