"""Trees of results as JAX can carry them: without classes that only PyTorch knows."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from functools import cache
from typing import Any

import jax

from pax_tree import PyTreeDef, tree_flatten, tree_flatten_with_path, tree_unflatten

_KNOWN = (tuple, list, dict, OrderedDict, defaultdict, type(None))


def carried_by_jax(treedef: PyTreeDef) -> PyTreeDef:
    """Return a tree with classes of which only PyTorch knows how to take them apart made JAX's.

    The tuples with names that PyTorch's functions return (`torch.return_types`) become named
    tuples, deques lists. Other classes (outputs and caches of models) are registered with JAX, in
    the way that PyTorch takes them apart, and stay what they are.
    """
    data, children = treedef.node_data(), [carried_by_jax(c) for c in treedef.children()]
    if data is None:
        return treedef
    cls = data[0]
    if cls is deque:
        data = (list, None)
    elif issubclass(cls, tuple) and cls is not tuple and not hasattr(cls, "_fields"):
        data = (_named_tuple(cls), None)
    elif not _is_known(cls):
        _register(cls)
    return PyTreeDef.from_node_data_and_children(data, children)


def as_lists(treedef: PyTreeDef) -> PyTreeDef:
    """Return a tree with lists for tuples of every kind, since users write one for the other."""
    data, children = treedef.node_data(), [as_lists(c) for c in treedef.children()]
    if data is None:
        return treedef
    if issubclass(data[0], tuple):
        data = (list, None)
    return PyTreeDef.from_node_data_and_children(data, children)


def _is_known(cls: type) -> bool:
    is_named_tuple = issubclass(cls, tuple) and hasattr(cls, "_fields")
    return cls in _KNOWN or is_named_tuple or jax.tree_util.default_registry.is_node(cls)


@cache
def _named_tuple(cls: type) -> type:
    """Return the named tuple with the fields of a class of `torch.return_types`."""
    fields = tuple(cls.__match_args__)
    base: Any = namedtuple(cls.__name__, fields)
    reduced = {"__slots__": (), "__reduce__": lambda self: (_remake, (cls, tuple(self)))}
    return type(cls.__name__, (base,), reduced)


def _remake(cls: type, values: tuple[Any, ...]) -> Any:
    return _named_tuple(cls)(*values)


def _register(cls: type) -> None:
    """Let JAX take objects of a class apart as pax_tree does, which goes by PyTorch's registry."""

    def flatten(value: Any) -> tuple[list[Any], PyTreeDef]:
        return tree_flatten(value, is_leaf=lambda x: x is not value)

    def flatten_with_keys(value: Any) -> tuple[list[tuple[Any, Any]], PyTreeDef]:
        pairs, treedef = tree_flatten_with_path(value, is_leaf=lambda x: x is not value)
        return [(path[0], child) for path, child in pairs], treedef

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, tree_unflatten, flatten)
