"""Rebuilding a structure, node by node, as the structure of another library."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import pax_tree._C as _C
from pax_tree._C import DictKey, FlattenedIndexKey, GetAttrKey, PyTreeDef, Record, SequenceKey
from pax_tree._interop.registry import look_up, shares
from pax_tree._paths import keystr

# What a PyTreeDef says of its root: (class, static data), or None for a leaf.
NodeData = tuple[type, Any] | None
View = Callable[[Any], tuple[NodeData, Sequence[Any]]]
Make = Callable[[NodeData, list[Any]], Any]
Check = Callable[[type], str | None]  # why the other library cannot have a class


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


def make_ours(data: NodeData, children: list[Any], check: Check) -> PyTreeDef:
    """Return a PyTreeDef of a class that both libraries take apart alike."""
    if data is not None:
        look_up(data[0])
        refuse(check, data[0])
    return PyTreeDef.from_node_data_and_children(data, children)


def refuse(check: Check, cls: type) -> None:
    """Raise for a class that the other library cannot have, or takes apart in another way."""
    if reason := check(cls):
        raise RefusedError(reason)


def why_not_shared(cls: type, library: str, name: str) -> str | None:
    """Return why the other library takes objects of a class apart in another way; None if not."""
    plain = is_named_tuple(cls) and not _C._is_registered(cls)
    if plain or (not is_named_tuple(cls) and shares(library, cls)):
        return None
    return f"the class {cls.__name__} is not registered alike here and with {name}"


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
