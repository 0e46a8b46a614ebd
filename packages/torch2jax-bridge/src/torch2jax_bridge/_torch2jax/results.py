"""Trees of results as JAX can carry them: without classes that only PyTorch knows."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from functools import cache
from types import MemberDescriptorType
from typing import Any

import jax
import numpy as np
import torch
from torch.nn import Module

from pax_tree import (
    GetAttrKey,
    PyTreeDef,
    is_tree_node,
    register_pytree_with_keys,
    tree_flatten,
    tree_flatten_with_path,
    tree_leaves,
    tree_unflatten,
)
from torch2jax_bridge._torch2jax.put_back import in_slot
from torch2jax_bridge._torch2jax.stand_ins import slots

_NO_OBJECTS = (torch.Tensor, np.ndarray, Module, type, dict, list, tuple, set, frozenset)
_KNOWN = (tuple, list, dict, OrderedDict, defaultdict, type(None))


def carried_by_jax(treedef: PyTreeDef) -> PyTreeDef:
    """Return a tree with classes of which only PyTorch knows how to take them apart made JAX's.

    The tuples with names that PyTorch's functions return (`torch.return_types`) become named
    tuples, deques lists, and named tuples that check what they are made of those without checks.
    Other classes (outputs and caches of models) are registered with JAX, in the way that PyTorch
    takes them apart, and stay what they are.
    """
    data, children = treedef.node_data(), [carried_by_jax(c) for c in treedef.children()]
    if data is None:
        return treedef
    cls = data[0]
    if cls is deque:
        data = (list, None)
    elif issubclass(cls, tuple) and cls is not tuple and not hasattr(cls, "_fields"):
        data = (_named_tuple(cls), None)
    elif issubclass(cls, tuple) and not _takes_fields(cls):
        data = (next(base for base in cls.__mro__ if "_fields" in vars(base)), None)
    elif not _is_known(cls):
        _register(cls)
    return PyTreeDef.from_node_data_and_children(data, children)


_children: dict[type, set[str]] = {}  # of classes of objects that hold tensors


def register_objects(tree: Any) -> None:
    """Let trees go into objects that hold tensors in their attributes, such as caches of models.

    A class is registered when an object of it is first found: the attributes that hold tensors in
    one of its objects are children, and the others are compared with the structure.
    """
    while found := next(filter(_is_unknown, tree_leaves(tree, is_leaf=_is_unknown)), None):
        cls, names = type(found), _unknown_names(found)
        if cls not in _children:
            _register_object(cls, _children.setdefault(cls, set()))
        _children[cls].update(names)


def _is_unknown(value: Any) -> bool:
    return bool(_unknown_names(value))


def _unknown_names(value: Any) -> set[str]:
    """Return the attributes that hold tensors of an object, or node, without those that are known to."""
    cls = type(value)
    if cls not in _children and is_tree_node(cls):
        return set()
    return _names_of_tensors(value) - _children.get(cls, set())


def _names_of_tensors(leaf: Any) -> set[str]:
    """Return the attributes of an object that hold tensors; of a container they would not be all."""
    if isinstance(leaf, _NO_OBJECTS):
        return set()
    return {name for name, value in _attributes(leaf).items() if _holds_tensors(value)}


def _attributes(value: Any) -> dict[str, Any]:
    found = dict(getattr(value, "__dict__", ()))
    for slot in _slots(type(value)):
        if hasattr(value, slot.__name__):
            found[slot.__name__] = in_slot(slot, value)
    return found


@cache
def _slots(cls: type) -> list[MemberDescriptorType]:
    return [slot for base in cls.__mro__ for slot in slots(base) if slot.__name__ != "__dict__"]


def _holds_tensors(value: Any) -> bool:
    leaves = tree_leaves(value)
    return any(isinstance(x, torch.Tensor | np.ndarray) or _names_of_tensors(x) for x in leaves)


def _register_object(cls: type, names: set[str]) -> None:
    def flatten(value: Any) -> tuple[list[tuple[Any, Any]], Any]:
        attributes = _attributes(value)
        given = sorted(names & attributes.keys())
        children = [(GetAttrKey(name), attributes[name]) for name in given]
        rest = tuple(item for item in attributes.items() if item[0] not in names)
        return children, (tuple(given), rest)

    def unflatten(data: Any, children: Any) -> Any:
        given, rest = data
        made = _empty(cls)
        attributes = {**dict(rest), **dict(zip(given, children, strict=True))}
        for slot in _slots(cls):
            if slot.__name__ in attributes:
                slot.__set__(made, attributes.pop(slot.__name__))
        if attributes:
            vars(made).update(attributes)
        return made

    register_pytree_with_keys(cls, flatten, unflatten)


def _empty(cls: type) -> Any:
    """Return an object without attributes."""
    try:
        return object.__new__(cls)
    except TypeError:  # a class in C, such as SimpleNamespace
        make: Any = cls.__new__
        return make(cls)


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
def _takes_fields(cls: type) -> bool:
    """Whether a tuple can be made of anything, as JAX does; PyTorch's PackedSequence cannot."""
    fields = tuple(object() for _ in getattr(cls, "_fields", ()))
    try:
        return cls is tuple or tuple(cls(*fields)) == fields
    except Exception:
        return False


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
