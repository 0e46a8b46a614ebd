"""One node taken apart: its children, their keys, its static data."""

from __future__ import annotations

import sys

import pax_tree._C as _C
from pax_tree._interop.registry import look_up
from pax_tree._paths import open_node

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any


def flatten_one_level(tree: Any) -> tuple[tuple[Any, ...], Any]:
    """Return the children and the static data of a node, as `jax.tree_util.flatten_one_level`.

    Args:
        tree: a node; its children may be any trees.

    Returns:
        The children in the order of their leaves, and the static data: the keys of a dict, the
        class of a named tuple, what the flatten function of a registered class returned.

    Raises:
        ValueError: `tree` is a leaf.

    Example:
        >>> import pax_tree
        >>> pax_tree.flatten_one_level({"b": [1, 2], "a": 3})
        ((3, [1, 2]), ('a', 'b'))
    """
    pairs, static = flatten_one_level_with_keys(tree)
    return tuple(child for _, child in pairs), static


def flatten_one_level_with_keys(tree: Any) -> tuple[tuple[tuple[Any, Any], ...], Any]:
    """Return the children of a node with their keys, and its static data.

    As `jax.tree_util.flatten_one_level_with_keys`.

    Args:
        tree: a node.

    Returns:
        The pairs of key and child, and the static data as of `flatten_one_level`.

    Raises:
        ValueError: `tree` is a leaf.

    Example:
        >>> import pax_tree
        >>> pax_tree.flatten_one_level_with_keys([[1, 2], 3])
        (((SequenceKey(idx=0), [1, 2]), (SequenceKey(idx=1), 3)), None)
    """
    opened = open_node(tree)
    if opened is None:
        raise ValueError(
            f"Only a node can be flattened by one level, but an object of type "
            f"{type(tree).__name__} is a leaf; register the class to make it a node."
        )
    pairs, structure = opened
    cls, static = structure.node_data() or (type(tree), None)
    return tuple(pairs), _static_data(cls, static)


def _static_data(cls: Any, static: Any) -> Any:
    """Return what `PyTreeDef.node_data` says of a node as JAX's function says it."""
    if cls is dict:
        return tuple(static)
    collections = sys.modules.get("collections")
    if collections is not None and cls is collections.defaultdict:
        return static[0], tuple(static[1])
    return cls if static is None and is_plain_named_tuple(cls) else static


def is_plain_named_tuple(cls: type) -> bool:
    """Whether a class is a named tuple that is not registered."""
    named = issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple)
    return named and not _C._is_registered(cls)


def is_tree_node(cls: type) -> bool:
    """Whether objects of a class are nodes, as `jax.tree_util.is_tree_node`.

    Args:
        cls: the class.

    Returns:
        True for the built-in containers, the class of None, named tuples, records and registered
        classes, those registered with JAX or PyTorch alone included.

    Raises:
        TypeError: the argument is no class.

    Example:
        >>> import pax_tree
        >>> [pax_tree.is_tree_node(cls) for cls in (dict, type(None), str)]
        [True, True, False]
    """
    if not isinstance(cls, type):
        raise TypeError(f"is_tree_node takes a class, but got {cls!r}.")
    look_up(cls)
    return (
        _C._is_registered(cls)
        or (issubclass(cls, _C.Record) and cls is not _C.Record)
        or is_plain_named_tuple(cls)
    )
