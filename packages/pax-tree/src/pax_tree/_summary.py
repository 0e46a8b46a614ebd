"""A tree as a table."""

from __future__ import annotations

from collections.abc import Callable

from pax_tree._describe import attribute, dtype_name
from pax_tree._paths import keystr, open_node

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any

_HEAD = ("path", "type", "dtype", "elements", "bytes")


def tree_summary(
    tree: Any,
    depth: int | None = None,
    *,
    is_leaf: Callable[[Any], bool] | None = None,
    none_is_leaf: bool = False,
) -> str:
    """Return a table of the nodes and leaves of a tree, with subtotals for every node.

    Args:
        tree: the tree.
        depth: how many levels below the root to list; by default all.
        is_leaf: as for `tree_leaves`.
        none_is_leaf: as for `tree_leaves`.

    Returns:
        The table as text, a line for each node and leaf with its path, type and shape, dtype (for a
        node that of all its arrays, if it is one), number of elements (1 for a leaf without a
        shape) and bytes (of leaves that know them). The last line is the total.

    Example:
        >>> import pax_tree
        >>> print(pax_tree.tree_summary({"layers": [1.0, {"scale": 2.0}], "step": 0}))
        path                    type       dtype  elements  bytes
        ---------------------------------------------------------
        ['layers']              list of 2                2
        ['layers'][0]           float                    1
        ['layers'][1]           dict of 1                1
        ['layers'][1]['scale']  float                    1
        ['step']                int                      1
        ---------------------------------------------------------
        total                   3 leaves                 3
    """
    rows: list[tuple[str, ...]] = []
    total = _visit(tree, (), depth, rows, (is_leaf, none_is_leaf))
    what = f"{total.leaves} lea{'f' if total.leaves == 1 else 'ves'}"
    return _table([*rows, total.row("total", what)])


class _Size:
    """What is counted under a node."""

    __slots__ = ("bytes", "dtypes", "elements", "leaves")

    def __init__(
        self,
        leaves: int = 0,
        elements: int = 0,
        bytes: int = 0,
        dtypes: frozenset[str] = frozenset(),
    ) -> None:
        self.leaves, self.elements, self.bytes, self.dtypes = leaves, elements, bytes, dtypes

    def add(self, other: _Size) -> None:
        self.leaves += other.leaves
        self.elements += other.elements
        self.bytes += other.bytes
        self.dtypes |= other.dtypes

    def row(self, path: str, what: str) -> tuple[str, ...]:
        dtype = next(iter(self.dtypes)) if len(self.dtypes) == 1 else "mixed" * bool(self.dtypes)
        bytes = f"{self.bytes:,}" if self.bytes else ""
        return path, what, dtype, f"{self.elements:,}", bytes


def _visit(
    node: Any, path: tuple[Any, ...], depth: int | None, rows: list[Any], options: tuple[Any, Any]
) -> _Size:
    """Add the lines of a subtree, its own first, and counts what is under it."""
    opened, at = open_node(node, *options), len(rows)
    what = _type_and_shape(node) if opened is None else f"{type(node).__name__} of {len(opened[0])}"
    size = _leaf_size(node) if opened is None else _Size()
    for key, child in () if opened is None else opened[0]:
        size.add(_visit(child, (*path, key), depth, rows, options))
    if depth is not None and len(path) >= depth:
        del rows[at:]
    if (path or opened is None) and (depth is None or len(path) <= depth):
        rows.insert(at, size.row(keystr(path), "None" if node is None else what))
    return size


def _type_and_shape(leaf: Any) -> str:
    name, shape = type(leaf).__name__, attribute(leaf, "shape")
    return name if shape is None else f"{name} {list(shape)}"


def _leaf_size(leaf: Any) -> _Size:
    shape, dtype = attribute(leaf, "shape"), attribute(leaf, "dtype")
    elements = 1
    for length in () if shape is None else shape:
        elements *= length
    bytes = attribute(leaf, "nbytes")
    if bytes is None:
        bytes = elements * (attribute(dtype, "itemsize") or 0)
    return _Size(1, elements, bytes, frozenset(() if dtype is None else (dtype_name(dtype),)))


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    lines = []
    for row in (_HEAD, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=False)]
        numbers = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
        lines.append("  ".join([*cells, *numbers]).rstrip())
    rule = "-" * (sum(widths) + 2 * len(widths) - 2)
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])
