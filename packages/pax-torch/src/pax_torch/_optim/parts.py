"""The leaves of a tree that one of several optimizers steps, as a tree of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pax_tree import PyTreeDef, keystr, tree_flatten, tree_unflatten


class Part(NamedTuple):
    """Some leaves of a tree.

    Attributes:
        places: their numbers among all leaves, in the order of `treedef`.
        treedef: of the tree that they form.
    """

    places: list[int]
    treedef: PyTreeDef

    def of(self, leaves: Sequence[Any]) -> Any:
        """Return the tree of those of all leaves that are in the part."""
        return tree_unflatten(self.treedef, [leaves[i] for i in self.places])


def with_none(treedef: PyTreeDef, places: Sequence[int]) -> Part:
    """Return the part whose tree is the whole one, with None in place of all other leaves."""
    kept: list[int | None] = [None] * treedef.num_leaves
    for i in places:
        kept[i] = i
    return Part(*tree_flatten(tree_unflatten(treedef, kept)))


def by_names(paths: Sequence[Sequence[Any]], places: Sequence[int]) -> Part:
    """Return the part whose tree is of dictionaries, by the names on the way to each leaf.

    It has nothing but these leaves, so that all parts of a tree together are as large as it is.

    Raises:
        ValueError: two leaves have the same names.
    """
    if len(places) == 1 and not paths[places[0]]:
        return Part(*tree_flatten(places[0]))
    tree: dict[Any, Any] = {}
    for i in places:
        *above, last = map(_name, paths[i])
        inner: Any = tree
        for name in above:
            inner = inner.setdefault(name, {}) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or last in inner:
            raise ValueError(f"Two leaves stand at {keystr(tuple(paths[i]))}.")
        inner[last] = i
    return Part(*tree_flatten(tree))


def _name(key: Any) -> Any:
    """Return what a key of a path says: a key of a dictionary, a number or the name of an attribute."""
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return getattr(key, attribute)
    return str(key)
