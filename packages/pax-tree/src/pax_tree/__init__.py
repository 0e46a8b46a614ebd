"""Fast pytrees in C++ with JAX's semantics, needing neither PyTorch nor JAX."""

from pax_tree import _interop, dm, tree
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
from pax_tree._dataclass import register_dataclass
from pax_tree._key_paths import keystr
from pax_tree._reduce import tree_all, tree_reduce
from pax_tree._registry import (
    register_pytree_node,
    register_pytree_node_class,
    register_pytree_with_keys,
    register_pytree_with_keys_class,
    register_static,
    unregister_pytree_node,
)
from pax_tree._transpose import tree_transpose
from pax_tree._treedef import treedef_children, treedef_is_leaf, treedef_tuple
from pax_tree._unflatten import tree_unflatten

__all__ = [
    "DictKey",
    "FlattenedIndexKey",
    "GetAttrKey",
    "PyTreeDef",
    "Record",
    "RecordSpec",
    "SequenceKey",
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
    "tree_all",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_with_path",
    "tree_reduce",
    "tree_structure",
    "tree_transpose",
    "tree_unflatten",
    "treedef_children",
    "treedef_is_leaf",
    "treedef_tuple",
    "unregister_pytree_node",
]

_interop.install()
