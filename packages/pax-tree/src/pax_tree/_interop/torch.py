"""The exchange of registrations and of structures with PyTorch; imported only when PyTorch is."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Sequence
from typing import Any

import pax_tree._C as _C
from pax_tree._C import PyTreeDef
from pax_tree._compat import torch_pytree
from pax_tree._interop.conversion import (
    NodeData,
    convert,
    is_named_tuple,
    make_ours,
    refuse,
    view,
    why_not_shared,
)
from pax_tree._interop.registry import Library, Node, keys_of

_BOTH_KNOW = (tuple, list, dict, OrderedDict, defaultdict, deque)


def _swapped(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """PyTorch passes (children, context), JAX (context, children)."""
    return lambda first, second: function(second, first)


def _with_keys(
    function: Callable[[Any], tuple[Any, Any]] | None, keys: dict[type, Callable[[Any], Any]]
) -> Callable[[Any], tuple[Any, Any]] | None:
    if function is None:
        return None

    def flatten(value: Any) -> tuple[list[Any], Any]:
        pairs, aux = function(value)
        return [(keys.get(type(key), _same)(key), child) for key, child in pairs], aux

    return flatten


def _same(key: Any) -> Any:
    return key


def _keys_to_torch(pytree: Any) -> dict[type, Callable[[Any], Any]]:
    return {
        _C.DictKey: lambda key: pytree.MappingKey(key.key),
        _C.SequenceKey: lambda key: pytree.SequenceKey(key.idx),
        _C.GetAttrKey: lambda key: pytree.GetAttrKey(key.name),
        _C.FlattenedIndexKey: lambda key: pytree.SequenceKey(key.key),
    }


def _keys_from_torch(pytree: Any) -> dict[type, Callable[[Any], Any]]:
    return {
        pytree.MappingKey: lambda key: _C.DictKey(key.key),
        pytree.SequenceKey: lambda key: _C.SequenceKey(key.idx),
        pytree.GetAttrKey: lambda key: _C.GetAttrKey(key.name),
    }


def connect() -> Library:
    """Return the registry of `torch.utils._pytree`."""
    pytree = torch_pytree()
    to_torch, from_torch = _keys_to_torch(pytree), _keys_from_torch(pytree)
    flatten_record = _C._record_flattener(pytree.GetAttrKey)

    def enter(cls: type, node: Node) -> bool:
        if cls in pytree.SUPPORTED_NODES or pytree.is_namedtuple_class(cls):
            return False  # all named tuples are taken apart in one way, registered or not
        pytree.register_pytree_node(
            cls,
            node.flatten,
            _swapped(node.unflatten),
            flatten_with_keys_fn=node.flatten_with_keys,
        )
        return True

    def publish(cls: type, flatten: Callable[..., Any], unflatten: Callable[..., Any]) -> bool:
        with_keys = _with_keys(keys_of(cls), to_torch)
        return enter(cls, Node(flatten, unflatten, with_keys))

    def publish_record(cls: type) -> None:
        enter(cls, Node(_C.record_flatten, _C.record_unflatten, flatten_record))

    def adopt(cls: type) -> Node | None:
        theirs = pytree.SUPPORTED_NODES.get(cls)
        if theirs is None or pytree.is_namedtuple_class(cls):
            return None
        with_keys = _with_keys(theirs.flatten_with_keys_fn, from_torch)
        return Node(theirs.flatten_fn, _swapped(theirs.unflatten_fn), with_keys)

    return Library(publish, publish_record, adopt)


def to_torch(treedef: PyTreeDef) -> Any:
    """Return what `PyTreeDef.to_torch` does."""
    pytree = torch_pytree()
    leaf = pytree.tree_structure(0)

    def make(data: NodeData, children: list[Any]) -> Any:
        if data is None:
            return leaf
        cls, static = data
        refuse(_why_not, cls)
        if cls is not tuple and is_named_tuple(cls):
            return pytree.TreeSpec(namedtuple, cls, children)
        return pytree.TreeSpec(cls, _context(cls, static), children)

    return convert(treedef, view, make, "TreeSpec of PyTorch")


def from_torch(spec: Any) -> PyTreeDef:
    """Return what `PyTreeDef.from_torch` does."""
    pytree = torch_pytree()
    if not isinstance(spec, pytree.TreeSpec):
        raise TypeError(f"from_torch takes a TreeSpec of PyTorch, but got {spec!r}.")
    return convert(spec, _view_spec, _make_ours, "PyTreeDef")


def _context(cls: type, static: Any) -> Any:
    if cls is defaultdict:
        return [static[0], list(static[1])]
    return list(static) if cls in (dict, OrderedDict) else static


def _view_spec(spec: Any) -> tuple[NodeData, Sequence[Any]]:
    if spec.is_leaf():
        return None, ()
    if spec.type is namedtuple:
        return (spec.context, None), spec.children()
    static = tuple(spec.context) if spec.type is defaultdict else spec.context
    return (spec.type, static), spec.children()


def _make_ours(data: NodeData, children: list[Any]) -> PyTreeDef:
    return make_ours(data, children, _why_not)


def _why_not(cls: type) -> str | None:
    if cls is type(None):
        return "None is a node without leaves here and a leaf for PyTorch"
    return None if cls in _BOTH_KNOW else why_not_shared(cls, "torch", "PyTorch")
