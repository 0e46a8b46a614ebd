"""What `torch.compile` runs in place of the C core; imported only when its compiler is."""

from __future__ import annotations

import sys

import pax_tree._C as _C
from pax_tree._compat import substitute_class
from pax_tree._interop import traced

_FUNCTIONS = (
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_with_path",
    "tree_structure",
    "tree_unflatten",
)
_KEYS = {
    _C.DictKey: traced.dict_key,
    _C.SequenceKey: traced.sequence_key,
    _C.GetAttrKey: traced.get_attr_key,
    _C.FlattenedIndexKey: traced.flattened_index_key,
}


def connect() -> None:
    """Tell the compiler of PyTorch what the C functions do."""
    compiler = sys.modules["torch"].compiler
    for function in traced.CONSTANTS:
        compiler.assume_constant_result(function)
    for name in _FUNCTIONS:
        compiler.substitute_in_graph(getattr(_C, name))(getattr(traced, name))
    for cls, function in _KEYS.items():
        substitute_class(cls)(function)
    make = _C.PyTreeDef.from_node_data_and_children
    compiler.substitute_in_graph(make)(traced.from_node_data_and_children)
