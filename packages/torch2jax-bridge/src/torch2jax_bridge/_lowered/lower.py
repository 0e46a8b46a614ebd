"""A PyTorch function as a jitted JAX function, and what is said of its operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from pax_tree import PyTreeDef
from torch2jax_bridge._avals import Aval
from torch2jax_bridge._lowered.evaluate import Computed, Evaluator
from torch2jax_bridge._lowered.program import Program
from torch2jax_bridge._lowered.record import record
from torch2jax_bridge._runtime.errors import ShapeInferenceError, text_of
from torch2jax_bridge._torch2jax.function import Options
from torch2jax_bridge._torch2jax.infer import WIDEN, Given


@dataclass(frozen=True)
class Lowered:
    """A function at given shapes.

    Attributes:
        call: flat arrays to flat arrays, jitted.
        out_tree: the tree of the results.
        steps: the operators, and how each is computed.
    """

    call: Callable[..., list[jax.Array]]
    out_tree: PyTreeDef
    steps: Sequence[Computed]


def lower(
    make: Callable[[bool], Callable[..., Any]],
    ins: Sequence[Aval],
    options: Options,
    words: tuple[str, Sequence[str]],
) -> Lowered:
    """Record a function of flat tensors and make the JAX function.

    Args:
        make: makes the function, of int32 tensors that it gets as int64 if so told.
        ins: its arguments.
        options: the user's.
        words: how messages and programs call the function and its arguments.

    Raises:
        TypeError: `strict` is asked for, and an operator has no rule.
    """
    name = words[0]
    program = _recorded(make, ins, options, words)
    evaluator = Evaluator(program, options.keyed)
    missing = sorted({c.step.name for c in evaluator.steps if c.rule is None})
    if options.strict and missing:
        raise TypeError(
            f"{name} calls operators that have no rule in JAX operations: {', '.join(missing)}. "
            "Leave strict out, and they are called in PyTorch, or register rules with "
            "torch2jax_bridge.lowering."
        )

    def call(*arrays: jax.Array) -> list[jax.Array]:
        return evaluator(*arrays)

    call.__name__ = call.__qualname__ = name
    return Lowered(jax.jit(call), program.out_tree, evaluator.steps)


def _recorded(
    make: Callable[[bool], Callable[..., Any]],
    ins: Sequence[Aval],
    options: Options,
    words: tuple[str, Sequence[str]],
) -> Program:
    given = Given(ins, "cpu")  # the program is for every platform
    try:
        return record(make(options.widen_integers), given, *words)
    except ShapeInferenceError as error:
        if options.widen_integers or not any(aval.dtype == np.int32 for aval in ins):
            raise
        try:
            record(make(True), given, *words)
        except Exception:
            raise error from error.__cause__
        text = text_of(error.__cause__ or error).rstrip(".")
        raise ShapeInferenceError(f"{words[0]} fails: {text}. {WIDEN}") from error


def report(programs: Sequence[Sequence[Computed]]) -> str:
    """Return a table of the operators in programs: how often each is there, and how it is computed."""
    counts: dict[tuple[str, str], int] = {}
    for computed in (c for steps in programs for c in steps):
        key = computed.step.name, "called" if computed.rule is None else "lowered"
        counts[key] = counts.get(key, 0) + 1
    width = max((len(name) for name, _ in counts), default=0)
    ordered = sorted(counts.items(), key=lambda item: (item[0][1], item[0][0]))
    rows = [f"{name:{width}}  {how:7}  {count}" for (name, how), count in ordered]
    called = sum(count for (_, how), count in counts.items() if how == "called")
    total = sum(counts.values())
    return "\n".join([*rows, f"{total - called} of {total} operators are lowered."])
