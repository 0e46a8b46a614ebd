"""Trees of results as JAX can carry them: without classes that only PyTorch knows."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from functools import cache
from typing import Any

import jax
import torch
from torch.nn import Module

from pax_tree import (
    GetAttrKey,
    PyTreeDef,
    register_pytree_with_keys,
    tree_flatten,
    tree_flatten_with_path,
    tree_leaves,
    tree_unflatten,
)

_NO_OBJECTS = (torch.Tensor, Module, type, dict, list, tuple, set, frozenset)
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


def register_objects(tree: Any) -> None:
    """Let trees go into objects that hold tensors in their attributes, such as caches of models.

    A class is registered when an object of it is first found: the attributes that hold tensors are
    its children, and the others are compared with the structure.
    """
    while found := next((leaf for leaf in tree_leaves(tree) if _names_of_tensors(leaf)), None):
        _register_object(type(found), _names_of_tensors(found))


def _names_of_tensors(leaf: Any) -> tuple[str, ...]:
    """Return the attributes of an object that hold tensors; of a container they would not be all."""
    if isinstance(leaf, _NO_OBJECTS) or not hasattr(leaf, "__dict__"):
        return ()
    return tuple(sorted(name for name, value in vars(leaf).items() if _holds_tensors(value)))


def _holds_tensors(value: Any) -> bool:
    return any(isinstance(x, torch.Tensor) or _names_of_tensors(x) for x in tree_leaves(value))


def _register_object(cls: type, names: tuple[str, ...]) -> None:
    def flatten(value: Any) -> tuple[list[tuple[Any, Any]], Any]:
        attributes = vars(value)
        children = [(GetAttrKey(name), attributes[name]) for name in names if name in attributes]
        rest = {name: value for name, value in attributes.items() if name not in names}
        return children, (tuple(key.name for key, _ in children), tuple(rest.items()))

    def unflatten(data: Any, children: Any) -> Any:
        given, rest = data
        made = object.__new__(cls)
        vars(made).update(rest)
        vars(made).update(zip(given, children, strict=True))
        return made

    register_pytree_with_keys(cls, flatten, unflatten)


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
