"""Making the values of a module's attributes anew around other submodules and tensors.

It is `copy.deepcopy` with two differences: what takes the place of a submodule or of a tensor is
given, and functions and weak references are remade; but only what refers to one is.
"""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import CellType, FunctionType, MethodType
from typing import Any

from torch import Tensor
from torch.nn import Module

from pax_torch._module.references import (
    ATOMS,
    MUTABLE,
    attributes_of,
    cells,
    one_level,
    read_globals,
    walk,
)
from pax_tree import tree_unflatten


@dataclass(slots=True)
class Filling:
    """What one call has: submodules, tensors by name, and values made so far, by identity."""

    modules: list[Module]
    tensors: Mapping[str, Tensor]
    made: dict[int, Any] = field(default_factory=dict)


# Makes the value that one call has in place of one of the module's.
Recipe = Callable[[Filling], Any]


class Recipes:
    """Finds out how to make values anew.

    Args:
        places: what takes the place of submodules and tensors of the module, by identity.
        lost: those of the original where calls run on a copy.
    """

    def __init__(self, places: dict[int, Recipe], lost: set[int]) -> None:
        self._places, self._lost = places, lost
        self._recipes: dict[int, Any] = {}
        self._shared: set[int] = set()
        self._kept: list[Any] = []  # so that no other object gets an identity that is known

    def find(self, value: Any, where: str) -> Recipe | None:
        """Return how to make `value`, or None where calls share it.

        Raises:
            TypeError: it holds a submodule or tensor in a way that cannot be made anew.
        """
        if isinstance(value, ATOMS):
            return None
        if (place := self._places.get(id(value))) is not None:
            return place
        key = id(value)
        if key not in self._recipes and not self._is_remade(value, where):
            return None
        if key not in self._recipes:
            self._recipes[key] = None
            self._recipes[key] = _once(value, self._build(value, where))
        return self._recipes[key] or (lambda filling: self._recipes[key](filling))  # in a cycle

    def _is_remade(self, value: Any, where: str) -> bool:
        if id(value) in self._shared:
            return False
        self._kept.append(value)
        parts = list(walk(value))
        if any(id(part) in self._places for part in parts):
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
                if id(tensor) in self._places:
                    raise TypeError(
                        f"functional_module cannot convert {where}: it holds a "
                        f"{type(part).__qualname__} that is no submodule but has one of the module's "
                        "own tensors, which calls replace; make it a submodule."
                    )
        elif self._lost and any(id(held) in self._lost for held in walk(attributes_of(part))):
            raise TypeError(
                f"functional_module cannot convert {where}: an object of type "
                f"{type(part).__qualname__} refers to the module's own submodules or tensors, which "
                "calls replace; let the module hold them, or pass preserve_original=False, with "
                "which the object has those of the module itself."
            )

    def _build(self, value: Any, where: str) -> Recipe:
        find = functools.partial(self._or_shared, where=where)
        if isinstance(value, FunctionType):
            self._check_globals(value, where)
            return _function(value, functools.partial(self.find, where=where))
        if isinstance(value, MethodType):
            owner, function = find(value.__self__), find(value.__func__)
            return lambda filling: MethodType(function(filling), owner(filling))
        if isinstance(value, functools.partial):
            return _partial(value, find)
        if isinstance(value, weakref.ref):
            target, kind = find(value()), type(value)
            return lambda filling: kind(target(filling))
        if isinstance(value, MUTABLE):
            return _mutable(value, find)
        if isinstance(value, frozenset):
            items = [find(item) for item in value]
            return lambda filling: frozenset(item(filling) for item in items)
        children, treedef = one_level(value)
        recipes = [find(child) for child in children]
        return lambda filling: tree_unflatten(treedef, [make(filling) for make in recipes])

    def _or_shared(self, value: Any, where: str) -> Recipe:
        return self.find(value, where) or (lambda _: value)

    def _check_globals(self, function: FunctionType, where: str) -> None:
        for name, value in read_globals(function).items():
            if id(value) in self._places:
                raise TypeError(
                    f"functional_module cannot convert {where}: the function "
                    f"{function.__qualname__} reads the module from the global variable {name!r}; "
                    "let it take the module as an argument or close over it."
                )


_Find = Callable[[Any], Recipe]


def _once(value: Any, make: Recipe) -> Recipe:
    """Return a recipe that makes a value once a call, however often the module refers to it."""
    key, missing = id(value), object()

    def once(filling: Filling) -> Any:
        found = filling.made.get(key, missing)
        if found is missing:
            found = filling.made[key] = make(filling)
        return found

    return once


def _mutable(value: Any, find: _Find) -> Recipe:
    if isinstance(value, dict):
        return _dict(value, [(find(k), find(v)) for k, v in value.items()])
    items = [find(item) for item in value]

    def make(filling: Filling) -> Any:
        made = filling.made[id(value)] = copy.copy(value)
        made.clear()
        (made.update if isinstance(made, set) else made.extend)(item(filling) for item in items)
        return made

    return make


def _dict(value: dict[Any, Any], items: list[tuple[Recipe, Recipe]]) -> Recipe:
    def make(filling: Filling) -> Any:
        made = filling.made[id(value)] = copy.copy(value)
        made.clear()
        for key, item in items:
            made[key(filling)] = item(filling)
        return made

    return make


def _partial(value: functools.partial[Any], find: _Find) -> Recipe:
    function, args = find(value.func), [find(arg) for arg in value.args]
    keywords = {name: find(arg) for name, arg in value.keywords.items()}

    def make(filling: Filling) -> Any:
        given = {name: arg(filling) for name, arg in keywords.items()}
        made = type(value)(function(filling), *(arg(filling) for arg in args), **given)
        made.__dict__.update(vars(value))
        return made

    return make


def _function(function: FunctionType, find: Callable[[Any], Recipe | None]) -> Recipe:
    closed = {id(cell): find(cell.cell_contents) for cell in cells(function)}
    defaults = [(find(v), v) for v in function.__defaults__ or ()]
    keywords = {name: (find(v), v) for name, v in (function.__kwdefaults__ or {}).items()}

    def make(filling: Filling) -> FunctionType:
        closure, unfilled = [], []
        for cell in function.__closure__ or ():
            contents = closed.get(id(cell))
            if contents and id(cell) not in filling.made:
                filling.made[id(cell)] = CellType()
                unfilled.append((filling.made[id(cell)], contents))
            closure.append(filling.made.get(id(cell), cell))
        made = filling.made[id(function)] = _like(function, tuple(closure))
        for cell, contents in unfilled:
            cell.cell_contents = contents(filling)
        made.__defaults__ = tuple(make(filling) if make else v for make, v in defaults) or None
        made.__kwdefaults__ = {
            name: make(filling) if make else v for name, (make, v) in keywords.items()
        } or None
        return made

    return make


def _like(function: FunctionType, closure: tuple[CellType, ...]) -> FunctionType:
    made = FunctionType(function.__code__, function.__globals__, function.__name__, None, closure)
    for name in ("__qualname__", "__module__", "__doc__", "__annotations__"):
        setattr(made, name, getattr(function, name))
    made.__dict__.update(function.__dict__)
    return made
