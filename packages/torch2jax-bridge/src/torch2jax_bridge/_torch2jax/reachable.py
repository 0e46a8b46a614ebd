"""The Python state that a function can reach, and how it is put back after the inference.

Nobody has called the function that inference runs. Masks and submodules that it makes at its first
call, caches, counters, lists that it appends to and globals have to be afterwards what they were.
So all that the function can reach is noted before, as references, and put back after: the contents
of closures, of the globals that its code names, of objects, classes, containers, caches and small
arrays, what a tensor refers to, where files are read, and the state of generators of random numbers.
What cannot be put back is used through `stand_ins`.
"""

from __future__ import annotations

import array
import ctypes
import functools
import gc
import io
import itertools
import random
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    GeneratorType,
    MappingProxyType,
    MethodType,
    MethodWrapperType,
    ModuleType,
)
from typing import Any, NamedTuple

import numpy as np
import torch

from torch2jax_bridge._compat import is_plain
from torch2jax_bridge._torch2jax import put_back
from torch2jax_bridge._torch2jax.put_back import ABSENT
from torch2jax_bridge._torch2jax.stand_ins import (
    StandIns,
    are_used_up,
    gives_or_takes,
    put_stand_ins,
    slots,
)

_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, CodeType, ModuleType})
# Whose objects hold nothing of the function's; and whose functions and classes hold no state.
_CONTAINERS = {
    *("_thread", "_threading_local", "_weakrefset", "collections", "contextlib", "functools"),
    *("itertools", "operator", "tempfile", "types", "weakref"),
}
_OPAQUE = (sys.stdlib_module_names - _CONTAINERS - {"__main__"}) | {"jax", "jaxlib"}
_SHARED_NUMBERS = "multiprocessing.sharedctypes"
_STATELESS = _OPAQUE | _CONTAINERS | {"numpy", "torch", "torch2jax_bridge"}
_MOST_OBJECTS = 200_000
_MOST_BYTES = 1 << 20
_LruCache = type(functools.lru_cache(lambda: None))
_CData: Any = ctypes.c_int.__mro__[2]


class Trial(NamedTuple):
    """What may be called, and what it can reach.

    Attributes:
        function: the function, or what stands in for it.
        generators: NumPy's and Python's generators that it can reach, whose state is not put back.
    """

    function: Callable[..., Any]
    generators: list[Any]


@contextmanager
def left_as_it_was(function: Callable[..., Any]) -> Iterator[Trial]:
    """In the `with` block a function may change what it can reach; at the end that is put back."""
    found = _Found()
    found.visit(function)
    found.walk()
    found.undo.append((torch.set_rng_state, torch.get_rng_state()))
    if torch.cuda.is_initialized():
        found.undo.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    try:
        yield Trial(found.put_stand_ins(function), found.generators)
    finally:
        for put, *args in found.undo:
            put(*args)


