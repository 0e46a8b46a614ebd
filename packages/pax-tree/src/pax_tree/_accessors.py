"""The ways to the leaves of a tree, as functions that lead there and as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pax_tree._C import PyTreeDef, tree_flatten_with_path
from pax_tree._paths import key_name, way

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any


class PyTreeAccessor(Sequence):
    """The way from the root of a tree to a leaf: its path, which can be called, as optree's.

    `PyTreeAccessor(path)` is a sequence of the keys of the path, and equal to the tuple of them.
    Called on a tree, it returns what stands there, as `tree_get_at` does.

    Example:
        >>> import pax_tree
        >>> accessors, leaves, structure = pax_tree.tree_flatten_with_accessor({"a": [1.0, 2.0]})
        >>> accessors[1]({"a": [3.0, 4.0]}), accessors[1].codify("params"), accessors[1].path
        (4.0, "params['a'][1]", ('a', 1))
    """

    __slots__ = ("__weakref__", "_keys")

    def __init__(self, path: Iterable[Any] = ()) -> None:
        """Make the way along some keys.

        Args:
            path: the keys, as for `tree_get_at`.
        """
        self._keys = tuple(path)

    def __call__(self, tree: Any) -> Any:
        """Return what stands at the path in a tree.

        Args:
            tree: the tree.

        Raises:
            LookupError: the tree has no such path; the message says up to where it exists.
        """
        return way("PyTreeAccessor", tree, self._keys)[1]

    @property
    def path(self) -> tuple[Any, ...]:
        """The dict keys, indices and attribute names without the classes of the keys."""
        return tuple(map(key_name, self._keys))

    def codify(self, root: str = "*") -> str:
        """Return the Python expression that leads from the root to the leaf.

        Args:
            root: the expression of the tree.

        Returns:
            The text; dict keys as their `repr`. A child of a registered class that names none is
            taken by `pax_tree.flatten_one_level`.

        Raises:
            ValueError: a key is of a class of which the expression is not known.

        Example:
            >>> import pax_tree
            >>> pax_tree.tree_accessors([{"a": 1}])[0].codify("tree")
            "tree[0]['a']"
        """
        for key in self._keys:
            root = _codified(root, key)
        return root

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: Any) -> Any:
        part = self._keys[index]
        return PyTreeAccessor(part) if isinstance(index, slice) else part

    def __add__(self, other: Any) -> PyTreeAccessor:
        if not isinstance(other, PyTreeAccessor | tuple):
            return NotImplemented
        return PyTreeAccessor((*self._keys, *other))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PyTreeAccessor):
            return self._keys == other._keys
        return self._keys == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._keys)

    def __repr__(self) -> str:
        return f"PyTreeAccessor({self._keys!r})"


def _codified(root: str, key: Any) -> str:
    name, kind = key_name(key), type(key).__name__  # which `torch.compile` keeps
    if kind in ("DictKey", "MappingKey", "SequenceKey"):
        return f"{root}[{name!r}]"
    if kind == "GetAttrKey":
        return f"{root}.{name}" if str(name).isidentifier() else f"getattr({root}, {name!r})"
    if kind == "FlattenedIndexKey":
        return f"pax_tree.flatten_one_level({root})[0][{name!r}]"
    raise ValueError(
        f"codify: {root} has a child under {key!r}, a key of the class {type(key).__name__}, which "
        "says neither an attribute nor an item; give the class a DictKey, SequenceKey or GetAttrKey "
        "in its flatten-with-keys function."
    )


def tree_flatten_with_accessor(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None, *, none_is_leaf: bool = False
) -> tuple[list[PyTreeAccessor], list[Any], PyTreeDef]:
    """Return the ways to the leaves, the leaves and the structure, as `optree.tree_flatten_with_accessor`.

    Args:
        tree: the tree.
        is_leaf: as for `tree_flatten`.
        none_is_leaf: as for `tree_flatten`.

    Returns:
        For each leaf its `PyTreeAccessor`; the leaves; and the structure.

    Example:
        >>> import pax_tree
        >>> accessors, leaves, structure = pax_tree.tree_flatten_with_accessor({"b": 1, "a": (2,)})
        >>> [accessor.codify("tree") for accessor in accessors], leaves
        (["tree['a'][0]", "tree['b']"], [2, 1])
    """
    pairs, structure = tree_flatten_with_path(tree, is_leaf, none_is_leaf=none_is_leaf)
    return [PyTreeAccessor(path) for path, _ in pairs], [leaf for _, leaf in pairs], structure


def tree_accessors(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None, *, none_is_leaf: bool = False
) -> list[PyTreeAccessor]:
    """Return the ways to the leaves of a tree, as `optree.tree_accessors`.

    Args:
        tree: the tree.
        is_leaf: as for `tree_flatten`.
        none_is_leaf: as for `tree_flatten`.

    Returns:
        A list with one `PyTreeAccessor` for each leaf.

    Example:
        >>> import pax_tree
        >>> [accessor((5, {"a": 6})) for accessor in pax_tree.tree_accessors((1, {"a": 2}))]
        [5, 6]
    """
    return tree_flatten_with_accessor(tree, is_leaf, none_is_leaf=none_is_leaf)[0]
