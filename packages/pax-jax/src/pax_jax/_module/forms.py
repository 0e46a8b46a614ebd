"""Subclasses of containers and other classes whose objects ask before they are written to."""

from __future__ import annotations

import copy
import dataclasses
import functools
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

import pax_tree
from pax_tree import Record

_HEAP_TYPE = 1 << 9  # of `__flags__`: the class is made while the program runs

_SEQUENCE = "append clear extend insert pop remove reverse __init__ __delitem__ __iadd__ __imul__ __setitem__"
_MAPPING = "clear pop popitem setdefault update __init__ __delitem__ __ior__ __setitem__"
_WRITES = {
    list: f"{_SEQUENCE} sort",
    deque: f"{_SEQUENCE} appendleft extendleft popleft rotate",
    bytearray: _SEQUENCE,
    array: "append extend insert pop remove reverse __delitem__ __iadd__ __imul__ __setitem__ byteswap "
    "frombytes fromlist",
    dict: _MAPPING,
    OrderedDict: f"{_MAPPING} move_to_end",
    defaultdict: f"{_MAPPING} __missing__",
    Counter: f"{_MAPPING} subtract __iadd__ __isub__ __iand__",
    set: "add clear difference_update discard intersection_update pop remove "
    "symmetric_difference_update update __init__ __iand__ __ior__ __isub__ __ixor__",
}
# Classes of Python's library whose objects have nothing but their attributes.
_HOLDERS = {
    "types": ("SimpleNamespace",),
    "argparse": ("Namespace",),
    "collections": ("UserDict", "UserList", "ChainMap"),
}

_classes: set[Any] = set()  # those that were made

# From an object of such a class and a write, a function of what is written to, to its result.
OnWrite = Callable[[Any, Callable[[Any], Any]], Any]


class Forms:
    """The subclasses of one sort.

    An object of them has as `_owner` the module and the name of the attribute that it was read of, and the
    object that it stands for.

    Args:
        prefix: of the names of the classes.
        on_write: called in place of each write.
    """

    def __init__(self, prefix: str, on_write: OnWrite) -> None:
        self._prefix, self._on_write = prefix, on_write
        self.class_of = functools.cache(self._class_of)

    def of(self, owner: tuple[Any, str], value: Any, convert: Callable[[Any], Any]) -> Any:
        """Return the object that stands for `value`, with what is inside converted; or `value` itself."""
        if isinstance(value, tuple):
            items = [convert(item) for item in value]
            same = all(item is own for item, own in zip(items, value, strict=True))
            return value if same else tuple.__new__(type(value), items)
        cls = self.class_of(type(value))
        if cls is None:
            return value
        made = _made(cls, value, convert)
        if cls is not type(value):
            made._owner = (*owner, value)  # from now on it asks
        return made

    def _class_of(self, base: Any) -> Any:
        """Return the class of such objects: itself where it is frozen, None where it is of no such sort."""
        if (root := _root(base)) is not None:
            return self._container(base, root) if _is_plain_container(base, root) else None
        if not _has_attributes_alone(base):
            return None
        if base.__module__ not in _HOLDERS and base.__setattr__ is not object.__setattr__:
            params = getattr(base, "__dataclass_params__", None)
            return base if params is not None and params.frozen else None
        return self._object(base)

    def _container(self, base: Any, root: Any) -> Any:
        def plain(value: Any) -> Any:
            return _made(base, value, lambda item: item)

        methods: dict[str, Any] = {name: self._asking(root, name) for name in _WRITES[root].split()}
        methods |= {"copy": plain, **_names(base, plain)}
        cls = type(f"{self._prefix}{base.__name__.title()}", (base,), methods)
        if pax_tree.is_tree_node(base) and root is not deque:  # which JAX takes for a leaf
            pax_tree.register_pytree_with_keys(cls, _with_keys(plain), _rebuild)
        _classes.add(cls)
        return cls

    def _object(self, base: Any) -> Any:
        def plain(value: Any) -> Any:
            return _made(base, value, lambda item: item)

        def equal(value: Any, other: Any) -> Any:
            return plain(value) == (plain(other) if type(other) is cls else other)

        methods = {name: self._asking(base, name) for name in ("__setattr__", "__delattr__")}
        methods |= {"__eq__": equal, "__hash__": lambda value: hash(plain(value))}
        methods |= {"__class__": property(lambda _: base), **_names(base, plain)}
        cls: Any = type(f"{self._prefix}{base.__name__}", (base,), methods)
        if pax_tree.is_tree_node(base):
            pax_tree.register_pytree_with_keys(cls, _with_keys(plain), _rebuild)
        _classes.add(cls)
        return cls

    def _asking(self, base: Any, name: str) -> Callable[..., Any]:
        write = getattr(base, name)
        on_write = self._on_write

        def method(form: Any, *args: Any, **kwargs: Any) -> Any:
            if not is_form(form):  # it is being made
                return write(form, *args, **kwargs)
            return on_write(form, lambda target: write(target, *args, **kwargs))

        method.__name__ = name
        return method


