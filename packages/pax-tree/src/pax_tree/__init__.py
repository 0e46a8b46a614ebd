"""Fast pytrees in C++ with JAX's semantics, needing neither PyTorch nor JAX."""

from pax_tree import _interop
from pax_tree._C import (
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    PyTreeDef,
    Record,
    RecordSpec,
    SequenceKey,
    record_flatten,
    record_set,
    record_spec,
    record_unflatten,
    record_with_spec,
    set_scope_hook,
    tree_flatten,
    tree_flatten_with_path,
    tree_leaves,
    tree_leaves_with_path,
    tree_map,
    tree_map_with_path,
    tree_structure,
)
from pax_tree._unflatten import tree_unflatten

__all__ = [
    "DictKey",
    "FlattenedIndexKey",
    "GetAttrKey",
    "PyTreeDef",
    "Record",
    "RecordSpec",
    "SequenceKey",
    "record_flatten",
    "record_set",
    "record_spec",
    "record_unflatten",
    "record_with_spec",
    "set_scope_hook",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_with_path",
    "tree_structure",
    "tree_unflatten",
]

_interop.install()
