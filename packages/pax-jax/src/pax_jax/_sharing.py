"""No array stands at two places of a module: gradients and donation would see it twice."""

from __future__ import annotations

from typing import Any

import pax_tree
from pax_jax._kinds import is_array


def check_unshared(module: Any) -> None:
    """Raise if an array, or a module with arrays, is held twice by `module`.

    Raises:
        ValueError: it is; the message names both places.
    """
    leaves = pax_tree.tree_leaves(module)
    if len(set(map(id, leaves))) != len(leaves):
        _raise_if_array(module)


def _raise_if_array(module: Any) -> None:
    seen: dict[int, Any] = {}
    for path, leaf in pax_tree.tree_leaves_with_path(module):
        if not is_array(leaf):
            continue
        if id(leaf) in seen:
            raise _shared(module, seen[id(leaf)], path)
        seen[id(leaf)] = path


def _shared(module: Any, first: Any, second: Any) -> ValueError:
    first, second, owner = _shared_owner(module, tuple(first), tuple(second))
    what = "array" if is_array(owner) else type(owner).__name__
    root = type(module).__name__
    return ValueError(
        f"{root}{pax_tree.keystr(first)} and {root}{pax_tree.keystr(second)} are the same {what}. "
        "A module holds each array once. Make a copy for the second place (`jnp.copy(array)`, "
        "`copy.deepcopy(module)`), or declare it shared in the class body "
        "(`second = pax_jax.Shared('first')`)."
    )


def _shared_owner(module: Any, first: tuple, second: tuple) -> tuple[tuple, tuple, Any]:
    """Shorten both paths while they lead to one object, so that a shared module is named."""
    owner = _follow(module, first)
    while first[:-1] != second[:-1]:
        parent = _follow(module, first[:-1])
        if parent is None or parent is not _follow(module, second[:-1]):
            break
        first, second, owner = first[:-1], second[:-1], parent
    return first, second, owner


def _follow(tree: Any, path: tuple) -> Any:
    """Return what stands at `path`, or `None` where a key says nothing of how to get there."""
    for key in path:
        if isinstance(key, pax_tree.GetAttrKey):
            tree = getattr(tree, key.name)
        elif isinstance(key, pax_tree.SequenceKey):
            tree = tree[key.idx]
        elif isinstance(key, pax_tree.DictKey):
            tree = tree[key.key]
        else:
            return None
    return tree
