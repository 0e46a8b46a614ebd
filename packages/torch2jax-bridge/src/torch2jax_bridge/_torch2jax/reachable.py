"""The Python state that a function can reach, and how it is put back after the inference.

Nobody has called the function that inference runs. Masks and submodules that it makes at its first
call, caches, counters, lists that it appends to and globals have to be afterwards what they were.
So all that the function can reach is noted before, as references, and put back after: the contents
of closures, of the globals that its code names, of objects, classes, containers and small NumPy
arrays, what a tensor refers to, and the state of generators of random numbers.
"""

from __future__ import annotations

import functools
import itertools
import random
import re
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    GeneratorType,
    MappingProxyType,
    MethodType,
    ModuleType,
)
from typing import Any

import numpy as np
import torch

from torch2jax_bridge._compat import is_plain

_ABSENT: Any = object()
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, CodeType, ModuleType})
# Whose objects hold nothing of the function's; and whose functions and classes hold no state.
_CONTAINERS = {"_thread", "_threading_local", "collections", "functools", "types", "weakref"}
_OPAQUE = (sys.stdlib_module_names - _CONTAINERS - {"__main__"}) | {"jax", "jaxlib", "numpy"}
_STATELESS = _OPAQUE | _CONTAINERS | {"torch", "torch2jax_bridge"}
_MOST_OBJECTS = 200_000
_MOST_BYTES = 1 << 20
_ONCE = (GeneratorType, type(iter(int, 1)))
_LruCache = type(functools.lru_cache(lambda: None))


@contextmanager
def left_as_it_was(function: Callable[..., Any]) -> Iterator[None]:
    """In the `with` block a function may change what it can reach; at the end that is put back."""
    found = _Found()
    found.visit(function)
    found.walk()
    found.undo += [
        (random.setstate, random.getstate()),
        (np.random.set_state, np.random.get_state()),
        (torch.set_rng_state, torch.get_rng_state()),
    ]
    if torch.cuda.is_initialized():
        found.undo.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    try:
        found.put_stand_ins()
        yield
    finally:
        for put_back, *args in found.undo:
            put_back(*args)


def forget_cached(function: Callable[..., Any]) -> None:
    """Empty what `functools.cache` and `lru_cache` have kept, where the function can reach it."""
    found = _Found()
    found.visit(function)
    found.walk()
    for cached in found.caches:
        cached.cache_clear()


class _Found:
    """What a walk has found.

    Attributes:
        undo: a function and its arguments for each place, which puts back what was there.
        caches: functions with a cache, in C, whose entries cannot be noted.
        iterators: how to put something else in the place of an iterator.
    """

    def __init__(self) -> None:
        self.undo: list[tuple[Any, ...]] = []
        self.caches: list[Any] = []
        self.iterators: list[tuple[Callable[..., Any], tuple[Any, ...], Any]] = []
        self._seen: dict[int, Any] = {}
        self._open: deque[Any] = deque()

    def visit(self, *values: Any) -> None:
        """Look at these objects too."""
        self._open.extend(value for value in values if type(value) not in _ATOMS)

    def walk(self) -> None:
        """Look at all that is to be visited, and at what that refers to, the nearest first."""
        while self._open and len(self._seen) < _MOST_OBJECTS:
            value = self._open.popleft()
            if id(value) not in self._seen:
                self._seen[id(value)] = value
                _look.dispatch(type(value))(value, self)

    def place(self, value: Any, put: Callable[..., Any], *where: Any) -> None:
        """Visit what stands in a place, into which `put(*where, new)` puts something else."""
        if _is_iterator(value):
            self.iterators.append((put, where, value))
        else:
            self.visit(value)

    def put_stand_ins(self) -> None:
        """Let the function use up copies of iterators, which cannot be set back."""
        made: dict[int, Any] = {}
        for put, where, iterator in self.iterators:
            put(*where, _stand_in(iterator, made))


# The kinds of objects -----------------------------------------------------------------------------


@functools.singledispatch
def _look(value: Any, found: _Found) -> None:
    """Note the state of an object, and what else is to be looked at."""
    if _root(type(value)) in _OPAQUE:
        return
    found.visit(type(value))
    found.visit(_attributes(value))
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if not name.startswith("__"):
                _note_attribute(value, name, found)


def _attributes(value: Any) -> dict[str, Any] | None:
    try:
        contents = object.__getattribute__(value, "__dict__")
    except (AttributeError, TypeError):
        return None
    return contents if isinstance(contents, dict) else None


def _note_attribute(owner: Any, name: str, found: _Found) -> None:
    try:
        value = getattr(owner, name, _ABSENT)
    except Exception:  # a slot that is hidden behind something else
        return
    found.undo.append((_put_attribute, owner, name, value))
    found.place(value, _put_attribute, owner, name)


@_look.register
def _(value: ModuleType, found: _Found) -> None:
    """Of a module only those names count that a function has."""


@_look.register
def _(value: dict, found: _Found) -> None:
    items = list(dict.items(value))
    found.undo.append((_put_dict, value, items))
    for key, item in items:
        found.place(item, _kind(value).__setitem__, value, key)


