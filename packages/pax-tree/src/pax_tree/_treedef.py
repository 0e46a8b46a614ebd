"""Structures out of structures, under the names of `jax.tree_util`."""

from __future__ import annotations

from collections.abc import Iterable

from pax_tree._C import PyTreeDef


def treedef_is_leaf(treedef: PyTreeDef) -> bool:
    """Whether a structure is a single node, as `jax.tree_util.treedef_is_leaf`.

    Args:
        treedef: the structure.

    Returns:
        True for a leaf, and for what has neither leaves nor children: None and empty containers.

    Example:
        >>> import pax_tree
        >>> [pax_tree.treedef_is_leaf(pax_tree.tree_structure(tree)) for tree in (1, [1])]
        [True, False]
    """
    return treedef.num_nodes == 1


def treedef_children(treedef: PyTreeDef) -> list[PyTreeDef]:
    """Return the structures of the children of the root, as `jax.tree_util.treedef_children`.

    Args:
        treedef: the structure.

    Returns:
        A list with one structure for each child; empty for a leaf.

    Example:
        >>> import pax_tree
        >>> pax_tree.treedef_children(pax_tree.tree_structure([(1, 2), {"a": 3}]))
        [PyTreeDef((*, *)), PyTreeDef({'a': *})]
    """
    return treedef.children()


def treedef_tuple(treedefs: Iterable[PyTreeDef]) -> PyTreeDef:
    """Return the structure of a tuple of trees, as `jax.tree_util.treedef_tuple`.

    Args:
        treedefs: the structures of the trees.

    Returns:
        The structure of the tuple.

    Raises:
        TypeError: one of them is not a PyTreeDef.

    Example:
        >>> import pax_tree
        >>> pax_tree.treedef_tuple(map(pax_tree.tree_structure, ([1, 2], {"a": 3})))
        PyTreeDef(([*, *], {'a': *}))
    """
    return PyTreeDef.from_node_data_and_children((tuple, None), treedefs)
