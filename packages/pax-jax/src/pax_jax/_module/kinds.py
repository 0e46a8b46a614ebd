"""The kind of an attribute: parameter, state, module, frozen parameter, or static."""

from __future__ import annotations

import functools
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

import pax_tree
from pax_jax._module.hidden import (
    Part,
    find_hidden,
    find_hidden_in_nodes,
    find_wrapped_module,
    is_program,
    is_ref,
    is_whole,
)
from pax_tree import Record

PARAMETER = 0  # trained: `parameters()` keeps it
STATE = 1  # not trained
MODULE = 2  # a module, or a list, tuple or dict of modules
FROZEN = 3  # a parameter that `freeze()` took out of training and `unfreeze()` gives back

_PLAIN_NAMES = ("training", "name")  # attributes of all modules
_ARRAY = (jax.Array, np.ndarray)
_NUMBER = (int, float, complex, np.generic)
_IN_ARRAYS = (*_ARRAY, *_NUMBER, jax.ShapeDtypeStruct)  # what may stand among arrays
_PLAIN = (str, bytes, *_NUMBER)


def is_array(value: Any) -> bool:
    """Say whether `value` is a JAX array (a tracer too) or a NumPy array."""
    return isinstance(value, _ARRAY)


def is_module(value: Any) -> bool:
    """Say whether `value` is a module."""
    return isinstance(value, Record)


def classify(module: Any, name: str, value: Any) -> int | None:
    """Return the kind that `module.name = value` gives the attribute; `None` makes it static.

    Raises:
        TypeError: `value` hides arrays or modules where JAX would not see them, or JAX has no such
            arrays.
    """
    if name in _PLAIN_NAMES and (is_module(value) or is_array(value)):
        raise TypeError(
            f"{type(module).__name__}.{name} is set to a {type(value).__name__}: it is static, as "
            "training is True or False and name is a string. Give the attribute another name."
        )
    if is_module(value):
        if type(value) in weakref.ProxyTypes:
            raise _proxy(f"{type(module).__name__}.{name}", value)
        return MODULE
    if is_array(value):
        _check_leaf(module, name, value)
        kind = _tree_kind(type(module), name)
        return STATE if kind is None else kind
    if value is None or isinstance(value, _PLAIN):
        return None
    return _classify_tree(module, name, value)


def classify_again(module: Any, name: str, value: Any, kind: int) -> int | None:
    """Return the kind of an attribute that holds arrays or modules and is set to another value.

    A module in place of arrays becomes one, and arrays or a function in place of a module what they
    would be at first. All else stays of the kind that it was of: masks and labels, for one, stand
    where arrays stood.

    Raises:
        TypeError: as `classify` does, or a module is set where state was.
    """
    if kind != MODULE and isinstance(value, (jax.Array, *_NUMBER)) and not is_ref(value):
        return kind
    is_new = is_module if kind != MODULE else _is_no_module
    if any(map(is_new, pax_tree.tree_leaves(value, is_leaf=is_whole))):
        before = pax_tree.tree_leaves(vars(module)[name], is_leaf=is_whole)
        if not any(map(is_new, before)):
            if kind == STATE and before:
                raise _state_is_set_to_modules(module, name, value)
            if kind != STATE:
                return classify(module, name, value)
    check_seen(module, name, value)
    return kind


def _is_no_module(value: Any) -> bool:
    return is_array(value) or (callable(value) and not is_module(value))


def _state_is_set_to_modules(module: Any, name: str, value: Any) -> TypeError:
    return TypeError(
        f"{type(module).__name__}.{name} is state, which is not trained, and is set to a "
        f"{type(value).__name__} with modules. Say whether their parameters are trained: "
        f"self.register_module_subtree({name!r}, ...) if so, "
        f"self.register_state_subtree({name!r}, ...) if not."
    )


def _proxy(where: str, module: Any) -> TypeError:
    return TypeError(
        f"{where} is a weak proxy of the module {module.__class__.__name__}, which JAX would not take "
        "apart. Assign the module itself."
    )