@_look.register
def _(value: list, found: _Found) -> None:
    items = list(value)
    found.undo.append((_put_list, value, items))
    for i, item in enumerate(items):
        found.place(item, list.__setitem__, value, i)


@_look.register
def _(value: set, found: _Found) -> None:
    found.undo.append((_put_set, value, set(value)))
    found.visit(*value)


@_look.register
def _(value: deque, found: _Found) -> None:
    found.undo.append((_put_deque, value, list(value)))
    found.visit(*value)


@_look.register
def _(value: bytearray, found: _Found) -> None:
    found.undo.append((_put_bytes, value, bytes(value)))


@_look.register(tuple)
@_look.register(frozenset)
def _(value: Iterable[Any], found: _Found) -> None:
    found.visit(*value)
    _look.dispatch(object)(value, found)


@_look.register
def _(value: MappingProxyType, found: _Found) -> None:
    found.visit(*value.values())


@_look.register
def _(value: CellType, found: _Found) -> None:
    try:
        contents = value.cell_contents
    except ValueError:
        contents = _ABSENT
    found.undo.append((_put_cell, value, contents))
    found.place(contents, _put_cell, value)


@_look.register
def _(value: FunctionType, found: _Found) -> None:
    found.undo.append((setattr, value, "__defaults__", value.__defaults__))
    for i, default in enumerate(value.__defaults__ or ()):
        found.place(default, _put_default, value, i)
    found.visit(value.__kwdefaults__, vars(value), *(value.__closure__ or ()))
    if str(value.__globals__.get("__name__")).partition(".")[0] not in _STATELESS:
        _note_names(value.__globals__, _names(value.__code__), found)


@functools.lru_cache(10_000)
def _names(code: CodeType) -> tuple[str, ...]:
    """Return the names of globals and attributes in a function and in those that it defines."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return tuple(dict.fromkeys((*code.co_names, *itertools.chain(*inner))))


def _note_names(contents: dict[str, Any], names: Iterable[str], found: _Found) -> None:
    """Note what a module's names stand for, and those of the modules among them."""
    for name in names:
        value = contents.get(name, _ABSENT)
        found.undo.append((_put_item, contents, name, value))
        if not isinstance(value, ModuleType):
            found.place(value, contents.__setitem__, name)
        elif value.__name__.partition(".")[0] not in _STATELESS and vars(value) is not contents:
            _note_names(vars(value), [n for n in names if n in vars(value) and n != name], found)


@_look.register
def _(value: MethodType, found: _Found) -> None:
    found.visit(value.__self__, value.__func__)


@_look.register
def _(value: BuiltinFunctionType, found: _Found) -> None:
    found.visit(value.__self__)


@_look.register
def _(value: functools.partial, found: _Found) -> None:
    found.visit(value.func, value.args, value.keywords, vars(value))


@_look.register(staticmethod)
@_look.register(classmethod)
def _(value: Any, found: _Found) -> None:
    found.visit(value.__func__)


@_look.register
def _(value: property, found: _Found) -> None:
    found.visit(value.fget, value.fset)


@_look.register(functools.cached_property)
@_look.register(functools.partialmethod)
def _(value: Any, found: _Found) -> None:
    found.visit(value.func)


@_look.register(_LruCache)
def _(value: Any, found: _Found) -> None:
    found.caches.append(value)
    found.visit(value.__wrapped__, vars(value))


@_look.register
def _(value: type, found: _Found) -> None:
    for cls in value.__mro__:
        if _root(cls) in _STATELESS or cls is object:
            continue
        for name, item in list(vars(cls).items()):
            if not name.startswith("__"):
                found.undo.append((_put_class_attribute, cls, name, item))
            found.visit(item)
        found.undo.append((_drop_new_attributes, cls, set(vars(cls))))


@_look.register
def _(value: np.ndarray, found: _Found) -> None:
    if value.dtype != object and value.nbytes <= _MOST_BYTES:
        found.undo.append((_put_values, value, value.copy()))


@_look.register
def _(value: torch.Tensor, found: _Found) -> None:
    found.visit(vars(value))
    if not is_plain(value) or value.layout is not torch.strided or value.device.type == "meta":
        return
    found.undo.append((_put_tensor, value, value.detach(), value.requires_grad))
    if value.is_leaf:
        found.undo.append((_put_gradient, value, value.grad))


@_look.register
def _(value: torch.Generator, found: _Found) -> None:
    found.undo.append((value.set_state, value.get_state()))


@_look.register
def _(value: threading.local, found: _Found) -> None:
    found.visit(type(value), value.__dict__)


@_look.register
def _(value: random.Random, found: _Found) -> None:
    found.undo.append((value.setstate, value.getstate()))


@_look.register
def _(value: np.random.RandomState, found: _Found) -> None:
    found.undo.append((value.set_state, value.get_state()))


@_look.register
def _(value: np.random.Generator, found: _Found) -> None:
    bits = value.bit_generator
    found.undo.append((setattr, bits, "state", bits.state))


def _root(cls: type) -> str:
    """Return the package of a class."""
    return str(cls.__module__).partition(".")[0]


