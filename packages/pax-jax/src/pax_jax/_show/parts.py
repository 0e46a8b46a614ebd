"""What is inside of a module, for those who show it: attributes, items of containers, and their kinds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pax_tree
from pax_jax._module.kinds import FROZEN, MODULE, PARAMETER, STATE, is_module
from pax_jax._module.tied import Shared
from pax_jax._show.leaves import has_shape, leaf_text
from pax_tree import record_flatten

_INDEX = re.compile(r"(.*)\[(\d+)\]$")
ALIKE = 3  # so many items in a row that differ in values alone are shown as one


class Part(NamedTuple):
    """A node or leaf inside of another node.

    Attributes:
        key: the attribute, or `[0]` for an item.
        value: what stands there.
        kind: of the leaves in it; that of the attribute.
        times: how many in a row there are that differ in their values alone.
    """

    key: str
    value: Any
    kind: int | None
    times: int = 1


def attributes_of(module: Any, kind: int | None = None) -> list[Part]:
    """Return the attributes that hold arrays or modules, and those declared `Shared`.

    Args:
        module: the module.
        kind: `STATE` or `FROZEN` where the module is part of an attribute of this kind.
    """
    children, spec = record_flatten(module)
    parts = [
        Part(name, child, own if kind in (None, MODULE, PARAMETER) else kind)
        for name, own, child in zip(spec.names, spec.kinds, children, strict=True)
    ]
    return parts + [Part(name, shared, None) for name, shared in _shared(type(module))]


def _shared(cls: type) -> list[tuple[str, Shared]]:
    found = [(name, value) for base in cls.__mro__ for name, value in vars(base).items()]
    return [(name, value) for name, value in found if isinstance(value, Shared)]


def items_of(node: Any, kind: int | None) -> list[Part] | None:
    """Return the items of a container or of another node of trees; `None` for a leaf."""
    if node is None or is_module(node) or not pax_tree.is_tree_node(type(node)):
        return None
    return [
        Part(str(key), child, kind) for key, child in pax_tree.flatten_one_level_with_keys(node)[0]
    ]


def grouped(parts: list[Part]) -> list[Part]:
    """Return the parts; items in a row that are alike as the first of them, with how many they are."""
    groups: list[tuple[Any, list[Part]]] = []
    for part in parts:
        form = _form(part)
        if groups and groups[-1][0] == form:
            groups[-1][1].append(part)
        else:
            groups.append((form, [part]))
    found = []
    for _, alike in groups:
        found += [alike[0]._replace(times=len(alike))] if len(alike) >= ALIKE else alike
    return found


def _form(part: Part) -> Any:
    """Return what two items that are alike have in common: all but their values."""
    place = _INDEX.match(part.key)
    leaves, structure = pax_tree.tree_flatten(part.value)
    texts = [leaf_text(leaf, part.kind, values=False) for leaf in leaves]
    return place[1] if place else part.key, part.kind, structure, texts


def key_text(part: Part) -> str:
    """Return the key of a part, or the slice that those have of which it is the first."""
    place = _INDEX.match(part.key)
    if place is None or part.times == 1:
        return part.key
    start = int(place[2])
    return f"{place[1]}[{start}:{start + part.times}]"


def is_listed(node: Any) -> bool:
    """Say whether the items of a node may be shown in groups."""
    return isinstance(node, (list, tuple)) and not hasattr(node, "_fields")


def inside(module: Any, kind: int | None = None) -> Iterator[Part]:
    """Return the modules and leaves directly inside of a module, through containers, with their paths."""
    for part in attributes_of(module, kind):
        yield from _through(part)


def _through(part: Part) -> Iterator[Part]:
    items = items_of(part.value, part.kind)
    if items is None:
        yield part
        return
    for item in items:
        yield from _through(item._replace(key=part.key + item.key))


class Counts(NamedTuple):
    """How many numbers of each kind are in a part."""

    parameters: int = 0
    states: int = 0
    frozen: int = 0

    def __str__(self) -> str:
        words = (("parameter", "s"), ("state", "s"), ("frozen", ""))
        counts = zip(self, words, strict=True)
        return ", ".join(
            f"{count:,} {word}{plural if count != 1 else ''}"
            for count, (word, plural) in counts
            if count
        )

    def __add__(self, other: Any) -> Counts:
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


def counts_of(part: Part) -> Counts:
    """Return how many numbers of each kind are in a part."""
    counts, stack = Counts(), [part]
    while stack:
        part = stack.pop()
        if is_module(part.value):
            stack += inside(part.value, part.kind)
        else:
            counts += counts_of_leaf(part)
    return counts


def counts_of_leaf(part: Part) -> Counts:
    """Return how many numbers of each kind are in a part that is no module."""
    leaf = part.value
    size = 1
    for length in leaf.shape if has_shape(leaf) else ():
        size *= length
    if leaf is None or isinstance(leaf, Shared):
        return Counts()
    return Counts(
        parameters=size * (part.kind not in (STATE, FROZEN)),
        states=size * (part.kind == STATE),
        frozen=size * (part.kind == FROZEN),
    )
