"""`Transformation`, an optax gradient transformation that makes stateful optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import optax

from opax._hyperparameters import as_array, default_hyperparameters, is_state, weak
from opax._optimizer import Optimizer
from opax._recipe import COUNTERPARTS, SLOT, Recipe, frozen, join, signature_names


class Template:
    """A transformation without its hyperparameters: the static part of an optimizer.

    Args:
        recipe: how it is made, with slots for hyperparameters and templates for transformations.
        tx: the transformation of optax, where there is no recipe.
    """

    def __init__(self, recipe: Recipe | None, tx: Any = None) -> None:
        self.recipe = recipe
        self._tx = tx
        self._key = _key(recipe, tx)

    def build(self, values: Mapping[str, Any]) -> optax.GradientTransformationExtraArgs:
        """Make the transformation of optax with hyperparameters by path."""
        made = self._tx if self.recipe is None else self.recipe.call(_filler(values))
        return optax.with_extra_args_support(made)

    def build_traced(self, values: Mapping[str, Any]) -> optax.GradientTransformationExtraArgs:
        """Make the transformation of optax with arrays for hyperparameters."""
        return self.build({path: weak(value) for path, value in values.items()})

    def with_slot(self, path: str) -> Template:
        """Return the template with the argument at `path` as a hyperparameter."""
        if self.recipe is None:
            return self

        def change(at: str, value: Any) -> Any:
            if isinstance(value, Template) and path.startswith(f"{at}."):
                return value.with_slot(path.removeprefix(f"{at}."))
            return value

        recipe = self.recipe.map(change)
        if path in signature_names(recipe.function):
            recipe.arguments[path] = SLOT
        return Template(recipe)

    def _show(self, values: Mapping[str, Any]) -> str:
        return "from_optax(...)" if self.recipe is None else self.recipe.show(values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return self._show({})

    def __deepcopy__(self, memo: Any) -> Template:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Template, (self.recipe, self._tx)


class Transformation:
    """A gradient transformation of optax; called with parameters it makes an optimizer.

    Two transformations made by the same function from equal arguments are equal. Optimizers whose
    transformations differ in the values of hyperparameters only have the same structure, so that
    `jax.jit` compiles for them once.

    Args:
        tx: an object with optax's `init` and `update`.
        recipe: how it was made, where that is known; printing, pickling and hyperparameters use it.

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
        self._key = _key(recipe, tx)
        self.template, self.values = _split(recipe, tx)

    def init(self, params: Any) -> Optimizer:
        """Make an optimizer for `params`.

        Args:
            params: a module or any pytree of arrays; of modules only the parameters count.

        Returns:
            An optimizer that holds optax's state for these parameters.
        """
        values = {path: as_array(value) for path, value in self.values.items()}
        return Optimizer(self.template, values, params)

    def __call__(self, params: Any) -> Optimizer:
        """Make an optimizer for `params`; the same as `init`."""
        return self.init(params)

    def _show(self, values: Mapping[str, Any]) -> str:
        return "from_optax(...)" if self._recipe is None else self._recipe.show(self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transformation) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return self._show({})

    def __deepcopy__(self, memo: Any) -> Transformation:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (from_optax, (self.tx,)) if self._recipe is None else (remake, tuple(self._recipe))


def from_optax(tx: Any) -> Transformation:
    """Make a transformation of opax from one of optax.

    The hyperparameters of `tx` are constants of the compiled program, as in optax.

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
    if isinstance(tx, Transformation):
        return tx
    if isinstance(tx, type) or not (hasattr(tx, "init") and hasattr(tx, "update")):
        raise TypeError(
            "from_optax expects an optax GradientTransformation such as `optax.adam(1e-3)`, "
            f"got {tx!r} of type {type(tx).__name__}."
        )
    return Transformation(tx)


def remake(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Follow a recipe."""
    made = Recipe(function, arguments)
    return COUNTERPARTS.get(function, function)._from_recipe(made)  # type: ignore[attr-defined]


def _filler(values: Mapping[str, Any]) -> Callable[[str, Any], Any]:
    def fill(path: str, value: Any) -> Any:
        if value is SLOT:
            return values[path]
        return value.build(_below(path, values)) if isinstance(value, Template) else value

    return fill


def _below(path: str, values: Mapping[str, Any]) -> dict[str, Any]:
    start = f"{path}."
    return {key.removeprefix(start): x for key, x in values.items() if key.startswith(start)}


def _split(recipe: Recipe | None, tx: Any) -> tuple[Template, dict[str, Any]]:
    """Return the template of a recipe and the values of its slots by path."""
    if recipe is None:
        return Template(None, tx), {}
    recipe = Recipe(recipe.function, dict(recipe.arguments))
    values: dict[str, Any] = {}

    def take(path: str, value: Any) -> Any:
        if isinstance(value, Transformation):
            values.update({join(path, name): x for name, x in value.values.items()})
            return value.template
        if not is_state(recipe.function, path, value):
            return value
        values[path] = value
        return SLOT

    for name, value in default_hyperparameters(recipe.function):
        recipe.arguments.setdefault(name, value)
    return Template(recipe.map(take)), values


def _key(recipe: Recipe | None, tx: Any) -> Any:
    """Return what decides equality: the recipe by value and type, else the object itself."""
    key = tx if recipe is None else (recipe.function, frozen(recipe.arguments))
    try:
        hash(key)
    except TypeError:  # an array among the arguments
        return object()
    return key
