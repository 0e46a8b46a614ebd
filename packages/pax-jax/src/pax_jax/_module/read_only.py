"""Lists, dicts, sets and deques of a module as they are read outside of the scope that made it."""

from __future__ import annotations

import copy
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

import pax_tree
from pax_jax._module.scope import scope_error

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
        value: a container of a class of Python's own; a value of another class is returned as it is.
    """
    if isinstance(value, tuple):
        items = [read_only(module, name, item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    cls = _CLASSES.get(type(value))
    if cls is None:
        return value
    made = cls(*_arguments(value, lambda item: read_only(module, name, item)))
    made._owner = (module, name)
    return made


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
    methods |= {
        "__doc__": f"A {base.__name__} of a module that another scope has made; it is not written to.",
        "copy": plain,
        "__copy__": plain,
        "__deepcopy__": lambda self, memo: copy.deepcopy(plain(self), memo),
        "__reduce_ex__": lambda self, protocol: plain(self).__reduce_ex__(protocol),
    }
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
