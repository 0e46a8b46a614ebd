"""Going through the leaves of trees."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterable, Iterator

from pax_tree._C import tree_flatten, tree_leaves
from pax_tree._structures import flatten_up_to

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any


def all_leaves(
    iterable: Iterable[Any],
    is_leaf: Callable[[Any], bool] | None = None,
    *,
    none_is_leaf: bool = False,
) -> bool:
    """Whether all items of an iterable are leaves, as `jax.tree_util.all_leaves`.

    Args:
        iterable: the items.
        is_leaf: as for `tree_leaves`.
        none_is_leaf: as for `tree_leaves`.

    Returns:
        False if any item is a node; None is one unless `none_is_leaf`.

    Example:
        >>> import pax_tree
        >>> pax_tree.all_leaves([1, "a", 2.0]), pax_tree.all_leaves([1, [2]])
        (True, False)
    """
    items = list(iterable)
    leaves = tree_leaves(items, is_leaf, none_is_leaf=none_is_leaf)
    return len(items) == len(leaves) and all(map(operator.is_, items, leaves))


def tree_for_each(
    f: Callable[..., Any],
    tree: Any,
    *rest: Any,
    is_leaf: Callable[[Any], bool] | None = None,
    none_is_leaf: bool = False,
) -> None:
    """Call a function on every leaf, and builds nothing from the results.

    Args:
        f: called as `f(leaf, *others)`, in the order of the leaves.
        tree: the tree.
        *rest: trees of the same structure; where `tree` has a leaf, they may have any subtree.
        is_leaf: as for `tree_map`.
        none_is_leaf: as for `tree_map`.

    Raises:
        ValueError: the trees differ; the message names the first place where they do, and `f` has
            not been called.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_for_each(print, {"b": 1, "a": [2]}, {"b": "one", "a": ["two"]})
        2 two
        1 one
    """
    leaves, structure = tree_flatten(tree, is_leaf, none_is_leaf=none_is_leaf)
    problem = "tree_for_each: the trees must have the same structure, but the first and number"
    others = [flatten_up_to(structure, t, f"{problem} {i}") for i, t in enumerate(rest, 2)]
    for column in zip(leaves, *others, strict=True):
        f(*column)


def tree_partition(
    predicate: Callable[[Any], Any],
    tree: Any,
    is_leaf: Callable[[Any], bool] | None = None,
    *,
    fillvalue: Any = None,
    none_is_leaf: bool = False,
) -> tuple[Any, Any]:
    """Split a tree into the leaves that have a property and those that have not, as `optree.tree_partition`.

    Args:
        predicate: called with every leaf.
        tree: the tree.
        is_leaf: as for `tree_leaves`.
        fillvalue: what stands in the place of the leaves of the other part.
        none_is_leaf: as for `tree_leaves`.

    Returns:
        Two trees like the given one: with the leaves for which `predicate` is true, and with the
        others.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_partition(lambda x: x > 10, {"x": 7, "y": (42, 64)})
        ({'x': None, 'y': (42, 64)}, {'x': 7, 'y': (None, None)})
    """
    leaves, structure = tree_flatten(tree, is_leaf, none_is_leaf=none_is_leaf)
    pairs = [(x, fillvalue) if predicate(x) else (fillvalue, x) for x in leaves]
    chosen, others = (structure.unflatten([pair[i] for pair in pairs]) for i in (0, 1))
    return chosen, others


def tree_iter(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None, *, none_is_leaf: bool = False
) -> Iterator[Any]:
    """Return the leaves of a tree one by one; nothing is opened before its leaves are asked for.

    Args:
        tree: the tree. A node's children are those that it has when the first of them is reached;
            changes after that are not seen.
        is_leaf: as for `tree_leaves`.
        none_is_leaf: as for `tree_leaves`.

    Yields:
        The leaves, in the order of `tree_leaves`.

    Raises:
        RecursionError: the tree is deeper than the recursion limit, or contains itself.

    Example:
        >>> import pax_tree
        >>> leaves = pax_tree.tree_iter({"b": [1, 2], "a": 3})
        >>> next(leaves), list(leaves)
        (3, [1, 2])
    """
    ask = _never if is_leaf is None else is_leaf
    leaf_types: set[type] = set()
    pending = [[tree]]
    while pending:
        if not pending[-1]:
            pending.pop()
            continue
        node = pending[-1].pop()
        if (none_is_leaf and node is None) or type(node) in leaf_types or ask(node):
            yield node
            continue
        children = _children(node)
        if len(children) == 1 and children[0] is node:
            leaf_types.add(type(node))
            yield node
        elif len(pending) > sys.getrecursionlimit():
            raise RecursionError("tree_iter: the tree is too deep or contains itself.")
        else:
            pending.append(children[::-1])


def _never(_: Any) -> bool:
    return False


def _children(node: Any) -> list[Any]:
    """Return the children of a node; a leaf itself."""
    return tree_leaves(node, lambda child: child is not node)
