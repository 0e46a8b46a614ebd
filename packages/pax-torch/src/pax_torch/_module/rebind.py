"""Attributes that refer to the module, made anew around the submodules and tensors of a call.

It is `copy.deepcopy` with two differences: what takes the place of a submodule or of a tensor is
given, and functions and weak references are made anew; but only what refers to one is.
"""

from __future__ import annotations

import copy
import functools
import inspect
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor
from torch.nn import Module

from pax_tree import PyTreeDef, tree_flatten, tree_unflatten

_ATOMS = (int, float, complex, str, bytes, type(None))
_MUTABLE = (list, dict, set, deque)
_CLOSED = (Module, Tensor, type, ModuleType, FunctionType)


@dataclass(slots=True)
class CallObjects:
    """What one call has: submodules, tensors by name, and values made so far, by identity."""

    modules: list[Module]
    tensors: Mapping[str, Tensor | None]
    made: dict[int, Any] = field(default_factory=dict)


# Makes the value that one call has in place of one of the module's.
Maker = Callable[[CallObjects], Any]
_Find = Callable[[Any], Maker]


class Rebinder:
    """Finds out how to make values anew.

    Args:
        replaced: what takes the place of submodules and tensors of the module, by identity.
        lost: those of the original where calls run on a copy.
    """

    def __init__(self, replaced: dict[int, Maker], lost: set[int]) -> None:
        self._replaced, self._lost = replaced, lost
        self._makers: dict[int, Any] = {}
        self._shared: set[int] = set()
        self._kept: list[Any] = []  # so that no other object gets an identity that is known

    def find(self, value: Any, where: str) -> Maker | None:
        """Return how to make `value`, or None where calls share it.

        Raises:
            TypeError: it holds a submodule or tensor in a way that cannot be made anew.
        """
        if isinstance(value, _ATOMS):
            return None
        if (maker := self._replaced.get(id(value))) is not None:
            return maker
        key = id(value)
        if key not in self._makers and not self._is_remade(value, where):
            return None
        if key not in self._makers:
            self._makers[key] = None
            self._makers[key] = _once(value, self._build(value, where))
        return self._makers[key] or (lambda call: self._makers[key](call))  # in a cycle

    def _is_remade(self, value: Any, where: str) -> bool:
        if id(value) in self._shared:
            return False
        self._kept.append(value)
        parts = list(references(value))
        if any(id(part) in self._replaced for part in parts):
            return True
        for part in parts:
            self._check_shared(part, where)
        self._shared.add(id(value))
        return False

    def _check_shared(self, part: Any, where: str) -> None:
        if isinstance(part, FunctionType):
            self._check_globals(part, where)
        elif isinstance(part, Module):
            for tensor in (*part.parameters(), *part.buffers()):
                if id(tensor) in self._replaced:
                    raise TypeError(
                        f"functional_module cannot convert {where}: it holds a "
                        f"{type(part).__qualname__} that is no submodule but has one of the module's "
                        "own tensors, which calls replace; make it a submodule."
                    )
        elif self._lost and any(id(held) in self._lost for held in references(_attributes(part))):
            raise TypeError(
                f"functional_module cannot convert {where}: an object of type "
                f"{type(part).__qualname__} refers to the module's own submodules or tensors, which "
                "calls replace; let the module hold them, or pass preserve_original=False, with "
                "which the object has those of the module itself."
            )

    def _build(self, value: Any, where: str) -> Maker:
        find = functools.partial(self._or_shared, where=where)
        if isinstance(value, FunctionType):
            self._check_globals(value, where)
            return _function(value, functools.partial(self.find, where=where))
        if isinstance(value, MethodType):
            owner, function = find(value.__self__), find(value.__func__)
            return lambda call: MethodType(function(call), owner(call))
        if isinstance(value, functools.partial):
            return _partial(value, find)
        if isinstance(value, weakref.ref):
            target, kind = find(value()), type(value)
            return lambda call: kind(target(call))
        if isinstance(value, _MUTABLE):
            return _mutable(value, find)
        if isinstance(value, frozenset):
            items = [find(item) for item in value]
            return lambda call: frozenset(item(call) for item in items)
        children, treedef = _one_level(value)
        makers = [find(child) for child in children]
        return lambda call: tree_unflatten(treedef, [make(call) for make in makers])

    def _or_shared(self, value: Any, where: str) -> Maker:
        return self.find(value, where) or (lambda _: value)

    def _check_globals(self, function: FunctionType, where: str) -> None:
        for name in _names(function) & function.__globals__.keys():
            if id(function.__globals__[name]) in self._replaced:
                raise TypeError(
                    f"functional_module cannot convert {where}: the function "
                    f"{function.__qualname__} reads the module from the global variable {name!r}; "
                    "let it take the module as an argument or close over it."
                )


