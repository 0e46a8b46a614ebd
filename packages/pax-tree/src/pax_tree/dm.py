"""The API of dm-tree: change `import tree` to `from pax_tree import dm as tree`.

Structures are seen as dm-tree 0.1.10 sees them: None is a leaf; mappings, their views, sequences,
named tuples, objects of attrs classes and `wrapt.ObjectProxy` of these are nodes, by the abstract
base classes of `collections.abc`, and need not be registered.

Example:
    >>> from pax_tree import dm as tree
    >>> tree.map_structure(lambda x: x * 2, {"a": [1, 2], "b": 3})
    {'a': [2, 4], 'b': 6}
"""

from __future__ import annotations as _annotations

from pax_tree._C import dm_assert_same_structure as assert_same_structure
from pax_tree._C import dm_assert_shallow_structure as assert_shallow_structure
from pax_tree._C import dm_flatten as flatten
from pax_tree._C import dm_flatten_up_to as flatten_up_to
from pax_tree._C import dm_flatten_with_path as flatten_with_path
from pax_tree._C import dm_flatten_with_path_up_to as flatten_with_path_up_to
from pax_tree._C import dm_is_nested as is_nested
from pax_tree._C import dm_map_structure as map_structure
from pax_tree._C import dm_map_structure_up_to as map_structure_up_to
from pax_tree._C import dm_map_structure_with_path as map_structure_with_path
from pax_tree._C import dm_map_structure_with_path_up_to as map_structure_with_path_up_to
from pax_tree._C import dm_MAP_TO_NONE as MAP_TO_NONE
from pax_tree._C import dm_traverse as traverse
from pax_tree._C import dm_traverse_with_path as traverse_with_path
from pax_tree._C import dm_unflatten_as as unflatten_as

__all__ = [
    "MAP_TO_NONE",
    "assert_same_structure",
    "assert_shallow_structure",
    "flatten",
    "flatten_up_to",
    "flatten_with_path",
    "flatten_with_path_up_to",
    "is_nested",
    "map_structure",
    "map_structure_up_to",
    "map_structure_with_path",
    "map_structure_with_path_up_to",
    "traverse",
    "traverse_with_path",
    "unflatten_as",
]


def __getattr__(name: str) -> object:
    """dm-tree's types for annotations; `typing` is imported only when they are used."""
    if name not in ("K", "V", "Structure", "StructureKV"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from collections.abc import Mapping, Sequence
    from typing import TypeVar, Union

    key, value = TypeVar("K"), TypeVar("V")
    nested = "StructureKV[K, V]"
    structure = Union[Sequence[nested], Mapping[key, nested], value]  # noqa: UP007
    types = {"K": key, "V": value, "StructureKV": structure, "Structure": structure[str, value]}
    globals().update(types)
    return types[name]
