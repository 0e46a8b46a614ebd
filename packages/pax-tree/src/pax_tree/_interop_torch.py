"""The exchange of registrations with PyTorch; imported only when PyTorch is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pax_tree import _C, _interop
from pax_tree._interop import Library, Node


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
    from torch.utils import _pytree as pytree

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
        with_keys = _with_keys(_interop.keys_of(cls), to_torch)
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
