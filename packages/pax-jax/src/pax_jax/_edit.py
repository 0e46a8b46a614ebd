"""The methods that make a changed copy of a module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax

import pax_tree
from pax_jax._kinds import is_module
from pax_jax._register import RegisterMethods
from pax_jax._trees import copy_tree, submodules
from pax_tree import record_flatten, record_spec, record_unflatten

T = TypeVar("T", bound="EditMethods")


class EditMethods(RegisterMethods):
    """What `Module` has for copies with other attributes, methods, leaves or submodules."""

    def copy(self: T) -> T:
        """Return a copy that shares the arrays, free to be changed in the current scope."""
        return copy_tree(self)

    def replace(self: T, **attributes: Any) -> T:
        """Return a copy with some attributes replaced.

        Args:
            **attributes: new values of attributes that the module has.

        Raises:
            AttributeError: the module has no such attribute.

        Example:
            >>> import pax_jax as pax
            >>> pax.Linear(2, 3).replace(bias=None).bias is None
            True
        """
        module = self.copy()
        spec = record_spec(module)
        for name, value in attributes.items():
            if not hasattr(module, name) or callable(getattr(type(module), name, None)):
                raise AttributeError(
                    f"{type(self).__name__} has no attribute {name!r} to replace; it has "
                    f"{', '.join([*spec.names, *spec.statics])}."
                )
            setattr(module, name, value)
        return module

    def set_attribute(self: T, name: str, value: Any) -> T:
        """Return a copy in which the attribute `name`, old or new, has this value.

        Example:
            >>> import pax_jax as pax
            >>> pax.Linear(2, 3).set_attribute("label", "head").label
            'head'
        """
        module = self.copy()
        setattr(module, name, value)
        return module

    def replace_method(self: T, **methods: Callable[..., Any]) -> T:
        """Return a copy, of a subclass of the same name, with some methods replaced.

        The same methods give the same subclass, so that nothing is compiled anew.

        Args:
            **methods: functions that take the module first.

        Raises:
            TypeError: a value is not a function.

        Example:
            >>> import jax.numpy as jnp
            >>> import pax_jax as pax
            >>> negative = pax.Linear(1, 1).replace_method(__call__=lambda self, x: -x)
            >>> negative(jnp.array(2.0))
            Array(-2., dtype=float32, weak_type=True)
        """
        from pax_jax._variants import with_class, with_methods

        for name, method in methods.items():
            if not callable(method):
                raise TypeError(
                    f"replace_method expects functions, got {method!r} of type "
                    f"{type(method).__name__} for {name!r}. Attributes have `replace`."
                )
        return with_class(self.copy(), with_methods(type(self), tuple(sorted(methods.items()))))

    def replace_node(self: T, node: Any, value: Any) -> T:
        """Return a copy with one array or submodule replaced, wherever it stands.

        Args:
            node: the object itself, found by identity; `net.modules[0].weight`, say.
            value: what takes its place.

        Raises:
            ValueError: the object is not held exactly once.

        Example:
            >>> import jax, jax.numpy as jnp
            >>> import pax_jax as pax
            >>> net = pax.Sequential(pax.Linear(2, 2), jax.nn.relu)
            >>> net = net.replace_node(net.modules[0].weight, jnp.zeros((2, 3)))
            >>> net.modules[0].weight.shape
            (2, 3)
        """
        leaves, structure = pax_tree.tree_flatten(self, is_leaf=lambda leaf: leaf is node)
        count = sum(leaf is node for leaf in leaves)
        if count != 1:
            raise ValueError(
                f"replace_node expects an array or a module that {type(self).__name__} holds once, "
                f"got a {type(node).__name__} that it holds {count} times. Nodes are found by "
                "identity: take it from this very module."
            )
        return structure.unflatten([value if leaf is node else leaf for leaf in leaves])

    def map(self, func: Callable[..., Any], *modules: Any) -> Any:
        """Return a copy with `func` of each leaf (and of those of `modules`); as `jax.tree.map`.

        Example:
            >>> import jax.numpy as jnp
            >>> import pax_jax as pax
            >>> layer = pax.Linear(2, 1)
            >>> layer.map(jnp.add, layer).weight.shape
            (2, 1)
        """
        return jax.tree.map(func, self, *modules)

    def submodules(self) -> list[Any]:
        """Return the modules directly inside this one, through lists, tuples and dicts.

        Example:
            >>> import jax
            >>> import pax_jax as pax
            >>> pax.Sequential(pax.Linear(1, 2), jax.nn.relu).submodules()
            [Linear(in_dim=1, out_dim=2, with_bias=True), Lambda(relu)]
        """
        return list(submodules(self))

    def apply(self, func: Callable[[Any], Any]) -> Any:
        """Apply a function to every module, the inner ones first and this one last.

        Args:
            func: takes a copy of a module, which it may change, and returns a module.

        Returns:
            What `func` made of this module.

        Raises:
            TypeError: `func` returns something else.

        Example:
            >>> import pax_jax as pax
            >>> net = pax.Sequential(pax.Linear(1, 2), pax.Linear(2, 3))
            >>> net = net.apply(lambda m: m.freeze() if isinstance(m, pax.Linear) else m)
            >>> net.parameters().modules[0].weight is None
            True
        """
        return _applied(self.apply_submodules(func), func)

    def apply_submodules(self: T, func: Callable[[Any], Any]) -> T:
        """Apply a function to every module below this one; as `apply`, which applies it here too."""
        children, spec = record_flatten(self)
        changed = pax_tree.tree_map(
            lambda leaf: leaf.apply(func) if is_module(leaf) else leaf, children, is_leaf=is_module
        )
        return record_unflatten(spec, changed)


def _applied(module: Any, func: Callable[[Any], Any]) -> Any:
    result = func(module)
    if is_module(result):
        return result
    raise TypeError(
        f"apply expects a function that returns a module; for {module!r} it returned "
        f"{result!r} of type {type(result).__name__}."
    )
