"""What is taken from JAX's private modules; without it everything works, at a cost said here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from jax._src import util, xla_bridge
from jax._src.interpreters import ad
from jax.core import ShapedArray
from jax.sharding import PartitionSpec

Rule = Callable[..., tuple[Any, Any, Any, Callable[..., Any]]]


def set_linearize_rule(primitive: Any, rule: Rule) -> None:
    """Set how `jax.grad` linearizes; else it goes by the jvp rule.

    A training step then calls the function twice.
    """
    trace = getattr(ad, "LinearizeTrace", None)
    rules = getattr(ad, "primitive_linearizations", None)
    names = () if trace is None else trace.process_primitive.__code__.co_varnames
    if rules is not None and "linearized" in names:
        rules[primitive] = _with_structured_residuals(rule) if "structured_res" in names else rule


def _with_structured_residuals(rule: Rule) -> Callable[..., tuple]:
    """Return the rule as JAX calls it since 0.11.1 or 0.11.2, with a second kind of residuals: none."""

    def wrapped(*args: Any, **params: Any) -> tuple:
        outs, moves, residuals, linear = rule(*args, **params)
        return outs, moves, residuals, None, lambda kept, _, *tangents: linear(kept, *tangents)

    return wrapped


def hold_weakly(*types: type) -> None:
    """Let JAX's cache of abstract evaluations hold parameters of these types weakly.

    Else it keeps the last 2048 of them, with all that they refer to.
    """
    getattr(util, "weakref_cache_key_types", set()).update(types)


def execution_switch() -> tuple[Callable[[bool], Any], Callable[[Any], None]]:
    """Two functions: `set(True)`, from when on JAX raises when it is to execute a program on this
    thread, returns what was so before; `restore(that)` goes back.
    """
    state: Any = jax.no_execution
    if hasattr(state, "swap_local") and hasattr(state, "set_local"):
        return state.swap_local, state.set_local
    return partial(_enter, state), lambda context: context.__exit__(None, None, None)


def _enter(state: Any, value: bool) -> Any:
    context = state(value)
    context.__enter__()
    return context


def varying_axes(value: Any) -> frozenset[Any]:
    """Return the manual mesh axes of `jax.shard_map` over which a value, or its aval, varies."""
    aval = jax.typeof(value) if isinstance(value, jax.Array) else value
    manual = getattr(aval, "manual_axis_type", None)
    return getattr(aval, "vma", frozenset()) if manual is None else manual.varying


def aval_like(args: Sequence[Any], shape: tuple[int, ...], dtype: Any) -> ShapedArray:
    """Return the aval of a result that varies over the same mesh axes as the arguments."""
    varying = next((aval for aval in args if varying_axes(aval)), None)
    if varying is None:
        return ShapedArray(shape, dtype)
    sharding = varying.sharding.update(spec=PartitionSpec(*[None] * len(shape)))
    return varying.update(shape=shape, dtype=dtype, weak_type=False, sharding=sharding)


def is_export(ctx: Any) -> bool:
    """Whether a program is lowered for `jax.export`."""
    return getattr(ctx.module_context.lowering_parameters, "for_export", False)


def has_started() -> bool:
    """Whether JAX has started a backend, so that its settings are read already."""
    return xla_bridge.backends_are_initialized()