# Putting back -------------------------------------------------------------------------------------


def _kind(value: dict) -> Any:
    """Return the class whose methods change a dict in place: subclasses may have rules of their own."""
    return OrderedDict if isinstance(value, OrderedDict) else dict


def _put_dict(target: dict, items: list[tuple[Any, Any]]) -> None:
    now = list(dict.items(target))
    if len(now) == len(items) and all(
        a is c and b is d for (a, b), (c, d) in zip(now, items, strict=True)
    ):
        return
    kind = _kind(target)
    kind.clear(target)
    for key, value in items:
        kind.__setitem__(target, key, value)


def _put_list(target: list, items: list[Any]) -> None:
    if len(target) != len(items) or any(a is not b for a, b in zip(target, items, strict=True)):
        list.__setitem__(target, slice(None), items)


def _put_set(target: set, items: set[Any]) -> None:
    if target != items:
        set.clear(target)
        set.update(target, items)


def _put_deque(target: deque, items: list[Any]) -> None:
    if len(target) != len(items) or any(a is not b for a, b in zip(target, items, strict=True)):
        target.clear()
        target.extend(items)


def _put_bytes(target: bytearray, contents: bytes) -> None:
    if target != contents:
        target[:] = contents


def _put_cell(cell: CellType, contents: Any) -> None:
    if contents is not _ABSENT:
        cell.cell_contents = contents
    else:
        del cell.cell_contents


def _put_item(target: dict[str, Any], name: str, value: Any) -> None:
    if value is _ABSENT:
        target.pop(name, None)
    elif target.get(name, _ABSENT) is not value:
        target[name] = value


def _put_attribute(owner: Any, name: str, value: Any) -> None:
    now = getattr(owner, name, _ABSENT)
    if now is value:
        return
    if value is _ABSENT:
        object.__delattr__(owner, name)
    else:
        object.__setattr__(owner, name, value)


def _put_default(function: FunctionType, i: int, value: Any) -> None:
    defaults = function.__defaults__ or ()
    function.__defaults__ = (*defaults[:i], value, *defaults[i + 1 :])


def _put_class_attribute(cls: type, name: str, value: Any) -> None:
    if vars(cls).get(name, _ABSENT) is not value:
        type.__setattr__(cls, name, value)


def _drop_new_attributes(cls: type, names: set[str]) -> None:
    for name in set(vars(cls)) - names:
        if not name.startswith("__"):
            type.__delattr__(cls, name)


def _put_values(target: np.ndarray, values: np.ndarray) -> None:
    if target.flags.writeable and target.tobytes() != values.tobytes():
        target[...] = values


def _put_tensor(tensor: torch.Tensor, before: torch.Tensor, requires_grad: bool) -> None:
    if not is_plain(tensor) or not tensor.is_set_to(before):
        tensor.data = before
    if tensor.requires_grad is not requires_grad:
        tensor.requires_grad_(requires_grad)


def _put_gradient(tensor: torch.Tensor, gradient: torch.Tensor | None) -> None:
    if tensor.grad is not gradient:
        tensor.grad = gradient


# Iterators ----------------------------------------------------------------------------------------


class _UsedUp:
    """Stands in for a generator, or for another iterator that cannot be copied."""

    def __iter__(self) -> _UsedUp:
        return self

    def __next__(self) -> Any:
        raise TypeError(
            "The function takes from a generator, or from an iterator that cannot be copied, which "
            "the inference would use up."
        )

    def send(self, value: Any) -> Any:
        return next(self)


def _is_iterator(value: Any) -> bool:
    return hasattr(type(value), "__next__") and not hasattr(value, "__dict__")


def _stand_in(iterator: Any, made: dict[int, Any]) -> Any:
    """Return an iterator that gives the same without using this one up, nor those it takes from.

    Args:
        iterator: what not to use up.
        made: those that were made before, since an iterator may stand in many places.
    """
    if id(iterator) not in made:
        made[id(iterator)] = _UsedUp() if isinstance(iterator, _ONCE) else _again(iterator, made)
    return made[id(iterator)]


def _again(iterator: Any, made: dict[int, Any]) -> Any:
    if isinstance(iterator, itertools.count):  # which newer Pythons do not copy
        found = re.fullmatch(r"count\((-?\d+)(?:, (-?\d+))?\)", repr(iterator))
        if found:
            return itertools.count(int(found[1]), int(found[2] or 1))
    if hasattr(iterator, "__copy__"):
        return copy(iterator)
    try:
        made_of: Any = iterator.__reduce__()
    except TypeError:
        return _UsedUp()
    make, args, *states = made_of
    new = make(*_of_stand_ins(args, made))
    for state in states:
        if state is not None:
            new.__setstate__(_of_stand_ins(state, made))
    return new


def _of_stand_ins(value: Any, made: dict[int, Any]) -> Any:
    """Return what an iterator is made of, with stand-ins for the iterators in it."""
    if _is_iterator(value):
        return _stand_in(value, made)
    return (
        type(value)(_of_stand_ins(v, made) for v in value)
        if type(value) in (tuple, list)
        else value
    )
