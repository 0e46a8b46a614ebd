"""`Transformation`, an optax gradient transformation that makes stateful optimizers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import optax

from ._optimizer import Optimizer

__all__ = ["COUNTERPARTS", "Recipe", "Transformation", "from_optax", "remake"]


COUNTERPARTS: dict[Callable[..., Any], Callable[..., Any]] = {}
"""From each of optax's functions to that of opax."""


class Recipe(NamedTuple):
    """How a transformation was made: by which function of optax, with which arguments."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __str__(self) -> str:
        return f"{_show(self.function)}({', '.join(self._arguments())})"

    def _arguments(self) -> list[str]:
        shown = []
        bound = inspect.signature(self.function).bind(*self.args, **self.kwargs)
        for name, value in bound.arguments.items():
            kind = bound.signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                shown += [_show(item) for item in value]
            elif kind is inspect.Parameter.VAR_KEYWORD:
                shown += [f"{key}={_show(item)}" for key, item in value.items()]
            else:
                shown.append(f"{name}={_show(value)}")
        return shown


class Transformation:
    """A gradient transformation of optax; called with parameters it makes an optimizer.

    Two transformations made by the same function from equal arguments are equal, so that
    optimizers made from them have the same structure for `jax.jit`.

    Args:
      tx: an object with optax's `init` and `update`.
      recipe: how it was made, where that is known; pickling and printing use it.

    Attributes:
      tx: the optax transformation.

    Example:
      >>> import jax.numpy as jnp
      >>> import opax
      >>> opax.sgd(0.1) == opax.sgd(0.1), opax.sgd(0.1) == opax.sgd(0.2)
      (True, False)
      >>> optimizer = opax.sgd(0.1)({"w": jnp.ones(2)})
      >>> optimizer
      sgd(learning_rate=0.1)

    """

    def __init__(self, tx: Any, recipe: Recipe | None = None) -> None:
        self.tx: optax.GradientTransformationExtraArgs = optax.with_extra_args_support(tx)
        self._recipe = recipe
        self._key = _key(tx, recipe)

    def init(self, params: Any) -> Optimizer:
        """Make an optimizer for `params`.

        Args:
          params: a module or any pytree of arrays; of modules only the parameters count.

        Returns:
          An optimizer that holds optax's state for these parameters.

        """
        return Optimizer(self, params)

    def __call__(self, params: Any) -> Optimizer:
        """Make an optimizer for `params`; the same as `init`."""
        return self.init(params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transformation) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return "from_optax(...)" if self._recipe is None else str(self._recipe)

    def __deepcopy__(self, memo: Any) -> Transformation:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self._recipe is None:
            return from_optax, (self.tx,)
        return remake, tuple(self._recipe)


def from_optax(tx: Any) -> Transformation:
    """Make a transformation of opax from one of optax.

    Args:
      tx: a `GradientTransformation`, with extra arguments or without, or any object with such an
        `init` and `update`.

    Returns:
      A function of parameters that makes an optimizer.

    Raises:
      TypeError: `tx` has no `init` and `update`.

    Example:
      >>> import jax.numpy as jnp
      >>> import opax, optax
      >>> optimizer = opax.from_optax(optax.sgd(0.5, momentum=0.9))({"w": jnp.ones(2)})
      >>> optimizer[0].trace
      {'w': Array([0., 0.], dtype=float32)}

    """
    if isinstance(tx, type) or not (hasattr(tx, "init") and hasattr(tx, "update")):
        raise TypeError(
            "from_optax expects an optax GradientTransformation such as `optax.adam(1e-3)`, "
            f"got {tx!r} of type {type(tx).__name__}."
        )
    return tx if isinstance(tx, Transformation) else Transformation(tx)


def remake(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Follow a recipe."""
    return COUNTERPARTS.get(function, function)(*args, **kwargs)


def _key(tx: Any, recipe: Recipe | None) -> Any:
    """Return what decides equality: the recipe by value and type, else the object itself."""
    key = tx if recipe is None else tuple(map(_frozen, recipe))
    try:
        hash(key)
    except TypeError:  # an array among the arguments
        return id(tx), tx
    return key


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return type(value), tuple((key, _frozen(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return type(value), tuple(map(_frozen, value))
    return type(value), value


def _show(value: Any) -> str:
    return getattr(value, "__name__", None) or repr(value)
