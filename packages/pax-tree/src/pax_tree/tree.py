"""The functions on trees under short names, as in `jax.tree`.

Example:
    >>> from pax_tree import tree
    >>> tree.map(lambda leaf: leaf + 1, {"a": [1, 2]})
    {'a': [2, 3]}

"""

from pax_tree._C import tree_flatten as flatten
from pax_tree._C import tree_flatten_with_path as flatten_with_path
from pax_tree._C import tree_leaves as leaves
from pax_tree._C import tree_leaves_with_path as leaves_with_path
from pax_tree._C import tree_map as map
from pax_tree._C import tree_map_with_path as map_with_path
from pax_tree._C import tree_structure as structure
from pax_tree._reduce import tree_all as all
from pax_tree._reduce import tree_reduce as reduce
from pax_tree._transpose import tree_transpose as transpose
from pax_tree._unflatten import tree_unflatten as unflatten

__all__ = [
    "all",
    "flatten",
    "flatten_with_path",
    "leaves",
    "leaves_with_path",
    "map",
    "map_with_path",
    "reduce",
    "structure",
    "transpose",
    "unflatten",
]
