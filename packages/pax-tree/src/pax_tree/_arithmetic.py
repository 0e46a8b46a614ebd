"""Trees as vectors: sums and multiples."""

from __future__ import annotations

import operator

from pax_tree._arrays import array_module
from pax_tree._C import tree_map

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any


def tree_add(a: Any, b: Any, alpha: Any = 1) -> Any:
    """Return the tree `a + alpha * b`, as `torch.add` and `optax.tree.add_scale`.

    Args:
        a: a tree of numbers or arrays.
        b: a tree of the same structure; its leaves must broadcast with those of `a`.
        alpha: a number, or an array that broadcasts with all leaves.

    Returns:
        A tree of the structure of `a`; dtypes are those that the leaves' own operators give.

    Raises:
        ValueError: the trees differ in structure.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_add({"w": 1.0, "b": [2.0]}, {"w": 10.0, "b": [20.0]}, alpha=0.5)
        {'w': 6.0, 'b': [12.0]}
    """
    if type(alpha) is int and alpha == 1:
        return tree_map(operator.add, a, b)
    return tree_map(lambda x, y: x + alpha * y, a, b)


def tree_subtract(a: Any, b: Any) -> Any:
    """Return the tree `a - b`, as `optax.tree.sub`.

    Args:
        a: a tree of numbers or arrays.
        b: a tree of the same structure; its leaves must broadcast with those of `a`.

    Returns:
        A tree of the structure of `a`.

    Raises:
        ValueError: the trees differ in structure.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_subtract({"w": 1.0, "b": [2]}, {"w": 0.5, "b": [3]})
        {'w': 0.5, 'b': [-1]}
    """
    return tree_map(operator.sub, a, b)


def tree_neg(tree: Any) -> Any:
    """Return the tree `-tree`.

    Args:
        tree: a tree of numbers or arrays.

    Returns:
        A tree of the same structure.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_neg({"w": 1.0, "b": [-2]})
        {'w': -1.0, 'b': [2]}
    """
    return tree_map(operator.neg, tree)


def tree_scale(scalar: Any, tree: Any) -> Any:
    """Return the tree `scalar * tree`, as `optax.tree.scale`.

    Args:
        scalar: a number, or an array that broadcasts with all leaves.
        tree: a tree of numbers or arrays.

    Returns:
        A tree of the same structure.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_scale(0.5, {"w": 1.0, "b": [4]})
        {'w': 0.5, 'b': [2.0]}
    """
    return tree_map(lambda leaf: scalar * leaf, tree)


def tree_zeros_like(tree: Any) -> Any:
    """Return the tree with zeros in place of all numbers, as `optax.tree.zeros_like`.

    Args:
        tree: a tree of numbers or arrays.

    Returns:
        A tree of the same structure; leaves keep their shape, dtype and device.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_zeros_like({"w": 1.5, "b": [2, True, None]})
        {'w': 0.0, 'b': [0, False, None]}
    """
    return tree_map(_zeros_like, tree)


def _zeros_like(leaf: Any) -> Any:
    module = array_module(leaf)
    if module is not None:
        return module.zeros_like(leaf)
    return type(leaf)() if isinstance(leaf, int | float | complex) else 0 * leaf
