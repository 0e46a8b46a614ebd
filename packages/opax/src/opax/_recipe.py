"""`Recipe`, how a transformation was made: by which function, with which arguments.

A template is a recipe without its hyperparameters, which an optimizer keeps among its arrays. So two
optimizers that differ in their learning rates only have one structure, and one compiled step.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.core import Tracer

from opax._masks import for_optax

COUNTERPARTS: dict[Callable[..., Any], Callable[..., Any]] = {}
"""From each of optax's functions to that of opax."""

IMPLEMENTATIONS: dict[Callable[..., Any], Callable[..., Any]] = {}
"""From a function of optax to the one that is called in its place."""


class _Slot:
    """Where a recipe's hyperparameter was."""

    def __reduce__(self) -> str:
        return "SLOT"

    def __repr__(self) -> str:
        return "..."


SLOT = _Slot()


class Recipe(NamedTuple):
    """A function and its arguments by name."""

    function: Callable[..., Any]
    arguments: dict[str, Any]

    @classmethod
    def of(cls, function: Callable[..., Any], args: Any, kwargs: Any) -> Recipe:
        """Name the arguments of a call."""
        bound = inspect.signature(function).bind(*_plain(args), **_plain(kwargs))
        return cls(function, bound.arguments)

    def call(self, change: Callable[[str, Any], Any]) -> Any:
        """Call the function with every argument changed by `change(path, argument)`."""
        signature = inspect.signature(self.function)
        bound = inspect.BoundArguments(signature, {})  # type: ignore[arg-type]
        for name, value in self.arguments.items():
            bound.arguments[name] = for_optax(name, map_paths(change, self.path(name), value))
        function = getattr(self.function, "implementation", self.function)
        return IMPLEMENTATIONS.get(function, function)(*bound.args, **bound.kwargs)

    def map(self, change: Callable[[str, Any], Any]) -> Recipe:
        """Return the recipe with every argument changed by `change(path, argument)`."""
        items = self.arguments.items()
        return Recipe(
            self.function, {name: map_paths(change, self.path(name), x) for name, x in items}
        )

    def path(self, name: str) -> str:
        """Return the path of an argument; those of `*args` are called by number alone."""
        kind = inspect.signature(self.function).parameters[name].kind
        return "" if kind in (kind.VAR_POSITIONAL, kind.VAR_KEYWORD) else name

    def argument(self, name: str) -> Any:
        """Return an argument or its default.

        Raises:
            KeyError: the function has no such argument.
        """
        if name in self.arguments:
            return self.arguments[name]
        default = inspect.signature(self.function).parameters[name].default
        if default is inspect.Parameter.empty:
            raise KeyError(name)
        return default

    def show(self, values: Mapping[str, Any]) -> str:
        """Write the call, with `values` for hyperparameters by path."""
        return f"{show(self.function)}({', '.join(self._shown(values))})"

    def _shown(self, values: Mapping[str, Any]) -> list[str]:
        shown = []
        for name, value in self.arguments.items():
            kind = inspect.signature(self.function).parameters[name].kind
            path = self.path(name)
            value = map_paths(lambda at, leaf: _Text(_show_leaf(at, leaf, values)), path, value)
            if kind is kind.VAR_POSITIONAL:
                shown += map(repr, value)
            elif kind is kind.VAR_KEYWORD:
                shown += [f"{key}={item!r}" for key, item in value.items()]
            else:
                shown.append(f"{name}={value!r}")
        return shown


class _Text(str):
    """What prints without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def map_paths(change: Callable[[str, Any], Any], path: str, value: Any) -> Any:
    """Change what stands in dicts, lists and tuples, at any depth of `value`, given its path."""
    if type(value) is dict:
        return {key: map_paths(change, join(path, str(key)), x) for key, x in value.items()}
    if type(value) in (list, tuple):
        items = (map_paths(change, join(path, str(i)), x) for i, x in enumerate(value))
        return type(value)(items)
    return change(path, value)


def signature_names(function: Callable[..., Any]) -> Iterable[str]:
    """Return the names of a function's arguments."""
    return inspect.signature(function).parameters


def join(path: str, name: str) -> str:
    """Return the path of `name` in what stands at `path`."""
    return f"{path}.{name}" if path else name


def frozen(value: Any) -> Any:
    """Return what can be hashed, and is equal where values and types are."""
    if isinstance(value, dict):
        return type(value), tuple((key, frozen(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return type(value), tuple(map(frozen, value))
    return type(value), value


def show(value: Any) -> str:
    """Write an argument; of functions the name."""
    if isinstance(value, (jax.Array, np.ndarray, np.generic)):
        is_known = not value.ndim and not isinstance(value, Tracer)
        return str(value) if is_known else f"{value.dtype}[{','.join(map(str, value.shape))}]"
    return getattr(value, "__name__", None) or repr(value)


def _show_leaf(path: str, value: Any, values: Mapping[str, Any]) -> str:
    if value is SLOT:
        return show(values.get(path, SLOT))
    below = f"{path}."
    if hasattr(value, "_show"):  # a template or a transformation
        return value._show(
            {k.removeprefix(below): v for k, v in values.items() if k.startswith(below)}
        )
    return show(value)


def _plain(value: Any) -> Any:
    """Replace opax's functions, at any depth of `value`, by optax's, which can be pickled."""
    return map_paths(lambda _, leaf: _plain_function(leaf), "", value)


def _plain_function(value: Any) -> Any:
    original = getattr(value, "__wrapped__", None)
    is_ours = callable(original) and COUNTERPARTS.get(original) is value
    return original if is_ours else value
