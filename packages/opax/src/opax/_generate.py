"""The counterparts of optax's functions that make gradient transformations."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ._transformation import COUNTERPARTS, Recipe, Transformation, remake

__all__ = ["counterparts"]

_UNANNOTATED = {
    "dog",
    "dowg",
    "hutchinson_estimator_diag_hessian",
    "monitor",
    "scale_by_factored_rms",
}
"""Functions that make transformations without saying so in their signature."""

_CLASSES = {"MultiSteps"}
"""Classes whose instances are transformations."""


def counterparts(source: ModuleType) -> dict[str, Callable[..., Any]]:
    """Make the counterparts of the functions of `source` that make transformations."""
    functions = {name: getattr(source, name) for name in dir(source) if not name.startswith("_")}
    return {
        name: _counterpart(function)
        for name, function in functions.items()
        if _makes_transformation(name, function)
    }


def _makes_transformation(name: str, function: Any) -> bool:
    if name in _UNANNOTATED or name in _CLASSES:
        return callable(function)
    if not inspect.isfunction(function):
        return False
    return "GradientTransformation" in str(inspect.signature(function).return_annotation)


def _counterpart(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function, updated=())
    def make(*args: Any, **kwargs: Any) -> Any:
        return _follow(function, args, kwargs)

    COUNTERPARTS[function] = make
    signature = inspect.signature(function)
    if "Callable" not in str(signature.return_annotation):
        signature = signature.replace(return_annotation=Transformation)
    make.__signature__ = signature  # type: ignore[attr-defined]
    return make


def _follow(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function of optax with what may be opax's, and make of the result what is opax's."""
    made = function(*_for_optax(args), **_for_optax(kwargs))
    recipe = Recipe(function, *_plain((args, kwargs)))
    if hasattr(made, "init") and hasattr(made, "update"):
        return Transformation(made, recipe)
    return _Maker(made, recipe)


class _Maker:
    """What `inject_hyperparams` returns: a function that makes transformations."""

    def __init__(self, function: Callable[..., Any], recipe: Recipe) -> None:
        self._function = function
        self._recipe = recipe
        self.__signature__ = inspect.signature(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Transformation:
        made = self._function(*_for_optax(args), **_for_optax(kwargs))
        return Transformation(made, Recipe(self, *_plain((args, kwargs))))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Maker) and self._recipe == other._recipe

    def __hash__(self) -> int:
        return hash((_Maker, self._recipe.function))

    def __repr__(self) -> str:
        return str(self._recipe)

    def __reduce__(self) -> tuple[Any, ...]:
        return remake, tuple(self._recipe)


def _plain(value: Any) -> Any:
    """Replace opax's functions, at any depth of `value`, by optax's, which can be pickled."""
    return _replace(value, _plain_function)


def _for_optax(value: Any) -> Any:
    """Replace what opax made, at any depth of `value`, by what optax made."""
    return _replace(
        value, lambda leaf: leaf.tx if isinstance(leaf, Transformation) else _plain_function(leaf)
    )


def _plain_function(value: Any) -> Any:
    original = getattr(value, "__wrapped__", None)
    is_ours = original is not None and COUNTERPARTS.get(original) is value
    return original if is_ours else value


def _replace(value: Any, change: Callable[[Any], Any]) -> Any:
    if type(value) is dict:
        return {key: _replace(item, change) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_replace(item, change) for item in value)
    return change(value)
