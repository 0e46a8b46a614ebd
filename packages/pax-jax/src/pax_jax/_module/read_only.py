"""Containers, arrays of NumPy and nodes of a module as they are read outside of the scope that made it."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

import numpy as np

import pax_tree
from pax_jax._module.scope import scope_error
from pax_tree import Record

_HEAP_TYPE = 1 << 9  # of `__flags__`: the class is made while the program runs

_SEQUENCE = (
    "append clear extend insert pop remove reverse __delitem__ __iadd__ __imul__ __setitem__"
)
_MAPPING = "clear pop popitem setdefault update __delitem__ __ior__ __setitem__"
_WRITES = {
    list: f"{_SEQUENCE} sort",
    deque: f"{_SEQUENCE} appendleft extendleft popleft rotate",
    dict: _MAPPING,
    OrderedDict: f"{_MAPPING} move_to_end",
    defaultdict: _MAPPING,
    set: "add clear difference_update discard intersection_update pop remove "
    "symmetric_difference_update update __iand__ __ior__ __isub__ __ixor__",
}


def read_only(module: Any, name: str, value: Any) -> Any:
    """Return a container, and those inside it, in a form that raises when it is written to.

    The form is of a subclass, and a pytree of the same leaves; `jax.tree.map`, copies and slices give
    plain containers.

    Args:
        module: of which it is an attribute.
        name: of the attribute.
        value: a container of a class of Python's own, an array of NumPy or an object of a class that is
            registered as a node; another value is returned as it is.
    """
    if isinstance(value, np.ndarray):
        view = value.view()
        view.flags.writeable = False
        return view
    if isinstance(value, tuple):
        items = [read_only(module, name, item) for item in value]
        same = all(item is own for item, own in zip(items, value, strict=True))
        return value if same else tuple.__new__(type(value), items)
    cls = _CLASSES.get(type(value))
    if cls is None:
        return _read_only_node(module, name, value)
    made = cls(*_arguments(value, lambda item: read_only(module, name, item)))
    made._owner = (module, name)
    return made


def _read_only_node(module: Any, name: str, value: Any) -> Any:
    """Return an object of a registered class so that neither its attributes nor what they hold may be set."""
    base = type(value)
    cls = _node_class(base) if pax_tree.is_tree_node(base) else None
    if cls is None:
        return value
    made = object.__new__(cls)
    for own, item in _attributes(value).items():
        object.__setattr__(made, own, read_only(module, name, item))
    if cls is not base:
        object.__setattr__(made, "_owner", (module, name))
    return made


def _attributes(value: Any) -> dict[str, Any]:
    fields = (
        [field.name for field in dataclasses.fields(value)]
        if dataclasses.is_dataclass(value)
        else []
    )
    named = {name: getattr(value, name) for name in fields if hasattr(value, name)}
    own = getattr(value, "__dict__", {})
    return named | {key: item for key, item in own.items() if key != "_owner"}


def _is_of_python(cls: type) -> bool:
    return bool(cls.__flags__ & _HEAP_TYPE)


@functools.cache
def _node_class(base: Any) -> Any:
    """Return the class of such objects: itself where it is frozen, None where it is not of this sort."""
    params = getattr(base, "__dataclass_params__", None)
    if issubclass(base, Record) or not all(map(_is_of_python, base.__mro__[:-1])):
        return None
    if base.__setattr__ is not object.__setattr__:
        return base if params is not None and params.frozen else None

    def plain(self: Any) -> Any:
        made = object.__new__(base)
        for name, item in _attributes(self).items():
            object.__setattr__(made, name, item)
        return made

    def equal(self: Any, other: Any) -> Any:
        return plain(self) == (plain(other) if type(other) is cls else other)

    def refuse(self: Any, *_: Any) -> None:
        raise scope_error(*self._owner)

    methods = {"__setattr__": refuse, "__delattr__": refuse, "__eq__": equal, "__hash__": None}
    methods |= _copies(base, plain)
    cls: Any = type(f"ReadOnly{base.__name__}", (base,), methods)
    pax_tree.register_pytree_with_keys(cls, _with_keys(plain), _rebuild)
    return cls


def _copies(base: Any, plain: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the methods that make plain objects of a read-only one."""
    return {
        "__doc__": f"A {base.__name__} of a module that another scope has made; it is not written to.",
        "__copy__": plain,
        "__deepcopy__": lambda self, memo: copy.deepcopy(plain(self), memo),
        "__reduce_ex__": lambda self, protocol: plain(self).__reduce_ex__(protocol),
    }


def _arguments(value: Any, convert: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Return the arguments that make a container of the class of `value`, of the same items."""
    if isinstance(value, defaultdict):
        return value.default_factory, {key: convert(item) for key, item in value.items()}
    if isinstance(value, dict):
        return ({key: convert(item) for key, item in value.items()},)
    items = [convert(item) for item in value]
    return (items, value.maxlen) if isinstance(value, deque) else (items,)


def _make(base: Any, writes: str) -> Any:
    """Return the subclass of `base` whose objects raise when they are written to."""

    def plain(self: Any) -> Any:
        return base(*_arguments(self, lambda item: item))

    methods: dict[str, Any] = {name: _refusing(base, name) for name in writes.split()}
    methods |= {"copy": plain, **_copies(base, plain)}
    cls = type(f"ReadOnly{base.__name__.title()}", (base,), methods)
    if base not in (set, deque):  # which JAX takes for leaves
        pax_tree.register_pytree_with_keys(cls, _with_keys(plain), _rebuild)
    return cls


def _refusing(base: Any, name: str) -> Callable[..., Any]:
    write = getattr(base, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        owner = getattr(self, "_owner", None)
        if owner is None:  # the class fills it
            return write(self, *args, **kwargs)
        raise scope_error(*owner)

    method.__name__ = name
    return method


def _with_keys(plain: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def flatten(value: Any) -> tuple[list[tuple[Any, Any]], Any]:
        whole = plain(value)
        pairs, structure = pax_tree.tree_flatten_with_path(
            whole, is_leaf=lambda part: part is not whole
        )
        return [(path[0], item) for path, item in pairs], structure

    return flatten


def _rebuild(structure: Any, items: Any) -> Any:
    return structure.unflatten(items)


_CLASSES = {base: _make(base, writes) for base, writes in _WRITES.items()}