def _names(function: FunctionType) -> set[str]:
    """Return the names of global variables that a function, or one within it, may read.

    The names of the attributes that it reads are among them.
    """
    found: set[str] = set()
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        found.update(code.co_names)
        codes += filter(inspect.iscode, code.co_consts)
    return found


def _once(value: Any, make: Maker) -> Maker:
    """Make a value once a call, however often the module refers to it."""
    key, missing = id(value), object()

    def once(call: CallObjects) -> Any:
        found = call.made.get(key, missing)
        if found is missing:
            found = call.made[key] = make(call)
        return found

    return once


def _mutable(value: Any, find: _Find) -> Maker:
    if isinstance(value, dict):
        return _dict(value, [(find(k), find(v)) for k, v in value.items()])
    items = [find(item) for item in value]

    def make(call: CallObjects) -> Any:
        made = call.made[id(value)] = copy.copy(value)
        made.clear()
        (made.update if isinstance(made, set) else made.extend)(item(call) for item in items)
        return made

    return make


def _dict(value: dict[Any, Any], items: list[tuple[Maker, Maker]]) -> Maker:
    def make(call: CallObjects) -> Any:
        made = call.made[id(value)] = copy.copy(value)
        made.clear()
        for key, item in items:
            made[key(call)] = item(call)
        return made

    return make


def _partial(value: functools.partial[Any], find: _Find) -> Maker:
    function, args = find(value.func), [find(arg) for arg in value.args]
    keywords = {name: find(arg) for name, arg in value.keywords.items()}

    def make(call: CallObjects) -> Any:
        given = {name: arg(call) for name, arg in keywords.items()}
        made = type(value)(function(call), *(arg(call) for arg in args), **given)
        made.__dict__.update(vars(value))
        return made

    return make


def _function(function: FunctionType, find: Callable[[Any], Maker | None]) -> Maker:
    closed = {id(cell): find(cell.cell_contents) for cell in _cells(function)}
    defaults = [(find(v), v) for v in function.__defaults__ or ()]
    keywords = {name: (find(v), v) for name, v in (function.__kwdefaults__ or {}).items()}

    def make(call: CallObjects) -> FunctionType:
        closure, unfilled = [], []
        for cell in function.__closure__ or ():
            contents = closed.get(id(cell))
            if contents and id(cell) not in call.made:
                call.made[id(cell)] = CellType()
                unfilled.append((call.made[id(cell)], contents))
            closure.append(call.made.get(id(cell), cell))
        made = call.made[id(function)] = _like(function, tuple(closure))
        for cell, contents in unfilled:
            cell.cell_contents = contents(call)
        made.__defaults__ = tuple(make(call) if make else v for make, v in defaults) or None
        made.__kwdefaults__ = {
            name: make(call) if make else v for name, (make, v) in keywords.items()
        } or None
        return made

    return make


def _like(function: FunctionType, closure: tuple[CellType, ...]) -> FunctionType:
    made = FunctionType(function.__code__, function.__globals__, function.__name__, None, closure)
    for name in ("__qualname__", "__module__", "__doc__", "__annotations__"):
        setattr(made, name, getattr(function, name))
    made.__dict__.update(function.__dict__)
    return made


def references(value: Any, attributes: bool = False) -> Iterator[Any]:
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
            parts = _contents(value)
            if attributes and not isinstance(value, _CLOSED):
                parts += _attributes(value)
            left += [part for part in parts if not isinstance(part, _ATOMS)]


def _contents(value: Any) -> list[Any]:
    """Return what a container, a function or a method refers to; nothing for other objects."""
    if isinstance(value, (*_ATOMS, Module, Tensor)):
        return []
    if isinstance(value, FunctionType):
        closed = [cell.cell_contents for cell in _cells(value)]
        return [*closed, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
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
    return _one_level(value)[0]


def _cells(function: FunctionType) -> tuple[CellType, ...]:
    """Return the variables that a function closes over and that have a value."""
    return tuple(cell for cell in function.__closure__ or () if cell != CellType())


def _one_level(value: Any) -> tuple[list[Any], PyTreeDef]:
    """Return the children of a node of a tree, none for a leaf, and how to make it of them."""
    children, treedef = tree_flatten(value, is_leaf=lambda node: node is not value)
    return [] if len(children) == 1 and children[0] is value else children, treedef


def _attributes(value: Any) -> list[Any]:
    """Return what the attributes of an object hold; nothing for a class or a Python module."""
    own = None if isinstance(value, ModuleType) else getattr(value, "__dict__", None)
    return list(own.values()) if isinstance(own, dict) else []
