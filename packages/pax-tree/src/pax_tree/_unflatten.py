"""Building trees from leaves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pax_tree._C import PyTreeDef


def tree_unflatten(treedef: PyTreeDef, leaves: Iterable[Any]) -> Any:
    """Builds the tree of a structure with these leaves, as `jax.tree_util.tree_unflatten`.

    Args:
        treedef: the structure.
        leaves: an iterable of `treedef.num_leaves` objects, in the order of `tree_leaves`.

    Returns:
        The tree; dicts have the key order of the tree that the structure was taken from.

    Raises:
        ValueError: the number of leaves is not that of the structure.

    Example:
        >>> import pax_tree
        >>> leaves, structure = pax_tree.tree_flatten({"b": 1, "a": [2, None]})
        >>> pax_tree.tree_unflatten(structure, [20, 10])
        {'b': 10, 'a': [20, None]}

    """
    return treedef.unflatten(leaves)
