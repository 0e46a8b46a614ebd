"""The kind of an attribute: parameter, state, module, frozen parameter, or static."""

from __future__ import annotations

import dataclasses
import functools
from collections import deque
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

import pax_tree
from pax_tree import Record

PARAMETER = 0  # trained: `parameters()` keeps it
STATE = 1  # not trained
MODULE = 2  # a module, or a list, tuple or dict of modules
FROZEN = 3  # a parameter that `freeze()` took out of training and `unfreeze()` gives back

_PLAIN = (str, bytes, int, float, complex, type, np.generic)


def is_array(value: Any) -> bool:
    """Say whether `value` is a JAX array (a tracer too) or a NumPy array."""
    return isinstance(value, (jax.Array, np.ndarray))


def is_module(value: Any) -> bool:
    """Say whether `value` is a module."""
    return isinstance(value, Record)


def is_whole(value: Any) -> bool:
    """Say whether `value` is not walked: a module, or a pytree whose class says `_is_static = True`.

    In an attribute of a module such a pytree is static, as if it had no leaves, though it may hold
    arrays: opax's transformations, which are equal where their arguments are.
    """
    return is_module(value) or _is_static(value)


def _is_static(value: Any) -> bool:
    return getattr(type(value), "_is_static", False) is True


def classify(module: Any, name: str, value: Any) -> int | None:
    """Return the kind that `module.name = value` gives the attribute; `None` makes it static.

    Raises:
        TypeError: `value` hides arrays or modules where JAX would not see them.
    """
    if is_module(value):
        return MODULE
    if is_array(value):
        kind = _tree_kind(type(module), name)
        return STATE if kind is None else kind
    if value is None or isinstance(value, _PLAIN):
        return None
    return _classify_tree(module, name, value)


def _tree_kind(cls: Any, name: str) -> int | None:
    return PARAMETER if name in cls._parameter_names else cls._array_kind


def _classify_tree(module: Any, name: str, value: Any) -> int | None:
    leaves = pax_tree.tree_leaves(value, is_leaf=is_whole)
    if not leaves and isinstance(value, (list, dict, deque)):
        return MODULE  # it may be filled later, which a static value must not be
    if any(map(is_module, leaves)):
        check_modules(module, name, value)
        return MODULE
    if any(map(is_array, leaves)):
        kind = _tree_kind(type(module), name)
        if kind is None:
            raise _hidden_array(module, name, value)
        return kind
    if any(_hides(leaf) for leaf in leaves):
        raise _hidden_inside(module, name)
    return None


def check_modules(module: Any, name: str, value: Any) -> None:
    """Raise if a container of modules holds something else.

    Raises:
        TypeError: it does; the message says where.
    """
    for path, leaf in pax_tree.tree_leaves_with_path(value, is_leaf=is_whole):
        if not is_module(leaf):
            raise TypeError(
                f"{type(module).__name__}.{name}{pax_tree.keystr(path)} is a {type(leaf).__name__} "
                "in a container of modules. Keep modules in a container of their own, and wrap a "
                "function in pax_jax.Lambda."
            )


def _hidden_array(module: Any, name: str, value: Any) -> TypeError:
    leaves = pax_tree.tree_leaves_with_path(value, is_leaf=is_whole)
    path = next(path for path, leaf in leaves if is_array(leaf))
    return TypeError(
        f"{type(module).__name__}.{name}{pax_tree.keystr(path)} is an array, and it is not said "
        f"whether {name!r} is trained. Register it: self.register_parameter_subtree({name!r}, ...) "
        f"or self.register_state_subtree({name!r}, ...)."
    )


def _hidden_inside(module: Any, name: str) -> TypeError:
    return TypeError(
        f"The static attribute {type(module).__name__}.{name} holds an array or a module where JAX "
        "cannot see it (in a partial function, a bound method, a set or a dataclass that is no "
        "pytree). Assign the array or the module to an attribute of its own."
    )


def _hides(value: Any) -> bool:
    if is_array(value) or is_whole(value):
        return not _is_static(value)
    return any(_hides(part) for part in _opaque_parts(value))


def _opaque_parts(value: Any) -> Iterator[Any]:
    """Yield what a static object carries along without being a pytree."""
    if isinstance(value, functools.partial):
        yield from pax_tree.tree_leaves((value.func, value.args, value.keywords), is_leaf=is_whole)
    elif isinstance(value, (set, frozenset)):
        yield from value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
        yield from pax_tree.tree_leaves(fields, is_leaf=is_whole)
    elif is_module(owner := getattr(value, "__self__", None)):
        yield owner


def check_class_attribute(cls: str, name: str, value: Any) -> None:
    """Raise if a class attribute is, or holds, an array or a module.

    Raises:
        TypeError: it does; all modules of the class would share it, and JAX would not see it.
    """
    if name == "__setattr__":
        raise TypeError(
            f"{cls} defines __setattr__, which modules have of their own: they can be changed only "
            "where they were made. Leave it out (for a dataclass, `frozen=True`)."
        )
    parts = value if type(value) in (list, tuple, set, dict) else (value,)
    leaves = pax_tree.tree_leaves(parts, is_leaf=is_whole)
    for leaf in leaves:
        if is_array(leaf) or is_module(leaf):
            what = "an array" if is_array(leaf) else f"the module {type(leaf).__name__}"
            verb = "is" if leaf is value else "holds"
            raise TypeError(
                f"The class attribute {cls}.{name} {verb} {what}, which JAX would not see. "
                "Assign it in __init__ (in a dataclass, use `default_factory`)."
            )
