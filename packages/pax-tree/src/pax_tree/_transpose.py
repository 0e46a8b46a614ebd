"""Turning a tree of trees inside out."""

from __future__ import annotations

from pax_tree._C import PyTreeDef, tree_flatten, tree_structure

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any


def tree_transpose(
    outer_treedef: PyTreeDef, inner_treedef: PyTreeDef | None, pytree_to_transpose: Any
) -> Any:
    """Make a tree of trees a tree of trees the other way round, as `jax.tree_util.tree_transpose`.

    Args:
        outer_treedef: the structure of the outer tree.
        inner_treedef: the structure of each of the trees inside; by default that of the first.
        pytree_to_transpose: a tree of the structure `outer_treedef.compose(inner_treedef)`.

    Returns:
        A tree of the structure `inner_treedef.compose(outer_treedef)`.

    Raises:
        TypeError: the tree has another structure.

    Example:
        >>> import pax_tree
        >>> outer = pax_tree.tree_structure([0, 0])
        >>> inner = pax_tree.tree_structure({"loss": 0, "step": 0})
        >>> steps = [{"loss": 2.0, "step": 0}, {"loss": 1.5, "step": 1}]
        >>> pax_tree.tree_transpose(outer, inner, steps)
        {'loss': [2.0, 1.5], 'step': [0, 1]}
    """
    if inner_treedef is None:
        inner_treedef = _first_inner(outer_treedef, pytree_to_transpose)
    leaves = _checked_leaves(outer_treedef.compose(inner_treedef), pytree_to_transpose)
    size = inner_treedef.num_leaves
    return inner_treedef.unflatten([outer_treedef.unflatten(leaves[i::size]) for i in range(size)])


def _first_inner(outer: PyTreeDef, tree: Any) -> PyTreeDef:
    subtrees = outer.flatten_up_to(tree)
    if not subtrees:
        raise TypeError("tree_transpose needs inner_treedef when the outer tree has no leaves.")
    return tree_structure(subtrees[0])


def _checked_leaves(expected: PyTreeDef, tree: Any) -> list[Any]:
    leaves, structure = tree_flatten(tree)
    if structure == expected:
        return leaves
    try:
        expected.flatten_up_to(tree)
        reason = "it has subtrees where leaves are expected"
    except ValueError as error:
        reason = str(error)
    raise TypeError(
        f"tree_transpose takes a tree of the structure {expected}, but got {structure}: {reason}."
    )
