"""What stands, while results are inferred, in the place of objects that cannot be put back.

Iterators written in C cannot be set back, nor can queues, pipes and generators. So the function finds
copies of iterators, and in the place of what has no copy something that refuses to be used. These
are put wherever the function can reach the originals; tuples, sets and bound methods that hold one
are made anew.
"""

from __future__ import annotations

import functools
import io
import itertools
import queue
import re
import warnings
import weakref
from collections import deque
from collections.abc import Iterable
from contextvars import ContextVar
from copy import copy, deepcopy
from types import (
    BuiltinFunctionType,
    CellType,
    FunctionType,
    GeneratorType,
    MemberDescriptorType,
    MethodType,
    MethodWrapperType,
)
from typing import Any, NoReturn

import numpy as np

from torch2jax_bridge._torch2jax.put_back import dict_kind, in_slot, put_partial

_METHODS = (MethodType, BuiltinFunctionType, MethodWrapperType)
_IMMUTABLE = (tuple, frozenset, *_METHODS)
# A file can be set back, and what stands for another object is not its state.
_LOOKED_AT = (io.IOBase, weakref.ProxyType, weakref.CallableProxyType)
_Calls = type(iter(int, 1))


class UsedUpError(TypeError):
    """A function has used, while its results were inferred, what could not be put back."""


def are_used_up(cls: type) -> bool:
    """Whether using an object of a class changes it in a way that cannot be undone in place."""
    if hasattr(cls, "__next__") and not issubclass(cls, _LOOKED_AT):
        own = [vars(c)["__next__"] for c in cls.__mro__ if "__next__" in vars(c)]
        return any(not isinstance(next_, FunctionType) for next_ in own)
    return issubclass(cls, queue.Queue | np.random.SeedSequence)


def gives_or_takes(value: Any) -> bool:
    """Whether an object of the standard library is a queue or a connection."""
    cls = type(value)
    return hasattr(cls, "recv") or (hasattr(cls, "get") and hasattr(cls, "put"))


class StandIns:
    """The stand-ins of one inference.

    Args:
        used_up: the objects to stand in for.
        holders: objects that may hold them; those of these kinds that cannot be changed in place
            and hold one get a stand-in too.
    """

    def __init__(self, used_up: Iterable[Any], holders: Iterable[Any]) -> None:
        self._replaced = {id(value): value for value in used_up}
        self._made: dict[int, Any] = {}
        fixed = [holder for holder in holders if isinstance(holder, _IMMUTABLE)]
        while more := [h for h in fixed if h not in self and any(x in self for x in _held(h))]:
            self._replaced.update((id(holder), holder) for holder in more)

    def __contains__(self, value: Any) -> bool:
        return id(value) in self._replaced

    def __getitem__(self, value: Any) -> Any:
        """Return what stands in for an object: itself where nothing has to."""
        if value not in self and not are_used_up(type(value)):
            return value
        if id(value) not in self._made:
            self._replaced[id(value)] = value
            self._made[id(value)] = _stand_in(value, self)
        return self._made[id(value)]


def _held(value: Any) -> Iterable[Any]:
    return (value.__self__,) if isinstance(value, _METHODS) else value


def _stand_in(value: Any, made: StandIns) -> Any:
    if isinstance(value, tuple | frozenset):
        return _rebuilt(value, made)
    if isinstance(value, MethodType):
        return MethodType(value.__func__, made[value.__self__])
    if isinstance(value, _METHODS):
        owner = made[value.__self__]
        return owner if type(owner) is _Refused else getattr(owner, value.__name__)
    if isinstance(value, np.random.SeedSequence):
        return deepcopy(value)
    if isinstance(value, GeneratorType) or not hasattr(value, "__next__"):
        return _Refused(value)
    with warnings.catch_warnings():  # Python 3.12 warns that 3.14 copies no iterators of itertools
        warnings.simplefilter("ignore", DeprecationWarning)
        return _copied(value, made)


def _rebuilt(value: Any, made: StandIns) -> Any:
    cls = type(value)
    new = (tuple if isinstance(value, tuple) else frozenset).__new__(cls, (made[x] for x in value))
    if hasattr(value, "__dict__"):
        vars(new).update(vars(value))
    return new


