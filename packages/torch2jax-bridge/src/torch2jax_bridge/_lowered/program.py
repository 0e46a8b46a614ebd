"""What a PyTorch function does at given shapes, as a list of operator calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import torch

from pax_tree import PyTreeDef

T = TypeVar("T")


class Ref(NamedTuple):
    """A value of a program, by its number."""

    number: int


class Meta(NamedTuple):
    """The shape and PyTorch's dtype of a value."""

    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True, eq=False)
class Step:
    """One call of an operator.

    Attributes:
        name: such as "aten::add.Tensor".
        call: the operator as PyTorch calls it.
        args: its arguments, with a `Ref` for each tensor.
        kwargs: its keyword arguments, likewise.
        results: its results: a `Ref`, or a tuple of them, None for what is no tensor.
        metas: what each result is.
        constant: whether gradients were off, so that nothing flows back through it.
        draws: whether it draws random numbers.
        scope: the module that called it, by its path.
    """

    name: str
    call: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: Any
    metas: tuple[Meta, ...]
    constant: bool
    draws: bool
    scope: str


@dataclass(frozen=True, eq=False)
class Program:
    """A recorded function of flat tensors.

    Attributes:
        inputs: its arguments.
        constants: tensors that it captured.
        steps: what it calls, in this order.
        outs: its results.
        out_tree: their tree.
        metas: the shapes and dtypes of all values.
    """

    inputs: tuple[Ref, ...]
    constants: dict[Ref, torch.Tensor]
    steps: tuple[Step, ...]
    outs: tuple[Ref, ...]
    out_tree: PyTreeDef
    metas: dict[Ref, Meta]


def refs(value: Any) -> Iterator[Ref]:
    """Return the values among arguments or results."""
    return instances(value, Ref)


def instances(value: Any, kind: type[T]) -> Iterator[T]:
    """Return what is of a class among arguments or results."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from instances(item, kind)
    elif isinstance(value, dict):
        yield from instances(list(value.values()), kind)


def replaced(value: Any, by: Callable[[Any], Any], kind: type) -> Any:
    """Return arguments with every value of a class replaced."""
    if isinstance(value, kind):
        return by(value)
    if isinstance(value, list | tuple):
        return type(value)([replaced(item, by, kind) for item in value])
    if isinstance(value, dict):
        return {key: replaced(item, by, kind) for key, item in value.items()}
    return value


def without_dead_steps(program: Program) -> Program:
    """Return the program without steps whose results nothing uses."""
    alive, kept = set(program.outs), []
    for step in reversed(program.steps):
        if alive.isdisjoint(refs(step.results)):
            continue
        alive.update(refs(step.args), refs(step.kwargs))
        kept.append(step)
    constants = {ref: tensor for ref, tensor in program.constants.items() if ref in alive}
    return replace(program, constants=constants, steps=tuple(reversed(kept)))
