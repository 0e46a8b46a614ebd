"""The functions on trees under short names, as in `jax.tree`.

Example:
    >>> from pax_tree import tree
    >>> tree.map(lambda leaf: leaf + 1, {"a": [1, 2]})
    {'a': [2, 3]}
"""

from pax_tree._accessors import tree_accessors as accessors
from pax_tree._accessors import tree_flatten_with_accessor as flatten_with_accessor
from pax_tree._C import tree_flatten as flatten
from pax_tree._C import tree_flatten_with_path as flatten_with_path
from pax_tree._C import tree_leaves as leaves
from pax_tree._C import tree_leaves_with_path as leaves_with_path
from pax_tree._C import tree_map as map
from pax_tree._C import tree_map_with_path as map_with_path
from pax_tree._C import tree_structure as structure
from pax_tree._C import tree_unflatten as unflatten
from pax_tree._diff import tree_diff as diff
from pax_tree._leaves import tree_for_each as for_each
from pax_tree._leaves import tree_iter as iter
from pax_tree._leaves import tree_partition as partition
from pax_tree._math import tree_add as add
from pax_tree._math import tree_all as all
from pax_tree._math import tree_any as any
from pax_tree._math import tree_dot as dot
from pax_tree._math import tree_neg as neg
from pax_tree._math import tree_norm as norm
from pax_tree._math import tree_norm_sq as norm_sq
from pax_tree._math import tree_numel as numel
from pax_tree._math import tree_reduce as reduce
from pax_tree._math import tree_reduce_associative as reduce_associative
from pax_tree._math import tree_scale as scale
from pax_tree._math import tree_subtract as subtract
from pax_tree._math import tree_sum as sum
from pax_tree._math import tree_zeros_like as zeros_like
from pax_tree._paths import tree_get_at as get_at
from pax_tree._paths import tree_replace_at as replace_at
from pax_tree._ravel import tree_ravel as ravel
from pax_tree._registry import static_field as static
from pax_tree._select import tree_mask as mask
from pax_tree._select import tree_select as select
from pax_tree._structures import tree_broadcast as broadcast
from pax_tree._structures import tree_broadcast_common as broadcast_common
from pax_tree._structures import tree_transpose as transpose
from pax_tree._summary import tree_summary as summary

__all__ = [
    "accessors",
    "add",
    "all",
    "any",
    "broadcast",
    "broadcast_common",
    "diff",
    "dot",
    "flatten",
    "flatten_with_accessor",
    "flatten_with_path",
    "for_each",
    "get_at",
    "iter",
    "leaves",
    "leaves_with_path",
    "map",
    "map_with_path",
    "mask",
    "neg",
    "norm",
    "norm_sq",
    "numel",
    "partition",
    "ravel",
    "reduce",
    "reduce_associative",
    "replace_at",
    "scale",
    "select",
    "static",
    "structure",
    "subtract",
    "sum",
    "summary",
    "transpose",
    "unflatten",
    "zeros_like",
]
