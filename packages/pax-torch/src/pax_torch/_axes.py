"""Axes of `vmap`: trees of integers and None that are prefixes of the trees they belong to."""

from __future__ import annotations

from typing import Any

from pax_torch._errors import describe
from pax_tree import tree_flatten, tree_leaves, tree_map


class _Unmapped:
    """Stands for None, which would have no place among the leaves."""


_UNMAPPED = _Unmapped()


def axes_of_leaves(axes: Any, tree: Any, name: str, what: str) -> list[int | None]:
    """Return the axis of each leaf of a tree, from a prefix of the tree with axes as leaves.

    Raises:
        TypeError: an axis is no integer and not None.
        ValueError: the axes are no prefix of the tree.
    """
    marked = tree_map(lambda axis: _UNMAPPED if axis is None else axis, axes, none_is_leaf=True)
    flat, prefix = tree_flatten(marked)
    for axis in flat:
        if axis is not _UNMAPPED and (isinstance(axis, bool) or not isinstance(axis, int)):
            raise TypeError(
                f"vmap: {name} must consist of integers and None, got {describe(axis)}."
            )
    try:
        parts = prefix.flatten_up_to(tree)
    except ValueError as error:
        raise ValueError(f"vmap: {name} must be a prefix of {what}: {error}") from None
    found: list[Any] = []
    for axis, part in zip(flat, parts, strict=True):
        found += [None if axis is _UNMAPPED else axis] * len(tree_leaves(part))
    return found
