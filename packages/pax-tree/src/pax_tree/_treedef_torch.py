"""PyTreeDefs to and from the TreeSpecs of PyTorch."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Sequence
from typing import Any

from pax_tree import _C, _interop
from pax_tree._C import PyTreeDef
from pax_tree._treedef_convert import NodeData, RefusedError, convert, is_named_tuple, view

_BOTH_KNOW = (tuple, list, dict, OrderedDict, defaultdict, deque)


def to_torch(treedef: PyTreeDef) -> Any:
    """Return what `PyTreeDef.to_torch` does."""
    from torch.utils import _pytree as pytree

    leaf = pytree.tree_structure(0)

    def make(data: NodeData, children: list[Any]) -> Any:
        if data is None:
            return leaf
        cls, static = data
        _check(cls)
        if cls is not tuple and is_named_tuple(cls):
            return pytree.TreeSpec(namedtuple, cls, children)
        return pytree.TreeSpec(cls, _context(cls, static), children)

    return convert(treedef, view, make, "TreeSpec of PyTorch")


def from_torch(spec: Any) -> PyTreeDef:
    """Return what `PyTreeDef.from_torch` does."""
    from torch.utils import _pytree as pytree

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


def _make_ours(data: NodeData, children: list[PyTreeDef]) -> PyTreeDef:
    if data is not None:
        _interop.look_up(data[0])
        _check(data[0])
    return PyTreeDef.from_node_data_and_children(data, children)


def _check(cls: type) -> None:
    if cls is type(None):
        raise RefusedError("None is a node without leaves here and a leaf for PyTorch")
    if cls in _BOTH_KNOW:
        return
    plain = is_named_tuple(cls) and not _C._is_registered(cls)
    if not plain and (is_named_tuple(cls) or not _interop.shares("torch", cls)):
        raise RefusedError(
            f"the class {cls.__name__} is not registered alike here and with PyTorch"
        )
