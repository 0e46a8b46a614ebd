"""The counterparts of optax's functions that make gradient transformations."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import optax

from opax import _transforms
from opax._call import Call, counterpart, signature
from opax._masks import is_mask
from opax._transformation import Transformation

# What needs care, and why.
# Functions that make transformations, and do not say so in their signature.
UNANNOTATED = {
    "dog",
    "dowg",
    "hutchinson_estimator_diag_hessian",
    "monitor",
    "scale_by_factored_rms",
}

# Classes, whose instances are transformations without being tuples.
CLASSES = {"MultiSteps"}


# These take a factory that the user writes and optax calls. It may use the names of opax, so what it
# returns is turned into what optax expects.
# A mask is no schedule, for which optax takes what can be called.
def inject_hyperparams(inner_factory: Any, static_args: Any = (), **kwargs: Any) -> Any:
    """Do as optax, with a factory that may return a transformation of opax."""
    static = _static(inner_factory, static_args)
    return optax.inject_hyperparams(_for_optax(inner_factory), static, **kwargs)


def inject_stateful_hyperparams(inner_factory: Any, static_args: Any = (), **kwargs: Any) -> Any:
    """Do the same under optax's older name, which warns."""
    static = _static(inner_factory, static_args)
    return optax.inject_stateful_hyperparams(_for_optax(inner_factory), static, **kwargs)


# What is called in place of optax's functions, with the same arguments. The state of
# `optax.clip_by_global_norm` is empty; that of ours is the norm.
IN_PLACE_OF: dict[Any, Any] = {
    optax.clip_by_global_norm: _transforms.clip_by_global_norm,
    optax.inject_hyperparams: inject_hyperparams,
    optax.inject_stateful_hyperparams: inject_stateful_hyperparams,
}
for _theirs, _ours in IN_PLACE_OF.items():
    _ours.__signature__ = signature(_theirs)


def counterparts(source: ModuleType) -> dict[str, Callable[..., Any]]:
    """Make the counterparts of the functions of `source` that make transformations."""
    return {name: transformation_maker(name, each) for name, each in makers(source).items()}


def makers(source: ModuleType) -> dict[str, Any]:
    """Return the functions of `source` that make transformations, by name."""
    functions = {name: getattr(source, name) for name in dir(source) if not name.startswith("_")}
    return {name: each for name, each in functions.items() if _makes_transformation(name, each)}


def _makes_transformation(name: str, function: Any) -> bool:
    if name in UNANNOTATED or name in CLASSES:
        return callable(function)
    function = function.func if isinstance(function, functools.partial) else function
    if not inspect.isfunction(function):
        return False
    return "GradientTransformation" in str(function.__annotations__.get("return"))


def transformation_maker(name: str, function: Any) -> Callable[..., Any]:
    """Make the counterpart of a function that makes transformations of optax."""
    fixed: dict[str, Any] = {}
    if isinstance(function, functools.partial):  # nadam is adam with nesterov=True
        function, fixed = function.func, function.keywords
    is_factory = "Callable" in str(signature(function).return_annotation)
    kind: Any = Factory if is_factory else Transformation
    called = IN_PLACE_OF.get(function, function)
    return counterpart(name, function, kind, called, **fixed)


class Factory(Call):
    """What `inject_hyperparams` returns: a function that makes transformations."""

    returns = Callable[..., Transformation]

    @functools.cached_property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.made)

    def __call__(self, *args: Any, **kwargs: Any) -> Transformation:
        return Transformation.bind(self, args, kwargs)


def _static(factory: Callable[..., Any], names: Any) -> tuple[str, ...]:
    given = (names,) if isinstance(names, str) else tuple(names)
    return (*given, *filter(is_mask, inspect.signature(factory).parameters))


def _for_optax(factory: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(factory)
    def make(*args: Any, **kwargs: Any) -> Any:
        made = factory(*args, **kwargs)
        return made.tx if isinstance(made, Transformation) else made

    return make
