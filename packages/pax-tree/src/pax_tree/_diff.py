"""What differs between two trees, and where."""

from __future__ import annotations

import sys
from collections.abc import Callable

from pax_tree._describe import attribute, describe, dtype_name, short_repr
from pax_tree._paths import keystr, open_node

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


# What differs: kind, text and largest absolute difference.
_Difference = tuple[str, str, float | None]


def leaf_difference(a: Any, b: Any, rtol: float, atol: float) -> _Difference | None:
    """Return the difference of two leaves; None if they are equal."""
    if a is b:
        return None
    if type(a) is not type(b):
        return "type", f"{describe(a, None)} against {describe(b, None)}", None
    compare = _objects
    if attribute(a, "shape") is not None and attribute(a, "dtype") is not None:
        compare = _arrays
    try:
        return compare(a, b, rtol, atol)
    except Exception as error:
        return "error", f"comparing the leaves raised {type(error).__name__}: {error}", None


def _objects(a: Any, b: Any, rtol: float, atol: float) -> _Difference | None:
    if _truth(a == b) or (_truth(a != a) and _truth(b != b)):  # NaN differs from itself
        return None
    if isinstance(a, bool) or not isinstance(a, int | float | complex):
        return "value", f"{short_repr(a)} against {short_repr(b)}", None
    distance = abs(a - b)
    if distance <= atol + rtol * abs(b) and distance != float("inf"):
        return None
    text = f"{short_repr(a)} against {short_repr(b)}, a difference of {distance:.6g}"
    return "value", text, distance


def _truth(answer: Any) -> bool:
    """Return a comparison's answer, which may be one for each element."""
    return bool(answer.all() if hasattr(answer, "all") else answer)


def _arrays(a: Any, b: Any, rtol: float, atol: float) -> _Difference | None:
    if tuple(a.shape) != tuple(b.shape):
        return "shape", f"shape {list(a.shape)} against {list(b.shape)}", None
    if a.dtype != b.dtype:
        return "dtype", f"dtype {dtype_name(a.dtype)} against {dtype_name(b.dtype)}", None
    first, second = _on_host(a), _on_host(b)
    differ = ~((first == second) | ((first != first) & (second != second)))
    if not differ.any():
        return None
    count, total, largest = int(differ.sum()), differ.reshape(-1).shape[0], None
    numbers = _wide(first[differ]), _wide(second[differ])
    if numbers[0] is not None:
        distance = abs(numbers[0] - numbers[1])
        near = (distance <= atol + rtol * abs(numbers[1])) & (distance != float("inf"))
        if not (count := int((~near).sum())):
            return None
        largest = float(distance.max())
    by = "" if largest is None else f", by at most {largest:.6g}"
    return "value", f"values differ in {count:,} of {total:,} elements{by}", largest


def _on_host(array: Any) -> Any:
    """Return the values of an array, to compare at once."""
    if hasattr(array, "detach"):
        return array.detach().cpu()
    try:
        return sys.modules["numpy"].asarray(array)
    except Exception:  # no NumPy, or not for this dtype: random keys
        return array


def _wide(array: Any) -> Any:
    """Numbers in double precision; None for what has no differences, such as bools and text."""
    if hasattr(array, "detach"):
        torch = sys.modules["torch"]
        wide = torch.complex128 if array.is_complex() else torch.float64
        return None if array.dtype == torch.bool else array.to(wide)
    kind = getattr(array.dtype, "kind", "O")
    return None if kind in "bOSUMm" else array.astype("complex128" if kind == "c" else "float64")
