"""What differs between two trees, and where."""

from __future__ import annotations

from collections.abc import Callable

from pax_tree._diff_leaves import leaf_difference
from pax_tree._key_paths import keystr
from pax_tree._nodes import describe, open_node, short_repr

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any


class TreeDifference:
    """One place at which two trees differ.

    Attributes:
        path: the keys from the root.
        kind: `missing` (a child that only one tree has), `structure` (a node against a leaf),
            `type`, `static` (data of a node that is no child), `shape`, `dtype`, `value`, or
            `error` (the leaves could not be compared).
        text: what differs, as a phrase.
        max_abs: the largest absolute difference of numbers; None for other differences.

    Example:
        >>> import pax_tree
        >>> [difference] = pax_tree.tree_diff({"a": 1.0}, {"a": 1.5})
        >>> pax_tree.keystr(difference.path), difference.kind, difference.max_abs
        ("['a']", 'value', 0.5)
    """

    __slots__ = ("kind", "max_abs", "path", "text")

    def __init__(
        self, path: tuple[Any, ...], kind: str, text: str, max_abs: float | None = None
    ) -> None:
        self.path, self.kind, self.text, self.max_abs = path, kind, text, max_abs

    def __repr__(self) -> str:
        return f"{keystr(self.path) or 'the root'}: {self.text}"


class TreeDiff(tuple[TreeDifference, ...]):
    """All differences between two trees: a tuple, empty when they are equal.

    Example:
        >>> import pax_tree
        >>> bool(pax_tree.tree_diff([1, 2], [1, 2]))
        False
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) or "no differences"


def tree_diff(
    a: Any,
    b: Any,
    *,
    rtol: float = 0.0,
    atol: float = 0.0,
    is_leaf: Callable[[Any], bool] | None = None,
    none_is_leaf: bool = False,
) -> TreeDiff:
    """Return what differs between two trees, and where.

    Args:
        a: the first tree.
        b: the second tree.
        rtol: numbers whose difference is at most `atol + rtol * abs(b)` count as equal.
        atol: see `rtol`.
        is_leaf: asked at every node of both trees, as by `tree_leaves`.
        none_is_leaf: as for `tree_leaves`.

    Returns:
        A tuple of differences, which is false when there are none and prints one line for each.
        Leaves are compared by type, shape, dtype and value; a NaN equals a NaN. Differences of
        arrays are counted, and the largest absolute one is given.

    Example:
        >>> import pax_tree
        >>> old = {"layers": [1.0, float("nan")], "step": 1}
        >>> new = {"layers": [1.5, float("nan"), 2.0], "step": "one"}
        >>> print(pax_tree.tree_diff(old, new))
        ['layers'][0]: 1.0 against 1.5, a difference of 0.5
        ['layers'][2]: only in the second tree: float 2.0
        ['step']: int 1 against str 'one'
    """
    found: list[TreeDifference] = []

    def open_tree(node: Any) -> Any:
        return open_node(node, is_leaf, none_is_leaf)

    def compare_leaves(first: Any, second: Any) -> Any:
        return leaf_difference(first, second, rtol, atol)

    _Comparison(open_tree, compare_leaves, found.append).compare(a, b, ())
    return TreeDiff(found)


class _Comparison:
    """How to open nodes, how to compare leaves, and what to do with the differences."""

    def __init__(self, open_tree: Any, compare_leaves: Any, report: Any) -> None:
        self.open, self.compare_leaves, self.report = open_tree, compare_leaves, report

    def compare(self, a: Any, b: Any, path: tuple[Any, ...]) -> None:
        first, second = self.open(a), self.open(b)
        if first is not None and second is not None:
            self.compare_nodes(a, b, first, second, path)
        elif first is not second:
            text = f"{describe(a, first)} against {describe(b, second)}"
            self.report(TreeDifference(path, "structure", text))
        elif difference := self.compare_leaves(a, b):
            self.report(TreeDifference(path, *difference))

    def compare_nodes(self, a: Any, b: Any, first: Any, second: Any, path: tuple[Any, ...]) -> None:
        ours, theirs = _by_text(first[0]), _by_text(second[0])
        if type(a) is not type(b):
            text = f"{describe(a, first)} against {describe(b, second)}"
            self.report(TreeDifference(path, "type", text))
            if ours.keys() != theirs.keys():
                return
        elif ours.keys() == theirs.keys() and first[1] != second[1]:
            text = f"static data {_static(first[1])} against {_static(second[1])}"
            self.report(TreeDifference(path, "static", text))
        for text, (key, child) in ours.items():
            if text in theirs:
                self.compare(child, theirs[text][1], (*path, key))
            else:
                self.report_missing(child, (*path, key), "first")
        for text, (key, child) in theirs.items():
            if text not in ours:
                self.report_missing(child, (*path, key), "second")

    def report_missing(self, child: Any, path: tuple[Any, ...], where: str) -> None:
        text = f"only in the {where} tree: {describe(child, self.open(child))}"
        self.report(TreeDifference(path, "missing", text))


def _by_text(pairs: list[tuple[Any, Any]]) -> dict[Any, tuple[Any, Any]]:
    """Children by the text of their keys, which any key has; by index where texts repeat."""
    children = {str(key): (key, child) for key, child in pairs}
    return children if len(children) == len(pairs) else dict(enumerate(pairs))


def _static(structure: Any) -> str:
    return short_repr(structure.node_data()[1])
