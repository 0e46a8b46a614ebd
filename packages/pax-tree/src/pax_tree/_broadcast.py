"""Prefixes of trees."""

from __future__ import annotations

from collections.abc import Callable

from pax_tree._C import PyTreeDef, tree_flatten, tree_structure

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any


def broadcast_prefix(
    prefix_tree: Any,
    full_tree: Any,
    is_leaf: Callable[[Any], bool] | None = None,
    *,
    none_is_leaf: bool = False,
) -> list[Any]:
    """Repeats each leaf of a prefix for all leaves under it, as `jax.tree_util.broadcast_prefix`.

    Args:
        prefix_tree: a tree that ends where or before `full_tree` does.
        full_tree: the tree whose leaves are counted.
        is_leaf: asked at every node of `prefix_tree`, as by `tree_leaves`.
        none_is_leaf: whether None is a leaf, in both trees.

    Returns:
        A list with one item for each leaf of `full_tree`, in their order.

    Raises:
        ValueError: `prefix_tree` is not a prefix of `full_tree`; the message says where, and what
            stands on both sides.

    Example:
        >>> import pax_tree
        >>> pax_tree.broadcast_prefix({"a": 0, "b": 1}, {"a": ["x", "y"], "b": "z"})
        [0, 0, 1]
    """
    return _broadcast("broadcast_prefix", prefix_tree, full_tree, is_leaf, none_is_leaf)


def tree_broadcast(
    prefix_tree: Any,
    full_tree: Any,
    is_leaf: Callable[[Any], bool] | None = None,
    *,
    none_is_leaf: bool = False,
) -> Any:
    """Extend a prefix to a tree of the full structure, as `jax.tree.broadcast`.

    Args:
        prefix_tree: as for `broadcast_prefix`.
        full_tree: the tree whose structure the result has.
        is_leaf: as for `broadcast_prefix`.
        none_is_leaf: as for `broadcast_prefix`.

    Returns:
        The tree `full_tree`, with the leaf of `prefix_tree` above it in place of each leaf.

    Raises:
        ValueError: as for `broadcast_prefix`.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_broadcast({"a": 0, "b": 1}, {"a": ["x", "y"], "b": "z"})
        {'a': [0, 0], 'b': 1}
    """
    leaves = _broadcast("tree_broadcast", prefix_tree, full_tree, is_leaf, none_is_leaf)
    return tree_structure(full_tree, none_is_leaf=none_is_leaf).unflatten(leaves)


def _broadcast(
    function: str,
    prefix: Any,
    full: Any,
    is_leaf: Callable[[Any], bool] | None,
    none_is_leaf: bool,
) -> list[Any]:
    leaves, structure = tree_flatten(prefix, is_leaf, none_is_leaf=none_is_leaf)
    problem = f"{function}: prefix_tree must be a prefix of full_tree, but they"
    result: list[Any] = []
    for leaf, subtree in zip(leaves, flatten_up_to(structure, full, problem), strict=True):
        count = tree_structure(subtree, none_is_leaf=none_is_leaf).num_leaves
        result.extend([leaf] * count)
    return result


def flatten_up_to(structure: PyTreeDef, tree: Any, problem: str) -> list[Any]:
    """Return the method of `PyTreeDef`, with `problem` as the beginning of the error on a difference."""
    try:
        return structure.flatten_up_to(tree)
    except ValueError as error:
        _, differ, place = str(error).partition("the expected one and the given one differ ")
        if not differ:
            raise
        message = f"{problem} differ {place}"
    raise ValueError(message)
