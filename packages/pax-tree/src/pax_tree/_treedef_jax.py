"""PyTreeDefs to and from those of JAX."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from typing import Any

from pax_tree import _C, _interop
from pax_tree._C import PyTreeDef
from pax_tree._treedef_convert import NodeData, RefusedError, convert, is_named_tuple, view

_BOTH_KNOW = (tuple, list, dict, OrderedDict, defaultdict, type(None))


def to_jax(treedef: PyTreeDef) -> Any:
    """Return what `PyTreeDef.to_jax` does."""
    from jax import tree_util

    registry, theirs = tree_util.default_registry, tree_util.PyTreeDef

    def make(data: NodeData, children: list[Any]) -> Any:
        if data is not None:
            _check(data[0])
        return theirs.from_node_data_and_children(registry, data, children)

    return convert(treedef, view, make, "JAX PyTreeDef")


def from_jax(treedef: Any) -> PyTreeDef:
    """Return what `PyTreeDef.from_jax` does."""
    from jax import tree_util

    if not isinstance(treedef, tree_util.PyTreeDef):
        raise TypeError(f"from_jax takes a PyTreeDef of JAX, but got {treedef!r}.")

    def make(data: NodeData, children: list[Any]) -> PyTreeDef:
        if data is not None:
            _interop.look_up(data[0])
            _check(data[0])
        return PyTreeDef.from_node_data_and_children(data, children)

    return convert(treedef, view, make, "PyTreeDef")


def _check(cls: type) -> None:
    if cls in _BOTH_KNOW:
        return
    if cls is deque:
        raise RefusedError("a deque is a node here and a leaf for JAX")
    plain = is_named_tuple(cls) and not _C._is_registered(cls)
    if not plain and (is_named_tuple(cls) or not _interop.shares("jax", cls)):
        raise RefusedError(f"the class {cls.__name__} is not registered alike here and with JAX")