class _Found:
    """What a walk has found.

    Attributes:
        undo: a function and its arguments for each place, which puts back what was there.
        generators: NumPy's and Python's generators of random numbers.
        used_up: what is to be used through a stand-in.
        names: the globals that were looked at, and in which module's dict.
    """

    def __init__(self) -> None:
        self.undo: list[tuple[Any, ...]] = []
        self.generators: list[Any] = []
        self.used_up: list[Any] = []
        self.names: list[tuple[dict[str, Any], str]] = []
        self._seen: dict[int, Any] = {}
        self._open: deque[Any] = deque()
        self._looks: dict[type, Callable[[Any, _Found], None]] = {}

    def visit(self, *values: Any) -> None:
        """Look at these objects too."""
        self.visit_all(values)

    def visit_all(self, values: Iterable[Any]) -> None:
        """Look at these objects too."""
        self._open.extend([value for value in values if type(value) not in _ATOMS])

    def walk(self) -> None:
        """Look at all that is to be visited, and at what that refers to, the nearest first."""
        while self._open and len(self._seen) < _MOST_OBJECTS:
            value = self._open.popleft()
            if id(value) in self._seen:
                continue
            self._seen[id(value)] = value
            look = self._looks.get(type(value)) or self._look_at(type(value))
            look(value, self)

    def _look_at(self, cls: type) -> Callable[[Any, _Found], None]:
        """Return what notes the state of the objects of a class."""
        used_up = _Found.use_through_stand_in
        look = self._looks[cls] = (
            (lambda value, found: used_up(found, value))
            if are_used_up(cls)
            else _look.dispatch(cls)
        )
        return look

    def use_through_stand_in(self, value: Any) -> None:
        """Note what cannot be put back; an iterator may take from others, and call functions."""
        self.used_up.append(value)
        if hasattr(type(value), "__next__") and not isinstance(value, GeneratorType):
            self.visit(*gc.get_referents(value))

    def put_stand_ins(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Let the function find stand-ins of what cannot be put back, and return it or its own."""
        if not self.used_up:
            return function
        made = StandIns(self.used_up, self._seen.values())
        for holder in self._seen.values():
            if holder not in made:
                put_stand_ins(holder, made)
        for contents, name in self.names:
            if (value := contents.get(name)) in made:
                contents[name] = made[value]
        return made[function]


# The kinds of objects -----------------------------------------------------------------------------


@functools.singledispatch
def _look(value: Any, found: _Found) -> None:
    """Note the state of an object, and what else is to be looked at."""
    cls = type(value)
    if _root(cls) in _OPAQUE and cls.__module__ != _SHARED_NUMBERS:
        if gives_or_takes(value):
            found.use_through_stand_in(value)
        return
    found.visit(cls, _attributes(value))
    for cls in type(value).__mro__:
        for slot in slots(cls):
            held = put_back.in_slot(slot, value)
            found.undo.append((put_back.put_slot, value, slot, held))
            found.visit(held)


def _attributes(value: Any) -> dict[str, Any] | None:
    try:
        contents = object.__getattribute__(value, "__dict__")
    except (AttributeError, TypeError):
        return None
    return contents if isinstance(contents, dict) else None


@_look.register
def _(value: ModuleType, found: _Found) -> None:
    """Of a module only those names count that a function has."""


@_look.register
def _(value: dict, found: _Found) -> None:
    before = dict(put_back.dict_kind(value).items(value))
    found.undo.append((put_back.put_dict, value, before))
    found.visit_all(before)
    found.visit_all(before.values())


@_look.register
def _(value: list, found: _Found) -> None:
    found.undo.append((put_back.put_list, value, list(value)))
    found.visit_all(value)


@_look.register
def _(value: set, found: _Found) -> None:
    found.undo.append((put_back.put_set, value, list(value)))
    found.visit_all(value)


@_look.register
def _(value: deque, found: _Found) -> None:
    found.undo.append((put_back.put_deque, value, list(value)))
    found.visit_all(value)


@_look.register
def _(value: bytearray, found: _Found) -> None:
    found.undo.append((put_back.put_bytes, value, bytes(value)))


@_look.register
def _(value: array.array, found: _Found) -> None:
    if len(value) * value.itemsize <= _MOST_BYTES:
        found.undo.append((put_back.put_array, value, value.tobytes()))


@_look.register(_CData)
def _(value: Any, found: _Found) -> None:
    if ctypes.sizeof(value) <= _MOST_BYTES:
        found.undo.append((put_back.put_memory, value, bytes(memoryview(value).cast("B"))))


@_look.register(tuple)
@_look.register(frozenset)
def _(value: Iterable[Any], found: _Found) -> None:
    found.visit_all(value)
    if type(value) is not tuple:
        _look.dispatch(object)(value, found)


@_look.register
def _(value: MappingProxyType, found: _Found) -> None:
    found.visit(*gc.get_referents(value))


@_look.register
def _(value: CellType, found: _Found) -> None:
    try:
        contents = value.cell_contents
    except ValueError:
        contents = ABSENT
    found.undo.append((put_back.put_cell, value, contents))
    found.visit(contents)


@_look.register
def _(value: FunctionType, found: _Found) -> None:
    found.undo.append((setattr, value, "__defaults__", value.__defaults__))
    found.visit(value.__defaults__, value.__kwdefaults__, vars(value), *(value.__closure__ or ()))
    if str(value.__globals__.get("__name__")).partition(".")[0] not in _STATELESS:
        names = _names(value.__code__)
        _note_names(value.__globals__, names, found)
        _note_imported(value.__globals__.get("__package__") or "", names, found)


@functools.lru_cache(10_000)
def _names(code: CodeType) -> tuple[str, ...]:
    """Return the names of globals and attributes in a function and in those that it defines."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return tuple(dict.fromkeys((*code.co_names, *itertools.chain(*inner))))


def _note_names(contents: dict[str, Any], names: Iterable[str], found: _Found) -> None:
    """Note what a module's names stand for, and those of the modules among them."""
    if "globals" in names and "globals" not in contents:  # any name, by its text
        found.undo.append((put_back.drop_new_items, contents, set(contents)))
        names = dict.fromkeys((*names, *contents))
    for name in names:
        value = contents.get(name, ABSENT)
        found.undo.append((put_back.put_item, contents, name, value))
        found.names.append((contents, name))
        if not isinstance(value, ModuleType):
            found.visit(value)
        elif vars(value) is not contents:
            _note_module(value, [n for n in names if n != name], found)


def _note_module(module: ModuleType, names: Iterable[str], found: _Found) -> None:
    if module.__name__.partition(".")[0] not in _STATELESS:
        _note_names(vars(module), [name for name in names if name in vars(module)], found)


def _note_imported(package: str, names: Iterable[str], found: _Found) -> None:
    """Note the names of modules that a function imports itself."""
    for name in names:
        for whole in (name, f"{package}.{name}"):
            if isinstance(module := sys.modules.get(whole), ModuleType):
                _note_module(module, [n for n in names if n != name], found)


@_look.register
def _(value: MethodType, found: _Found) -> None:
    found.visit(value.__self__, value.__func__)


@_look.register(BuiltinFunctionType)
@_look.register(MethodWrapperType)
def _(value: Any, found: _Found) -> None:
    found.visit(value.__self__)


@_look.register
def _(value: functools.partial, found: _Found) -> None:
    state = value.func, value.args, value.keywords, vars(value)
    found.undo.append((put_back.put_partial, value, state))
    found.visit(*state)


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
    information, held = value.cache_info(), gc.get_referents(value)
    if information.maxsize is not None:  # its dict and a list in C go together
        found.undo.append((put_back.put_cache, value, information.misses))
        held = [x for x in held if type(x) is not dict or x is vars(value)]
    found.visit(*held)


@_look.register
def _(value: type, found: _Found) -> None:
    if value is object or _root(value) in _STATELESS:
        return
    found.visit(type(value), *value.__mro__)
    for name, item in list(vars(value).items()):
        if not name.startswith("__"):
            found.undo.append((put_back.put_class_attribute, value, name, item))
        found.visit(item)
    found.undo.append((put_back.drop_new_attributes, value, set(vars(value))))


@_look.register
def _(value: weakref.ReferenceType, found: _Found) -> None:
    found.visit(value(), _attributes(value))


@_look.register(weakref.ProxyType)
@_look.register(weakref.CallableProxyType)
def _(value: Any, found: _Found) -> None:
    with suppress(ReferenceError):  # it is gone
        found.visit(value.__repr__.__self__)


@_look.register
def _(value: memoryview, found: _Found) -> None:
    with suppress(ValueError):  # it was released
        found.visit(value.obj)


@_look.register
def _(value: ContextVar, found: _Found) -> None:
    """Note what a variable of the context holds; the context itself is that of the inference."""
    found.visit(value.get(None))


@_look.register
def _(value: io.IOBase, found: _Found) -> None:
    found.visit(_attributes(value))
    if value.closed:
        return
    if isinstance(value, io.BytesIO | io.StringIO):
        found.undo.append((put_back.put_buffer, value, value.__getstate__()))
    elif value.readable():
        try:
            found.undo.append((put_back.put_file, value, value.tell()))
        except (OSError, ValueError):  # a pipe, or text in the middle of a line
            found.use_through_stand_in(value)


@_look.register
def _(value: np.ndarray, found: _Found) -> None:
    if value.dtype == object:
        found.visit(*value.flat)
    if value.nbytes <= _MOST_BYTES:
        found.undo.append((put_back.put_values, value, value.copy()))


@_look.register
def _(value: torch.Tensor, found: _Found) -> None:
    found.visit(vars(value))
    if not is_plain(value) or value.layout is not torch.strided or value.device.type == "meta":
        return
    found.undo.append((put_back.put_tensor, value, value.detach(), value.requires_grad))
    if value.is_leaf:
        found.undo.append((put_back.put_gradient, value, value.grad))


@_look.register
def _(value: torch.Generator, found: _Found) -> None:
    found.undo.append((value.set_state, value.get_state()))


@_look.register
def _(value: threading.local, found: _Found) -> None:
    found.visit(type(value), value.__dict__)


@_look.register(random.Random)
@_look.register(np.random.RandomState)
@_look.register(np.random.BitGenerator)
def _(value: Any, found: _Found) -> None:
    found.generators.append(value)
    found.visit(_attributes(value))


@_look.register
def _(value: np.random.Generator, found: _Found) -> None:
    found.visit(value.bit_generator)


def _root(cls: type) -> str:
    """Return the package of a class."""
    return str(cls.__module__).partition(".")[0]
