"""What a value of a module's attribute is made of: containers, closures, methods."""

from __future__ import annotations

import dis
import functools
import weakref
from collections import deque
from collections.abc import Iterator
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor
from torch.nn import Module

from pax_tree import PyTreeDef, tree_flatten

ATOMS = (int, float, complex, str, bytes, type(None))
MUTABLE = (list, dict, set, deque)


def contents(value: Any) -> list[Any]:
    """Return what a container, a function or a method refers to; nothing for other objects."""
    if isinstance(value, (*ATOMS, Module, Tensor)):
        return []
    if isinstance(value, FunctionType):
        defaults = (value.__kwdefaults__ or {}).values()
        return [*_closed_over(value), *(value.__defaults__ or ()), *defaults]
    if isinstance(value, MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, weakref.ref):
        target = value()
        return [target] if isinstance(target, Module | Tensor | MethodType) else []
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | set | frozenset | deque):
        return list(value)
    return one_level(value)[0]


def cells(function: FunctionType) -> tuple[CellType, ...]:
    """Return the variables that a function closes over and that have a value."""
    return tuple(cell for cell in function.__closure__ or () if cell != CellType())


def _closed_over(function: FunctionType) -> list[Any]:
    return [cell.cell_contents for cell in cells(function)]


def one_level(value: Any) -> tuple[list[Any], PyTreeDef]:
    """Return the children of a node of a tree, none for a leaf, and how to make it of them."""
    children, treedef = tree_flatten(value, is_leaf=lambda node: node is not value)
    return [] if len(children) == 1 and children[0] is value else children, treedef


def walk(value: Any, attributes: bool = False) -> Iterator[Any]:
    """Yield a value and all that it is made of, each object once.

    Numbers and strings in it are left out. With `attributes`, what the attributes of other objects
    hold is part of them.
    """
    seen: dict[int, Any] = {}  # with the objects, since some live no longer than their ids
    left = [value]
    while left:
        value = left.pop()
        if id(value) not in seen:
            seen[id(value)] = value
            yield value
            parts = contents(value)
            if attributes and not isinstance(value, _CLOSED):
                parts += attributes_of(value)
            left += [part for part in parts if not isinstance(part, ATOMS)]


def attributes_of(value: Any) -> list[Any]:
    """Return what the attributes of an object hold; nothing for a class or a Python module."""
    own = None if isinstance(value, ModuleType) else getattr(value, "__dict__", None)
    return list(own.values()) if isinstance(own, dict) else []


_CLOSED = (Module, Tensor, type, ModuleType, FunctionType)


def read_globals(function: FunctionType) -> dict[str, Any]:
    """Return the global variables that a function, or a function within it, reads."""
    found, left = {}, [function.__code__]
    while left:
        code = left.pop()
        left += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        for instruction in dis.get_instructions(code):
            if instruction.opname == "LOAD_GLOBAL" and instruction.argval in function.__globals__:
                found[instruction.argval] = function.__globals__[instruction.argval]
    return found
