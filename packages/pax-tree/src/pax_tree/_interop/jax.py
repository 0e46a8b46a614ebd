"""The exchange of registrations and of structures with JAX; imported only when JAX is."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pax_tree._C as _C
from pax_tree._C import PyTreeDef
from pax_tree._compat import named_tuples_of_jax
from pax_tree._describe import short_repr
from pax_tree._interop.conversion import (
    NodeData,
    RefusedError,
    convert,
    make_ours,
    refuse,
    view,
    why_not_shared,
)
from pax_tree._interop.registry import Library, Node, keys_of

_BOTH_KNOW = (tuple, list, dict, OrderedDict, defaultdict, type(None))

_OUR_KEYS = {
    "DictKey": _C.DictKey,
    "SequenceKey": _C.SequenceKey,
    "GetAttrKey": _C.GetAttrKey,
    "FlattenedIndexKey": _C.FlattenedIndexKey,
}


def _translate(keys: dict[type, type]) -> Callable[[Any], Any]:
    """Return a function from one library's path keys to the other's; unknown keys stay as they are."""

    def translate(key: Any) -> Any:
        to = keys.get(type(key))
        return key if to is None else to(getattr(key, key.__match_args__[0]))

    return translate


def _with_keys(
    flatten_with_keys: Callable[[Any], tuple[Any, Any]], translate: Callable[[Any], Any]
) -> Callable[[Any], tuple[Any, Any]]:
    def flatten(value: Any) -> tuple[Any, Any]:
        pairs, aux = flatten_with_keys(value)
        return tuple((translate(key), child) for key, child in pairs), aux

    return flatten


def _adopted(cls: type, tree_util: Any, to_ours: Callable[[Any], Any]) -> Node:
    registry = tree_util.default_registry
    leaf = tree_util.tree_structure(0)

    def unflatten(aux: Any, children: Sequence[Any]) -> Any:
        leaves = [leaf] * len(children)
        treedef = tree_util.PyTreeDef.from_node_data_and_children(registry, (cls, aux), leaves)
        return treedef.unflatten(children)

    if _is_named_tuple(cls):  # of which JAX makes treedefs only by flattening one
        unflatten = named_tuples_of_jax()[cls].from_iter
    with_keys = _with_keys(registry.flatten_one_level_with_keys, to_ours)
    return Node(registry.flatten_one_level, unflatten, with_keys)


def _knows(cls: type, tree_util: Any) -> bool:
    """Whether a class is registered; named tuples are nodes for JAX without that."""
    if _is_named_tuple(cls):
        return cls in named_tuples_of_jax()
    return tree_util.default_registry.is_node(cls)


def _is_named_tuple(cls: type) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def connect() -> Library:
    """Return the registry of `jax.tree_util`."""
    from jax import tree_util

    theirs = {getattr(tree_util, name): ours for name, ours in _OUR_KEYS.items()}
    ours = {ours: their for their, ours in theirs.items()}
    to_jax, to_ours = _translate(ours), _translate(theirs)
    flatten_record = _C._record_flattener(tree_util.GetAttrKey)

    def publish(cls: type, flatten: Callable[..., Any], unflatten: Callable[..., Any]) -> bool:
        if _knows(cls, tree_util):
            return False
        with_keys = _with_keys(keys_of(cls), to_jax)
        tree_util.register_pytree_node(cls, flatten, unflatten, with_keys)
        return True

    def publish_record(cls: type) -> None:
        tree_util.register_pytree_with_keys(
            cls, flatten_record, _C._record_rebuild, _C.record_flatten
        )

    def adopt(cls: type) -> Node | None:
        return _adopted(cls, tree_util, to_ours) if _knows(cls, tree_util) else None

    return Library(publish, publish_record, adopt)


def to_jax(treedef: PyTreeDef) -> Any:
    """Return what `PyTreeDef.to_jax` does."""
    from jax import tree_util

    registry, theirs = tree_util.default_registry, tree_util.PyTreeDef

    def make(data: NodeData, children: list[Any]) -> Any:
        if data is not None:
            refuse(_why_not, data[0])
            _check_order(*data)
        return theirs.from_node_data_and_children(registry, data, children)

    return convert(treedef, view, make, "JAX PyTreeDef")


def _check_order(cls: type, static: Any) -> None:
    """Raise for dicts whose leaves JAX would take in an order that is not that of their keys."""
    if cls not in (dict, defaultdict):
        return
    keys = static[1] if cls is defaultdict else static
    try:
        compare = all(key < after or after < key for key, after in pairwise(keys))
    except TypeError:  # then JAX takes no such dicts
        return
    if not compare:
        raise RefusedError(
            f"the leaves of a dict with the keys {short_repr(keys)}, of which some are neither "
            "less nor greater than others, lie for JAX in the order in which it was filled"
        )


def from_jax(treedef: Any) -> PyTreeDef:
    """Return what `PyTreeDef.from_jax` does."""
    from jax import tree_util

    if not isinstance(treedef, tree_util.PyTreeDef):
        raise TypeError(f"from_jax takes a PyTreeDef of JAX, but got {treedef!r}.")
    return convert(treedef, view, _make_ours, "PyTreeDef")


def _make_ours(data: NodeData, children: list[Any]) -> PyTreeDef:
    return make_ours(data, children, _why_not)


def _why_not(cls: type) -> str | None:
    if cls is deque:
        return "a deque is a node here and a leaf for JAX"
    return None if cls in _BOTH_KNOW else why_not_shared(cls, "jax", "JAX")
