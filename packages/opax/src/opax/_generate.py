"""The counterparts of optax's functions that make gradient transformations."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from opax._recipe import COUNTERPARTS, Recipe
from opax._transformation import Transformation, remake

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
        name: counterpart(name, function)
        for name, function in functions.items()
        if _makes_transformation(name, function)
    }


def _makes_transformation(name: str, function: Any) -> bool:
    if name in _UNANNOTATED or name in _CLASSES:
        return callable(function)
    function = function.func if isinstance(function, functools.partial) else function
    if not inspect.isfunction(function):
        return False
    return "GradientTransformation" in str(inspect.signature(function).return_annotation)


def counterpart(name: str, function: Any) -> Callable[..., Any]:
    """Make the counterpart of a function that makes transformations of optax."""
    fixed: dict[str, Any] = {}
    if isinstance(function, functools.partial):  # nadam is adam with nesterov=True
        function, fixed = function.func, function.keywords
    follow = functools.partial(_follow, function, fixed)

    @functools.wraps(function, updated=())
    def make(*args: Any, **kwargs: Any) -> Any:
        return follow(args, kwargs)

    signature = inspect.signature(functools.partial(function, **fixed))
    if "Callable" not in str(signature.return_annotation):
        signature = signature.replace(return_annotation=Transformation)
    make.__signature__ = signature  # type: ignore[attr-defined]
    make.__name__ = name
    make._from_recipe = _made  # type: ignore[attr-defined]
    if not fixed:
        COUNTERPARTS[function] = make
    return make


def _follow(
    function: Callable[..., Any], fixed: dict[str, Any], args: Any, kwargs: dict[str, Any]
) -> Any:
    return _made(Recipe.of(function, args, {**fixed, **kwargs}))


def _made(recipe: Recipe) -> Any:
    """Follow a recipe, and make of the result what is opax's."""
    made = recipe.call(_for_optax)
    if hasattr(made, "init") and hasattr(made, "update"):
        return Transformation(made, recipe)
    return _Maker(made, recipe)


def _for_optax(path: str, value: Any) -> Any:
    """Replace what opax made by what optax made."""
    return value.tx if isinstance(value, Transformation) else value


class _Maker:
    """What `inject_hyperparams` returns: a function that makes transformations."""

    def __init__(self, function: Callable[..., Any], recipe: Recipe) -> None:
        self.implementation = function
        self._recipe = recipe
        self.__signature__ = inspect.signature(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Transformation:
        return self._from_recipe(Recipe.of(self, args, kwargs))

    def _from_recipe(self, recipe: Recipe) -> Transformation:
        return Transformation(recipe.call(_for_optax), recipe)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Maker) and self._recipe == other._recipe

    def __hash__(self) -> int:
        return hash((_Maker, self._recipe.function))

    def __repr__(self) -> str:
        return self._recipe.show({})

    def __reduce__(self) -> tuple[Any, ...]:
        return remake, tuple(self._recipe)
