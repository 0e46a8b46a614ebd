"""Structures out of structures, prefixes of trees, and trees of trees inside out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pax_tree._C import PyTreeDef, tree_flatten, tree_map, tree_structure
from pax_tree._paths import keystr, open_node

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
        prefix_tree: a tree that starts where or before `full_tree` does.
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


def tree_broadcast_common(
    tree: Any,
    other: Any,
    is_leaf: Callable[[Any], bool] | None = None,
    *,
    none_is_leaf: bool = False,
) -> tuple[Any, Any]:
    """Extend two trees to the structure that both begin, as `optree.tree_broadcast_common`.

    Args:
        tree: a tree.
        other: a tree that ends where `tree` goes on, or goes on where it ends, and is like it
            elsewhere.
        is_leaf: asked at every node of both trees, as by `tree_leaves`.
        none_is_leaf: whether None is a leaf, in both trees.

    Returns:
        Both trees, with their leaves repeated for all leaves that the other has in their place.

    Raises:
        ValueError: the trees differ elsewhere; the message says where.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_broadcast_common([1, (2, 3), 4], [5, 6, (7, 8)])
        ([1, (2, 3), (4, 4)], [5, (6, 6), (7, 8)])
    """

    def common(a: Any, b: Any, path: tuple[Any, ...]) -> tuple[Any, Any]:
        first, second = (open_node(node, is_leaf, none_is_leaf) for node in (a, b))
        if first is None or second is None:
            return _repeated(a, b, second is None), _repeated(b, a, first is None)
        (pairs, structure), (_, own) = first, second
        parts = flatten_up_to(structure, b, "tree_broadcast_common: the trees", keystr(path))
        made = [
            common(child, part, (*path, key))
            for (key, child), part in zip(pairs, parts, strict=True)
        ]
        return structure.unflatten([a for a, _ in made]), own.unflatten([b for _, b in made])

    def _repeated(node: Any, full: Any, full_is_leaf: bool) -> Any:
        if full_is_leaf:
            return node
        return tree_map(lambda _: node, full, is_leaf=is_leaf, none_is_leaf=none_is_leaf)

    return common(tree, other, ())


def flatten_up_to(structure: PyTreeDef, tree: Any, problem: str, root: str = "") -> list[Any]:
    """Call the method of `PyTreeDef`; `problem` begins the error, in which `root` is where both stand."""
    try:
        return structure.flatten_up_to(tree)
    except ValueError as error:
        _, differ, place = str(error).partition("the expected one and the given one differ ")
        if not differ:
            raise
        if root:
            place = place.replace("at the root", f"at {root}", 1)
        message = f"{problem} differ {place}"
    raise ValueError(message)


def tree_transpose(
    outer_treedef: PyTreeDef, inner_treedef: PyTreeDef | None, pytree_to_transpose: Any
) -> Any:
    """Make a tree of trees a tree of trees the other way round, as `jax.tree_util.tree_transpose`.

    Args:
        outer_treedef: the structure of the outer tree.
        inner_treedef: the structure of each of the trees inside; by default that of the first.
        pytree_to_transpose: a tree of the structure `outer_treedef.compose(inner_treedef)`, or
            of that which `outer_treedef` gives trees inside, where static data say what they are.

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
    leaves = _checked_leaves(outer_treedef, inner_treedef, pytree_to_transpose)
    size = inner_treedef.num_leaves
    return inner_treedef.unflatten([outer_treedef.unflatten(leaves[i::size]) for i in range(size)])


def _first_inner(outer: PyTreeDef, tree: Any) -> PyTreeDef:
    subtrees = outer.flatten_up_to(tree)
    if not subtrees:
        raise TypeError("tree_transpose needs inner_treedef when the outer tree has no leaves.")
    return tree_structure(subtrees[0])


def _checked_leaves(outer: PyTreeDef, inner: PyTreeDef, tree: Any) -> list[Any]:
    """Return the leaves of a tree of trees, those of each inner tree together."""
    leaves, structure = tree_flatten(tree)
    expected = outer.compose(inner)
    if structure == expected:
        return leaves
    if len(leaves) == expected.num_leaves:
        starts = range(0, len(leaves), inner.num_leaves) if leaves else [0] * outer.num_leaves
        parts = [inner.unflatten(leaves[i : i + inner.num_leaves]) for i in starts]
        if tree_structure(outer.unflatten(parts)) == structure:
            return leaves
    try:
        expected.flatten_up_to(tree)
        reason = "it has subtrees where leaves are expected"
    except ValueError as error:
        reason = str(error)
    raise TypeError(
        f"tree_transpose takes a tree of the structure {expected}, but got {structure}: {reason}."
    )


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
