"""Rules: pairs of a regular expression, looked for in paths, and a spec; which one decides, and whether it fits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

from jax.sharding import PartitionSpec

from pax_tree._describe import nothing_found

Rules = Sequence[tuple[str, PartitionSpec]]
"""Pairs of a regular expression, looked for in paths such as "layers.0.weight", and a spec.

For an array of a `Stack` the spec is about the axes of one layer, and the axis of the layers, which comes
first, is not divided; a spec with an entry for each axis of the stacked array is about all of them.
"""


class Array(NamedTuple):
    """What rules are told of an array.

    Attributes:
        name: its path with dots.
        shape: its shape.
        stacked: how many of its first axes are those of a `Stack`.
        parameter: the name and the shape of the parameter that it is the state of, or None.
        is_state: whether it is the state of an optimizer.
        heads: into how many heads its last axis is divided, or None.
    """

    name: str
    shape: tuple[int, ...]
    stacked: int = 0
    parameter: tuple[str, tuple[int, ...]] | None = None
    is_state: bool = False
    heads: int | None = None


@dataclass(frozen=True)
class Decision:
    """How an array is spread, and why.

    Attributes:
        spec: what each of its axes is divided over.
        rule: the regular expression that decides, or None.
        note: what is unusual about it, or "".
    """

    spec: PartitionSpec
    rule: str | None = None
    note: str = ""


def check_rules(rules: Any, mesh: Any) -> None:
    """Raise an error for rules that are none, whatever they are about."""
    pairs = (
        list(rules) if isinstance(rules, Iterable) and not isinstance(rules, str | dict) else None
    )
    if pairs is None or not all(
        isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs
    ):
        raise TypeError(
            "Rules are a list of pairs of a regular expression and a PartitionSpec, such as "
            f"[('weight$', PartitionSpec(None, 'model'))]; got {rules!r}."
        )
    for pattern, spec in pairs:
        if not isinstance(pattern, str | re.Pattern):
            raise TypeError(f"The first part of a rule is a regular expression, got {pattern!r}.")
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"The rule {pattern!r} is no regular expression: {error}; a dot of a path is any "
                "character, and '\\.' a dot only."
            ) from None
        _check_spec(f"The rule {pattern!r}", spec)
        check_axes(f"The rule {pattern!r}", spec, mesh)


def _check_spec(what: str, spec: Any) -> None:
    if not isinstance(spec, PartitionSpec):
        parts = (spec,) if isinstance(spec, str) else spec if isinstance(spec, tuple | list) else ()
        instead = f"PartitionSpec({', '.join(map(repr, parts))})"
        raise TypeError(f"{what} has {spec!r} for a spec, which is none; write {instead}.")
    for part in spec:
        if part is PartitionSpec.UNCONSTRAINED:
            raise ValueError(
                f"{what} leaves an axis UNCONSTRAINED, which says nothing about where an array that is put on "
                "devices goes; write None for an axis that is not divided."
            )
    names = [name for part in spec for name in axis_names(part)]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(
            f"{what} divides two axes over the mesh axis {min(twice)!r}; an array is divided once over each."
        )


def check_axes(what: str, spec: PartitionSpec, mesh: Any) -> None:
    """Raise ValueError unless the mesh has all axes that a spec names."""
    for name in (name for part in spec for name in axis_names(part)):
        if name not in mesh.shape:
            known = ", ".join(map(repr, mesh.shape))
            raise ValueError(f"{what} names the mesh axis {name!r}; the mesh has {known}.")


def check_each_decides(rules: Rules, names: list[str]) -> None:
    """Raise ValueError for a rule that decides about none of the paths."""
    found = [{name for name in names if re.search(pattern, name)} for pattern, _ in rules]
    for i, (pattern, _) in enumerate(rules):
        if names and not found[i]:
            raise ValueError(unmatched(pattern, names))
        is_for_the_rest = found[i] == set(names)
        if found[i] and not is_for_the_rest and found[i] <= set().union(*found[:i]):
            raise ValueError(
                f"The rule '{pattern}' decides nothing: each path that it is found in, such as "
                f"{min(found[i])!r}, is that of a rule before it. Put it first, or leave it out."
            )


def unmatched(pattern: Any, names: list[str]) -> str:
    """Say that a rule is found in no path, and which are near."""
    return nothing_found(
        "The rule", pattern, names, "allow_unmatched=True allows a rule that matches none."
    )


def decide(array: Array, mesh: Any, rules: Rules, strict: bool = False) -> Decision:
    """Return how an array is spread by the first rule that is found in its path.

    A rule about a parameter holds for the state of it that has its shape, also behind other axes, whose
    first ones are then not divided. State of another shape is left whole, unless a rule is found in
    the path of the state and not in that of the parameter: then it is about the state itself.

    Raises:
        ValueError: the rule does not fit; or, if strict, there is none, or it is left aside.
    """
    for pattern, spec in rules:
        if re.search(pattern, array.name):
            decision = _by_rule(str(getattr(pattern, "pattern", pattern)), spec, array, mesh)
            if strict and decision.note:
                raise ValueError(f"{array.name}: {decision.note}, and strict=True.")
            return decision
    if strict and array.shape:
        raise ValueError(
            f"No rule is found in {array.name!r}, which has the shape {array.shape}, and strict=True; add "
            "a rule for it, such as ('.*', PartitionSpec()) at the end for all others."
        )
    return Decision(PartitionSpec())


def _by_rule(pattern: str, spec: PartitionSpec, array: Array, mesh: Any) -> Decision:
    if array.parameter is not None and re.search(pattern, array.parameter[0]):
        name, shape = array.parameter
        extra = len(array.shape) - len(shape)
        if array.shape[max(extra, 0) :] != shape or extra < 0:
            note = f"has the shape {array.shape}, and its parameter {name} {shape}: left whole"
            return Decision(PartitionSpec(), pattern, note)
        inner = _fitting(pattern, spec, array._replace(shape=shape), mesh)
        note = f"the rule is about the last {len(shape)} axes, those of {name}" if extra else ""
        return Decision(behind(extra, inner), pattern, note)
    stacked = array.stacked if len(spec) < len(array.shape) else 0
    if array.is_state and array.parameter is None and len(spec) + stacked != len(array.shape):
        note = "is state of a parameter that is not known here: left whole; give both in one tree"
        return Decision(PartitionSpec(), pattern, note)
    whole = _fitting(pattern, spec, array, mesh)
    return Decision(whole, pattern, _note_of_heads(pattern, whole, array, mesh))


def _fitting(pattern: str, spec: PartitionSpec, array: Array, mesh: Any) -> PartitionSpec:
    whole = spec if len(spec) == len(array.shape) else behind(array.stacked, spec)
    if len(whole) > len(array.shape):
        raise ValueError(
            f"The rule {pattern!r} divides {len(whole) - array.stacked} axes, and {array.name} has the "
            f"shape {array.shape}{' of stacked layers' if array.stacked else ''}."
        )
    for size, part in zip(array.shape, whole, strict=False):
        if size % devices(part, mesh):
            raise ValueError(
                f"The rule {pattern!r} divides an axis of {array.name}, which has the shape {array.shape}, over "
                f"the {devices(part, mesh)} devices of {part!r}, and {size} is no multiple of that."
            )
    return whole


def _note_of_heads(pattern: str, spec: PartitionSpec, array: Array, mesh: Any) -> str:
    if not array.heads or len(spec) < len(array.shape):
        return ""
    count = devices(spec[len(array.shape) - 1], mesh)
    if array.heads % count == 0:
        return ""
    return (
        f"the {array.heads} heads do not divide over {count} devices, so that each head is in parts and "
        "attention sends more than it need"
    )


def behind(count: int, spec: PartitionSpec) -> PartitionSpec:
    """Return a spec about the axes behind so many first ones, which are not divided."""
    return PartitionSpec(*[None] * count, *spec) if count and tuple(spec) else spec


def axis_names(part: Any) -> tuple[str, ...]:
    """Return the mesh axes that an axis of an array is divided over."""
    if part is None:
        return ()
    return (part,) if isinstance(part, str) else tuple(part)


def devices(part: Any, mesh: Any) -> int:
    """Return over how many devices an axis of an array is divided."""
    return prod(mesh.shape[name] for name in axis_names(part))
