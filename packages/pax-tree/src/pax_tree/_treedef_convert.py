"""Rebuilding a structure, node by node, as the structure of another library."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from pax_tree._C import DictKey, FlattenedIndexKey, GetAttrKey, Record, SequenceKey
from pax_tree._key_paths import keystr

# What a PyTreeDef says of its root: (class, static data), or None for a leaf.
NodeData = tuple[type, Any] | None
View = Callable[[Any], tuple[NodeData, Sequence[Any]]]
Make = Callable[[NodeData, list[Any]], Any]


class RefusedError(ValueError):
    """A node that the other library cannot have; becomes an error that says where it stands."""


def convert(root: Any, see: View, make: Make, target: str) -> Any:
    """Return a structure seen through `see`, made again bottom up by `make`."""
    place: list[Any] = []

    def visit(node: Any) -> Any:
        data, children = see(node)
        made = []
        for i, child in enumerate(children):
            place.append((data, i))
            made.append(visit(child))
            place.pop()
        return make(data, made)

    try:
        return visit(root)
    except RefusedError as refusal:
        where = f"at {keystr(_key(*entry) for entry in place)}" if place else "at the root"
        raise ValueError(f"The structure cannot be made a {target}: {where}, {refusal}.") from None


def view(treedef: Any) -> tuple[NodeData, Sequence[Any]]:
    """Return the root and the children of a PyTreeDef, of this library or of JAX."""
    return treedef.node_data(), treedef.children()


def is_named_tuple(cls: type) -> bool:
    """Whether a class is a named tuple."""
    return issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple)


def _key(data: NodeData, child: int) -> Any:
    cls: Any
    static: Any
    cls, static = data or (object, None)
    if issubclass(cls, dict):
        return DictKey((static[1] if cls is defaultdict else static)[child])
    if issubclass(cls, Record):
        return GetAttrKey(static.names[child])
    if is_named_tuple(cls) and static is None:
        return GetAttrKey(cls._fields[child])
    builtin = cls.__module__ in ("builtins", "collections")
    return SequenceKey(child) if builtin else FlattenedIndexKey(child)
