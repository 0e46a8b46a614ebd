"""From all leaves of a tree to one value."""

from __future__ import annotations

import functools
from collections.abc import Callable

from pax_tree._C import tree_leaves

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any

_MISSING: Any = object()


def tree_reduce(
    function: Callable[[Any, Any], Any],
    tree: Any,
    initializer: Any = _MISSING,
    is_leaf: Callable[[Any], bool] | None = None,
    *,
    none_is_leaf: bool = False,
) -> Any:
    """Combine the leaves of a tree from the first to the last, as `jax.tree_util.tree_reduce`.

    Args:
        function: called as `function(so_far, leaf)`.
        tree: the tree.
        initializer: what to begin with; by default the first leaf.
        is_leaf: as for `tree_leaves`.
        none_is_leaf: as for `tree_leaves`.

    Returns:
        The last result.

    Raises:
        TypeError: there are no leaves and no initializer.

    Example:
        >>> import operator, pax_tree
        >>> pax_tree.tree_reduce(operator.add, {"a": 1, "b": [2, 3]})
        6
    """
    leaves = tree_leaves(tree, is_leaf, none_is_leaf=none_is_leaf)
    if initializer is not _MISSING:
        return functools.reduce(function, leaves, initializer)
    if not leaves:
        raise TypeError("tree_reduce needs an initializer for a tree without leaves.")
    return functools.reduce(function, leaves)


def tree_all(
    tree: Any, *, is_leaf: Callable[[Any], bool] | None = None, none_is_leaf: bool = False
) -> bool:
    """Whether all leaves of a tree are true, as `jax.tree_util.tree_all`.

    Args:
        tree: the tree.
        is_leaf: as for `tree_leaves`.
        none_is_leaf: as for `tree_leaves`; a None is then not true.

    Returns:
        True for a tree without leaves.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_all({"a": True, "b": [1, None]}), pax_tree.tree_all([True, 0])
        (True, False)
    """
    return all(tree_leaves(tree, is_leaf, none_is_leaf=none_is_leaf))


def tree_any(
    tree: Any, *, is_leaf: Callable[[Any], bool] | None = None, none_is_leaf: bool = False
) -> bool:
    """Whether any leaf of a tree is true; the counterpart of `tree_all`.

    Args:
        tree: the tree.
        is_leaf: as for `tree_leaves`.
        none_is_leaf: as for `tree_leaves`; a None is then not true.

    Returns:
        False for a tree without leaves.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_any({"a": False, "b": [1, None]}), pax_tree.tree_any([])
        (True, False)
    """
    return any(tree_leaves(tree, is_leaf, none_is_leaf=none_is_leaf))