def _tree_kind(cls: Any, name: str) -> int | None:
    return PARAMETER if name in cls._parameter_names else cls._array_kind


def _classify_tree(module: Any, name: str, value: Any) -> int | None:
    _check_nodes(module, name, value)
    leaves = pax_tree.tree_leaves(value, is_leaf=is_whole)
    if not leaves and isinstance(value, (list, dict)):
        return MODULE  # it may be filled later, which a static value must not be
    if any(map(is_module, leaves)):
        check_modules(module, name, value)
        check_seen(module, name, value)
        return MODULE
    if any(map(is_array, leaves)):
        check_seen(module, name, value)
        kind = _tree_kind(type(module), name)
        if kind is None:
            raise _hidden_array(module, name, value)
        check_arrays(module, name, value)
        return kind
    for leaf in leaves:
        _check_leaf(module, name, leaf)
        if (hidden := find_hidden(leaf)) is not None:
            place = f"The static attribute {type(module).__name__}.{name}"
            raise _hidden_inside(place, hidden)
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
        if type(leaf) in weakref.ProxyTypes:
            raise _proxy(f"{type(module).__name__}.{name}{pax_tree.keystr(path)}", leaf)


def check_functions(module: Any) -> None:
    """Raise if a function hides an array or a module that was put into one of the module's containers.

    Raises:
        TypeError: it does; the message says where.
    """
    for path, leaf in pax_tree.tree_leaves_with_path(module):
        if callable(leaf) and (hidden := find_hidden(leaf)) is not None:
            raise _hidden_inside(f"{type(module).__name__}{pax_tree.keystr(path)}", hidden)


def check_arrays(module: Any, name: str, value: Any) -> None:
    """Raise if an attribute of arrays holds something that is neither an array nor a number.

    Raises:
        TypeError: it does; the message says where.
    """
    for path, leaf in pax_tree.tree_leaves_with_path(value):
        if not isinstance(leaf, _IN_ARRAYS):
            raise TypeError(
                f"{type(module).__name__}.{name}{pax_tree.keystr(path)} is a {type(leaf).__name__} "
                f"among arrays: JAX takes all that {name!r} holds for arrays. Assign it to an attribute "
                "of its own."
            )


def check_seen(module: Any, name: str, value: Any) -> None:
    """Raise if JAX does not see in a container of arrays or modules what pax_tree sees in it.

    Raises:
        TypeError: it does not, or a leaf is an array that JAX does not have; the message says where.
    """
    if value is None or isinstance(value, (jax.Array, Record)):
        return
    _check_nodes(module, name, value)
    if not all(map(_is_known, pax_tree.tree_leaves(value, is_leaf=is_whole))):
        for path, leaf in pax_tree.tree_leaves_with_path(value, is_leaf=is_whole):
            _check_leaf(module, f"{name}{pax_tree.keystr(path)}", leaf)
    _check_container(f"{type(module).__name__}.{name}", value)


def _check_nodes(module: Any, name: str, value: Any) -> None:
    if (hidden := find_hidden_in_nodes(value)) is not None:
        raise _hidden_inside(f"The attribute {type(module).__name__}.{name}", hidden)


def _check_container(where: str, node: Any) -> None:
    if is_whole(node):
        return
    below = pax_tree.tree_leaves_with_path(node, is_leaf=lambda part: part is not node)
    if len(below) == 1 and below[0][1] is node:
        return
    try:
        seen = jax.tree.leaves(node, is_leaf=lambda part: part is not node)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{where} is a {type(node).__name__} that JAX cannot take apart: {error} Use keys that can "
            "be compared with each other, such as strings alone."
        ) from error
    if list(map(type, seen)) != [type(child) for _, child in below]:
        raise TypeError(
            f"{where} is a {type(node).__name__} of arrays or modules, which JAX does not look into. "
            "Use a list, a tuple or a dict."
        )
    for path, child in below:
        if not is_whole(child):
            _check_container(where + pax_tree.keystr(path), child)


