"""The pytree functions that this package uses, from one place."""

from typing import Any, TypeAlias

from pax_tree import (
    keystr,
    tree_flatten,
    tree_flatten_with_path,
    tree_leaves,
    tree_map,
    tree_structure,
    tree_unflatten,
)

PyTreeDef: TypeAlias = Any  # compiled, without a type stub

__all__ = [
    "PyTreeDef",
    "keystr",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_leaves",
    "tree_map",
    "tree_structure",
    "tree_unflatten",
]
