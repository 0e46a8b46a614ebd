"""A PyTorch function as a jitted JAX function, and what is said of its operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from pax_tree import PyTreeDef
from torch2jax_bridge._lowered.evaluate import Computed, Evaluator
from torch2jax_bridge._lowered.record import record
from torch2jax_bridge._torch2jax.function import Options
from torch2jax_bridge._torch2jax.infer import Given


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


def lower(apply: Callable[..., Any], given: Given, options: Options, name: str) -> Lowered:
    """Record a function of flat tensors and make the JAX function.

    Args:
        apply: the function.
        given: its arguments, on the CPU: the program is for every platform.
        options: the user's.
        name: how messages and programs call it.

    Raises:
        TypeError: `strict` is asked for, and an operator has no rule.
    """
    program = record(apply, given, name)
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
