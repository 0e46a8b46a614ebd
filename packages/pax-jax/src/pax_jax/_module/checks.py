"""What is checked of a module: values that are registered, and on request mistakes that only show later."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import pax_tree
from pax_jax._module.kinds import (
    MODULE,
    PARAMETER,
    STATE,
    check_arrays,
    check_modules,
    check_seen,
    classify,
    is_array,
    is_module,
)
from pax_jax._module.tied import check_unshared
from pax_jax._module.trees import submodules
from pax_tree import record_flatten


def _is_array_or_none(value: Any) -> bool:
    return value is None or is_array(value)


def _has_numeric_leaves(tree: Any) -> bool:
    numbers = (bool, int, float, complex, np.generic)
    return all(is_array(leaf) or isinstance(leaf, numbers) for leaf in pax_tree.tree_leaves(tree))


def _has_modules(tree: Any) -> bool:
    return all(map(is_module, pax_tree.tree_leaves(tree, is_leaf=is_module)))


_AN_ARRAY = "an array or None (a pytree of arrays has the `_subtree` form of this method)"
_NUMERIC = "a pytree of arrays and numbers"

# For each method that assigns an attribute of a given kind: the kind, and what it accepts.
_REGISTERED: dict[str, tuple[int, Callable[[Any], bool], str]] = {
    "register_parameter": (PARAMETER, _is_array_or_none, _AN_ARRAY),
    "register_state": (STATE, _is_array_or_none, _AN_ARRAY),
    "register_module": (MODULE, is_module, "a module"),
    "register_parameter_subtree": (PARAMETER, _has_numeric_leaves, _NUMERIC),
    "register_state_subtree": (STATE, _has_numeric_leaves, _NUMERIC),
    "register_module_subtree": (MODULE, _has_modules, "a pytree of modules"),
}


def kind_registered(module: Any, method: str, name: str, value: Any) -> int:
    """Return the kind that `module.method(name, value)` gives the attribute.

    Raises:
        TypeError: the method does not accept `value`.
    """
    kind, accepts, expected = _REGISTERED[method]
    if not accepts(value):
        raise TypeError(
            f"{type(module).__name__}.{method}({name!r}, ...) expects {expected}, "
            f"got {value!r} of type {type(value).__name__}."
        )
    check_seen(module, name, value)
    return kind


def check_descriptor(module: Any, method: str, name: str) -> None:
    """Raise `TypeError` if the class has a property of the name, behind which nobody would see a value."""
    descriptor = inspect.getattr_static(type(module), name, None)
    if hasattr(type(descriptor), "__set__"):
        raise TypeError(
            f"{type(module).__name__}.{method}({name!r}, ...): {name!r} is a "
            f"{type(descriptor).__name__} of the class. Register the attribute that it reads."
        )


def scan_bugs(module: Any) -> None:
    """Raise what is wrong with `module` or with a module below it; see `Module.scan_bugs`."""
    check_unshared(module)
    _scan(module)


def _scan(module: Any) -> None:
    children, spec = record_flatten(module)
    for name, value in spec.statics.items():
        classify(module, name, value)
    for name, kind, child in zip(spec.names, spec.kinds, children, strict=True):
        check_seen(module, name, child)
        if kind == MODULE:
            check_modules(module, name, child)
        else:
            check_arrays(module, name, child)
        if kind == PARAMETER:
            _check_differentiable(module, name, child)
    for child in submodules(module):
        _scan(child)


def _check_differentiable(module: Any, name: str, value: Any) -> None:
    for path, leaf in pax_tree.tree_leaves_with_path(value):
        dtype = leaf.dtype if is_array(leaf) else jax.dtypes.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise ValueError(
                f"{type(module).__name__}.{name}{pax_tree.keystr(path)} is a parameter of dtype "
                f"{dtype}, which has no gradient. Register it with register_state."
            )
