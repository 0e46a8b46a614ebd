"""The methods that say what kind an attribute is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import pax_tree
from pax_jax._kinds import MODULE, PARAMETER, STATE, is_array, is_module
from pax_tree import Record, record_set


class RegisterMethods(Record):
    """What `Module` has for assigning an attribute of a given kind."""

    def register_parameter(self, name: str, value: Any) -> None:
        """Assign an array that is trained.

        Args:
            name: the attribute.
            value: an array of any shape and dtype, or `None` for a parameter that is left out.

        Raises:
            TypeError: `value` is something else.

        Example:
            >>> import jax.numpy as jnp
            >>> import pax_jax as pax
            >>> module = pax.Module()
            >>> module.register_parameter("bias", jnp.zeros(3))
            >>> module.parameters().bias
            Array([0., 0., 0.], dtype=float32)
        """
        self._register("register_parameter", name, value, PARAMETER, _is_array_or_none, _AN_ARRAY)

    def register_state(self, name: str, value: Any) -> None:
        """Assign an array that is not trained; arguments and errors as in `register_parameter`."""
        self._register("register_state", name, value, STATE, _is_array_or_none, _AN_ARRAY)

    def register_module(self, name: str, value: Any) -> None:
        """Assign a submodule; `TypeError` if `value` is not a module."""
        self._register("register_module", name, value, MODULE, is_module, "a module")

    def register_parameter_subtree(self, name: str, value: Any) -> None:
        """Assign a pytree whose arrays are trained.

        Args:
            name: the attribute.
            value: a pytree of arrays and numbers.

        Raises:
            TypeError: a leaf is neither.

        Example:
            >>> import jax.numpy as jnp
            >>> import pax_jax as pax
            >>> module = pax.Module()
            >>> module.register_parameter_subtree("layers", [jnp.zeros(1), jnp.ones(1)])
            >>> module.parameters().layers
            [Array([0.], dtype=float32), Array([1.], dtype=float32)]
        """
        method = "register_parameter_subtree"
        self._register(method, name, value, PARAMETER, _has_numeric_leaves, _NUMERIC)

    def register_state_subtree(self, name: str, value: Any) -> None:
        """Assign a pytree whose arrays are not trained; else as `register_parameter_subtree`."""
        method = "register_state_subtree"
        self._register(method, name, value, STATE, _has_numeric_leaves, _NUMERIC)

    def register_module_subtree(self, name: str, value: Any) -> None:
        """Assign a pytree of modules, such as a list; `TypeError` if a leaf is not a module."""
        expected = "a pytree of modules"
        self._register("register_module_subtree", name, value, MODULE, _has_modules, expected)

    def _register(
        self,
        method: str,
        name: str,
        value: Any,
        kind: int,
        accepts: Callable[[Any], bool],
        expected: str,
    ) -> None:
        if not accepts(value):
            raise TypeError(
                f"{type(self).__name__}.{method}({name!r}, ...) expects {expected}, "
                f"got {value!r} of type {type(value).__name__}."
            )
        record_set(self, checked_name(self, name), value, kind)


_AN_ARRAY = "an array or None (a pytree of arrays has the `_subtree` form of this method)"
_NUMERIC = "a pytree of arrays and numbers"


def _is_array_or_none(value: Any) -> bool:
    return value is None or is_array(value)


def _has_numeric_leaves(tree: Any) -> bool:
    numbers = (bool, int, float, complex, np.generic)
    return all(is_array(leaf) or isinstance(leaf, numbers) for leaf in pax_tree.tree_leaves(tree))


def _has_modules(tree: Any) -> bool:
    return all(map(is_module, pax_tree.tree_leaves(tree, is_leaf=is_module)))


def checked_name(module: Any, name: str) -> str:
    """Return `name` unless it is that of a method of every module.

    Raises:
        AttributeError: it is.
    """
    if name in module._method_names:
        raise AttributeError(
            f"Cannot set {type(module).__name__}.{name}: it is a method of every module. "
            "Give the attribute another name."
        )
    return name
