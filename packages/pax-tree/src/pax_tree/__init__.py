"""Fast pytrees in C++ with JAX's semantics, needing neither PyTorch nor JAX."""

from __future__ import annotations

from pax_tree import _interop, dm, tree
from pax_tree._arithmetic import tree_add, tree_neg, tree_scale, tree_subtract, tree_zeros_like
from pax_tree._at import tree_get_at, tree_replace_at
from pax_tree._broadcast import broadcast_prefix, tree_broadcast
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
    tree_unflatten,
)
from pax_tree._dataclass import register_dataclass
from pax_tree._diff import TreeDiff, TreeDifference, tree_diff
from pax_tree._key_paths import keystr
from pax_tree._leaves import all_leaves, tree_for_each, tree_iter
from pax_tree._norms import tree_dot, tree_norm, tree_norm_sq, tree_numel, tree_sum
from pax_tree._partial import Partial
from pax_tree._ravel import tree_ravel
from pax_tree._reduce import tree_all, tree_any, tree_reduce
from pax_tree._registry import (
    register_pytree_node,
    register_pytree_node_class,
    register_pytree_with_keys,
    register_pytree_with_keys_class,
    register_static,
    unregister_pytree_node,
)
from pax_tree._select import tree_mask, tree_select
from pax_tree._summary import tree_summary
from pax_tree._transpose import tree_transpose
from pax_tree._treedef import treedef_children, treedef_is_leaf, treedef_tuple

__all__ = [
    "DictKey",
    "FlattenedIndexKey",
    "GetAttrKey",
    "Partial",
    "PyTreeDef",
    "Record",
    "RecordSpec",
    "SequenceKey",
    "TreeDiff",
    "TreeDifference",
    "all_leaves",
    "broadcast_prefix",
    "dm",
    "keystr",
    "record_flatten",
    "record_set",
    "record_spec",
    "record_unflatten",
    "record_with_spec",
    "register_dataclass",
    "register_pytree_node",
    "register_pytree_node_class",
    "register_pytree_with_keys",
    "register_pytree_with_keys_class",
    "register_static",
    "set_scope_hook",
    "tree",
    "tree_add",
    "tree_all",
    "tree_any",
    "tree_broadcast",
    "tree_diff",
    "tree_dot",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_for_each",
    "tree_get_at",
    "tree_iter",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_with_path",
    "tree_mask",
    "tree_neg",
    "tree_norm",
    "tree_norm_sq",
    "tree_numel",
    "tree_ravel",
    "tree_reduce",
    "tree_replace_at",
    "tree_scale",
    "tree_select",
    "tree_structure",
    "tree_subtract",
    "tree_sum",
    "tree_summary",
    "tree_transpose",
    "tree_unflatten",
    "tree_zeros_like",
    "treedef_children",
    "treedef_is_leaf",
    "treedef_tuple",
    "unregister_pytree_node",
]

_interop.install()