def _copied(iterator: Any, made: StandIns) -> Any:
    """Return an iterator that gives the same without using this one up, nor those it takes from."""
    if isinstance(iterator, itertools.count):  # which newer Pythons do not copy
        found = re.fullmatch(r"count\((-?\d+)(?:, (-?\d+))?\)", repr(iterator))
        if found:
            return itertools.count(int(found[1]), int(found[2] or 1))
    if hasattr(iterator, "__copy__"):
        return copy(iterator)
    try:
        made_of: Any = iterator.__reduce_ex__(4)
    except Exception:  # whatever a library raises for what cannot be pickled
        return _Refused(iterator)
    make, args, *states = made_of
    is_noted = not isinstance(iterator, _Calls) or _can_be_put_back(args[0])
    if getattr(make, "__module__", None) == "copyreg" or not is_noted:
        return _Refused(iterator)  # it does not say itself what it is made of, or hides state
    new = make(*_of_stand_ins(args, made))
    for state in states:
        if state is not None:
            new.__setstate__(_of_stand_ins(state, made))
    return new


def _can_be_put_back(function: Any) -> bool:
    """Whether what a function changes is in Python, not hidden in C."""
    if isinstance(function, BuiltinFunctionType):
        return isinstance(function.__self__, list | dict | set | deque)
    return isinstance(function, FunctionType | MethodType | functools.partial)


def _of_stand_ins(value: Any, made: StandIns) -> Any:
    """Return what an iterator is made of, with stand-ins for the iterators in it."""
    if type(value) is not tuple or value in made:
        return made[value]
    return tuple(_of_stand_ins(item, made) for item in value)


class _Refused:
    """Stands in for what cannot be copied, and raises where it is used."""

    def __init__(self, original: Any) -> None:
        self.__dict__["original_type"] = type(original)

    @property
    def __class__(self) -> type:
        return self.__dict__["original_type"]

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        kind = self.__dict__["original_type"]
        raise UsedUpError(
            f"The function uses a {kind.__module__}.{kind.__qualname__} that it has captured, which "
            "the inference of its results would use up, and which can neither be copied nor put back: "
            "pass output_shapes=, or let it take what it needs from a list, from an iterator over "
            "one, or from its arguments."
        )

    __next__ = __call__ = __enter__ = __len__ = _refuse

    def __iter__(self) -> Any:
        return self

    def __bool__(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._refuse()


# Where they are put -------------------------------------------------------------------------------


@functools.singledispatch
def put_stand_ins(holder: Any, made: StandIns) -> None:
    """Let an object hold the stand-ins instead of what they stand in for."""
    for cls in type(holder).__mro__:
        for slot in slots(cls):
            value = in_slot(slot, holder)
            if value in made:
                slot.__set__(holder, made[value])


def slots(cls: type) -> list[MemberDescriptorType]:
    """Return a class's own slots, also where a subclass hides them behind other attributes."""
    given = cls.__dict__.get("__slots__", ())
    own = cls.__name__.lstrip("_")
    found = []
    for name in (given,) if isinstance(given, str) else given:
        mangled = own and name.startswith("__") and not name.endswith("__")
        slot = cls.__dict__.get(f"_{own}{name}" if mangled else name)
        if isinstance(slot, MemberDescriptorType):
            found.append(slot)
    return found


@put_stand_ins.register
def _(holder: dict, made: StandIns) -> None:
    items, kind = list(dict.items(holder)), dict_kind(holder)
    if any(key in made for key, _ in items):
        kind.clear(holder)
        for key, item in items:
            kind.__setitem__(holder, made[key], made[item])
    for key, item in items:
        if item in made:
            kind.__setitem__(holder, key, made[item])


@put_stand_ins.register(list)
@put_stand_ins.register(deque)
def _(holder: Any, made: StandIns) -> None:
    kind: Any = list if isinstance(holder, list) else deque
    for i, item in enumerate(list(holder)):
        if item in made:
            kind.__setitem__(holder, i, made[item])


@put_stand_ins.register
def _(holder: set, made: StandIns) -> None:
    for item in [item for item in holder if item in made]:
        set.discard(holder, item)
        set.add(holder, made[item])


@put_stand_ins.register
def _(holder: CellType, made: StandIns) -> None:
    try:
        value = holder.cell_contents
    except ValueError:  # empty
        return
    if value in made:
        holder.cell_contents = made[value]


@put_stand_ins.register
def _(holder: FunctionType, made: StandIns) -> None:
    if holder.__defaults__ in made:
        holder.__defaults__ = made[holder.__defaults__]


@put_stand_ins.register
def _(holder: functools.partial, made: StandIns) -> None:
    if holder.func in made or holder.args in made:
        state = made[holder.func], made[holder.args], holder.keywords, vars(holder)
        put_partial(holder, state)


@put_stand_ins.register
def _(holder: type, made: StandIns) -> None:
    for name, item in list(vars(holder).items()):
        if item in made and not name.startswith("__"):
            type.__setattr__(holder, name, made[item])


@put_stand_ins.register
def _(holder: ContextVar, made: StandIns) -> None:
    value = holder.get(None)
    if value in made:
        holder.set(made[value])