def _is_known(leaf: Any) -> bool:
    """Say quickly whether a leaf is a module or an array of JAX; a tracer may stand for a reference."""
    return isinstance(leaf, Record) or (
        isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer)
    )


def _check_leaf(module: Any, name: str, leaf: Any) -> None:
    """Raise `TypeError` for an array that JAX does not have, by itself or in a pytree."""
    if _is_known(leaf):
        return
    where = f"{type(module).__name__}.{name}"
    if isinstance(leaf, np.ndarray):
        if isinstance(leaf, np.ma.MaskedArray):
            raise TypeError(f"{where} is a masked array, of which JAX would ignore the mask.")
        wide = leaf.dtype.kind in "fc" and leaf.dtype.itemsize > 8 * "-fc".index(leaf.dtype.kind)
        if wide or not (leaf.dtype == bool or jnp.issubdtype(leaf.dtype, jnp.number)):
            raise TypeError(
                f"{where} is a NumPy array of dtype {leaf.dtype}, which JAX does not have. Keep "
                "modules in a list, and other objects in a list or tuple."
            )
    elif is_ref(leaf):
        raise TypeError(
            f"{where} is a jax.Ref, which copies, state_dict and jax.jit would share or leave out. "
            "Assign the array (`ref[...]`): a module's attribute can be replaced."
        )
    elif not is_array(leaf) and _is_foreign_array(type(leaf)):
        raise TypeError(
            f"{where} is a {type(leaf).__module__}.{type(leaf).__qualname__}, an array that JAX does "
            "not see. Assign `jnp.asarray(...)` of it."
        )


def _is_foreign_array(cls: type) -> bool:
    return not issubclass(cls, (type, *_PLAIN)) and (
        hasattr(cls, "__jax_array__") or hasattr(cls, "__dlpack__")
    )


def _hidden_array(module: Any, name: str, value: Any) -> TypeError:
    leaves = pax_tree.tree_leaves_with_path(value, is_leaf=is_whole)
    path = next(path for path, leaf in leaves if is_array(leaf))
    return TypeError(
        f"{type(module).__name__}.{name}{pax_tree.keystr(path)} is an array, and it is not said "
        f"whether {name!r} is trained. Register it: self.register_parameter_subtree({name!r}, ...) "
        f"or self.register_state_subtree({name!r}, ...)."
    )


def _hidden_inside(place: str, hidden: Part) -> TypeError:
    what = hidden.value
    if is_program(what):
        return TypeError(
            f"{place} holds a {type(what).__name__} of JAX, a program in which weights would be constants, "
            "not trained and not updated. Keep it outside of the module, or assign the function that it "
            "was made of."
        )
    sort = "a jax.Ref" if is_ref(what) else "an array"
    if is_module(what):
        sort = f"the module {type(what).__name__}"
    return TypeError(
        f"{place} holds an array or a module where JAX cannot see it: {sort} in {hidden.where}. It would "
        "be a constant, not trained and not updated. Assign the array or the module to an attribute of "
        "its own, and use it from there in a method."
    )


def check_method(cls: str, name: str, method: Any) -> None:
    """Raise `TypeError` if a method made while the program runs hides an array or a module."""
    if (hidden := find_hidden(method)) is not None:
        raise _hidden_inside(f"The method {cls}.{name}", hidden)


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
    if isinstance(value, functools.cached_property):
        raise TypeError(
            f"{cls}.{name} is a cached_property, whose value would stay as it is when the module's arrays "
            "change, and copies do not have it. Use a property, or assign the value in __init__."
        )
    if (wrapped := find_wrapped_module(value)) is not None and wrapped is not value:
        raise TypeError(
            f"The class attribute {cls}.{name} is a function of the module {type(wrapped).__name__}, "
            "which JAX would not see. Assign the module in __init__."
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
