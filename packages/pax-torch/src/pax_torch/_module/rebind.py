"""Attributes that refer to the module, made anew around the submodules and tensors of a call.

It is like `copy.deepcopy`, with three differences. The caller gives what takes the place of each
submodule and tensor. Functions and weak references are made anew too. And only what refers to a
submodule or a tensor is made anew at all.
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

from pax_tree import tree_flatten, tree_unflatten

_ATOMS = (int, float, complex, str, bytes, type(None))
_MUTABLE = (list, dict, set, deque)
_CLOSED = (Module, Tensor, type, ModuleType, FunctionType)


@dataclass(slots=True)
class CallObjects:
    """What one call has.

    Args:
        modules: the submodules, the root first.
        tensors: parameters and buffers by name.
        buffers: what each of the submodules keeps its buffers in.
        made: values made so far, by identity.
    """

    modules: list[Module]
    tensors: Mapping[str, Tensor | None]
    buffers: list[dict[str, Any]]
    made: dict[int, Any] = field(default_factory=dict)


# Makes the value that one call has in place of one of the module's.
Maker = Callable[[CallObjects], Any]


class Rebinder:
    """Finds out how to make values anew.

    Args:
        replaced: what takes the place of submodules and tensors of the module, by identity.
        lost: the identities of the original module's submodules and tensors, where calls run on a
            copy of the module that does not have them.
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
        if isinstance(value, FunctionType):
            self._check_globals(value, where)
            return _function(value, functools.partial(self.find, where=where))
        parts, build = _taken_apart(value)
        makers = [self.find(part, where) or (lambda _, part=part: part) for part in parts]
        if not isinstance(value, _MUTABLE):
            return lambda call: build([make(call) for make in makers])

        def make_and_fill(call: CallObjects) -> Any:
            made = call.made[id(value)] = copy.copy(value)  # before its parts, which may hold it
            made.clear()
            for part in build([make(call) for make in makers]):
                _add(made, part)
            return made

        return make_and_fill

    def _check_globals(self, function: FunctionType, where: str) -> None:
        for name in _names(function) & function.__globals__.keys():
            if id(function.__globals__[name]) in self._replaced:
                raise TypeError(
                    f"functional_module cannot convert {where}: the function "
                    f"{function.__qualname__} reads the module from the global variable {name!r}, "
                    "or an attribute of that name; let it take the module as an argument or close over "
                    "it, or rename the variable."
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
    return _taken_apart(value)[0]


def _taken_apart(value: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """Return what an object is made of, nothing for most, and how to make it of that.

    Of a container that may hold itself, the second returns what to put into it.
    """
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__], lambda parts: MethodType(*parts)
    if isinstance(value, functools.partial):
        return _partial_taken_apart(value)
    if isinstance(value, weakref.ref):
        target, kind = value(), type(value)
        is_followed = isinstance(target, Module | Tensor | MethodType)
        return [target] if is_followed else [], lambda parts: kind(*parts)
    if isinstance(value, dict):
        return [*value, *value.values()], lambda parts: zip(
            parts[: len(parts) // 2], parts[len(parts) // 2 :], strict=True
        )
    if isinstance(value, list | set | deque):
        return list(value), lambda parts: parts
    if isinstance(value, frozenset):
        return list(value), frozenset
    children, treedef = tree_flatten(value, is_leaf=lambda node: node is not value)
    is_leaf = len(children) == 1 and children[0] is value
    return [] if is_leaf else children, lambda parts: tree_unflatten(treedef, parts)


def _partial_taken_apart(
    value: functools.partial[Any],
) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    names, count = list(value.keywords), len(value.args) + 1

    def build(parts: list[Any]) -> Any:
        made = type(value)(*parts[:count], **dict(zip(names, parts[count:], strict=True)))
        made.__dict__.update(vars(value))
        return made

    return [value.func, *value.args, *value.keywords.values()], build


def _add(container: Any, part: Any) -> None:
    if isinstance(container, dict):
        container[part[0]] = part[1]
    elif isinstance(container, set):
        container.add(part)
    else:
        container.append(part)


def _cells(function: FunctionType) -> tuple[CellType, ...]:
    """Return the variables that a function closes over and that have a value."""
    return tuple(cell for cell in function.__closure__ or () if cell != CellType())


def _attributes(value: Any) -> list[Any]:
    """Return what the attributes of an object hold; nothing for a class or a Python module."""
    own = None if isinstance(value, ModuleType) else getattr(value, "__dict__", None)
    return list(own.values()) if isinstance(own, dict) else []