def is_form(value: Any) -> bool:
    """Say whether a value stands for another one."""
    return type(value) in _classes and hasattr(value, "_owner")


def plain_of(value: Any, convert: Callable[[Any], Any]) -> Any:
    """Return an object of the class of that for which `value` stands, with what is inside converted."""
    return _made(type(value._owner[2]), value, convert)


def _made(cls: Any, value: Any, convert: Callable[[Any], Any]) -> Any:
    """Return an object of a class that is, or is derived from, that of `value`, or the other way round."""
    root = _root(cls)
    if root is None:
        new: Any = next(base for base in cls.__mro__ if not _is_of_python(base))
        made = new.__new__(cls)
    elif root is array:
        made = array.__new__(cls, *arguments(value, convert))
    else:
        made = root.__new__(cls)
        root.__init__(made, *arguments(value, convert))
    for name, item in attributes(value).items():
        object.__setattr__(made, name, convert(item))
    return made


def _root(cls: Any) -> Any:
    """Return the container that a class is, or is derived from; None if it is none."""
    return next((base for base in cls.__mro__ if base in _WRITES), None)


def _is_plain_container(cls: Any, root: Any) -> bool:
    """Say whether a class changes nothing of how the container is written to that it is derived from."""
    names = [name for name in (*_WRITES[root].split(), "copy") if name != "__init__"]
    return all(getattr(cls, name, None) is getattr(root, name, None) for name in names)


def _has_attributes_alone(cls: Any) -> bool:
    """Say whether all that objects of a class hold are attributes: nodes, dataclasses, namespaces."""
    if cls.__name__ in _HOLDERS.get(cls.__module__, ()):
        return True
    if issubclass(cls, Record) or not all(map(_is_of_python, cls.__mro__[:-1])):
        return False
    params = getattr(cls, "__dataclass_params__", None)
    by_value = params is not None and (params.frozen or params.eq)
    return by_value or pax_tree.is_tree_node(cls)


def _is_of_python(cls: type) -> bool:
    return bool(cls.__flags__ & _HEAP_TYPE)


def attributes(value: Any) -> dict[str, Any]:
    """Return the fields and attributes of an object."""
    fields = (
        [field.name for field in dataclasses.fields(value)]
        if dataclasses.is_dataclass(value)
        else []
    )
    named = {name: getattr(value, name) for name in fields if hasattr(value, name)}
    return named | getattr(value, "__dict__", {})


def arguments(value: Any, convert: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Return the arguments that make a container of the class of `value`, of the same items."""
    if isinstance(value, defaultdict):
        return value.default_factory, {key: convert(item) for key, item in value.items()}
    if isinstance(value, dict):
        return ({key: convert(item) for key, item in value.items()},)
    if isinstance(value, array):
        return value.typecode, bytes(value)
    items = [convert(item) for item in value]
    return (items, value.maxlen) if isinstance(value, deque) else (items,)


def refill(form: Any, value: Any, convert: Callable[[Any], Any]) -> None:
    """Give an object that stands for `value` what `value` holds now."""
    root, owner = _root(type(value)), form._owner
    object.__delattr__(form, "_owner")  # it is written to
    try:
        if root is array:
            form[:] = value
        elif root is not None:
            root.clear(form)
            fill = root.update if issubclass(root, (dict, set)) else root.extend
            fill(form, arguments(value, convert)[1 if root is defaultdict else 0])
        for name in attributes(form).keys() - attributes(value).keys():
            object.__delattr__(form, name)
        for name, item in attributes(value).items():
            object.__setattr__(form, name, convert(item))
    finally:
        object.__setattr__(form, "_owner", owner)


def _names(base: Any, plain: Callable[[Any], Any]) -> dict[str, Any]:
    """Return what all such classes define, with the methods that make plain objects of theirs."""
    return {
        "__slots__": ("_owner",),
        "__doc__": f"A {base.__name__} of a module, read where a write to it must be known.",
        "__repr__": lambda self: repr(plain(self)),
        "__copy__": plain,
        "__deepcopy__": lambda self, memo: copy.deepcopy(plain(self), memo),
        "__reduce_ex__": lambda self, protocol: (copy.copy, (plain(self),)),
    }


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
