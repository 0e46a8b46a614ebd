"""The schedules of optax, and `exponential_decay`: functions from the step count to a value.

A schedule made here knows how it was made: it prints, pickles and is equal to another made in the
same way, so that equal optimizers share a compiled step. optax's own `exponential_decay` is called
`exponential_decay_schedule` here.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import optax
import optax.schedules

from opax._promotion import usual_promotion
from opax._recipe import COUNTERPARTS, IMPLEMENTATIONS, Recipe, frozen
from opax._transformation import remake

_ELSEWHERE = {"inject_hyperparams", "inject_stateful_hyperparams"}


class Schedule:
    """A function from the step count to a value, made by one of the functions of this module.

    Args:
        recipe: how it is made.

    Example:
        >>> import opax
        >>> schedule = opax.schedule.linear_schedule(1.0, 0.0, transition_steps=4)
        >>> float(schedule(0)), float(schedule(1))
        (1.0, 0.75)
        >>> schedule
        linear_schedule(init_value=1.0, end_value=0.0, transition_steps=4)
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._function = recipe.call(lambda _, value: value)
        self._key = recipe.function, frozen(recipe.arguments)

    def __call__(self, count: Any) -> Any:
        """Return the value at a step; the first is step 0."""
        with usual_promotion():
            return self._function(count)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self._key == other._key

    def __hash__(self) -> int:
        try:
            return hash(self._key)
        except TypeError:  # an array among the arguments
            return hash(self._recipe.function)

    def __repr__(self) -> str:
        return self._recipe.show({})

    def __reduce__(self) -> tuple[Any, ...]:
        return remake, tuple(self._recipe)


def exponential_decay(
    initial_value: float,
    step_size: int,
    reduce_factor: float = 2.0,
    min_value: float | None = None,
) -> Schedule:
    """Divide a value by a factor in every so many steps, smoothly.

    The value at step `t` is `initial_value * reduce_factor ** (-t / step_size)`, as of
    `optax.exponential_decay` with `decay_rate=1 / reduce_factor`.

    Args:
        initial_value: the value at step 0.
        step_size: the number of steps in which the value is divided by `reduce_factor`.
        reduce_factor: the factor.
        min_value: the value does not go below this.

    Returns:
        A schedule.

    Example:
        >>> import opax
        >>> schedule = opax.schedule.exponential_decay(1.0, step_size=10, min_value=0.3)
        >>> [round(float(schedule(step)), 3) for step in (0, 10, 20)]
        [1.0, 0.5, 0.3]
    """
    arguments = (initial_value, step_size, reduce_factor)
    return Schedule(
        Recipe.of(
            exponential_decay, arguments, {"min_value": min_value} if min_value is not None else {}
        )
    )


def _exponential_decay(
    initial_value: float, step_size: int, reduce_factor: float = 2.0, min_value: float | None = None
) -> optax.Schedule:
    return optax.exponential_decay(
        initial_value, step_size, decay_rate=1 / reduce_factor, end_value=min_value
    )


IMPLEMENTATIONS[exponential_decay] = _exponential_decay
exponential_decay._from_recipe = Schedule  # type: ignore[attr-defined]


def _schedules() -> dict[str, Callable[..., Schedule]]:
    functions = {
        name: function
        for name, function in vars(optax.schedules).items()
        if inspect.isfunction(function) and name not in _ELSEWHERE
    }
    functions["exponential_decay_schedule"] = functions.pop("exponential_decay")
    return {name: _counterpart(name, function) for name, function in functions.items()}


def _counterpart(name: str, function: Callable[..., Any]) -> Callable[..., Schedule]:
    @functools.wraps(function)
    def make(*args: Any, **kwargs: Any) -> Schedule:
        return Schedule(Recipe.of(function, args, kwargs))

    signature = inspect.signature(function).replace(return_annotation=Schedule)
    make.__signature__ = signature  # type: ignore[attr-defined]
    make.__name__ = name
    make._from_recipe = Schedule  # type: ignore[attr-defined]
    COUNTERPARTS[function] = make
    return make


_generated = _schedules()
globals().update(_generated)

__all__ = ["Schedule", "exponential_decay", *_generated]  # pyright: ignore[reportUnsupportedDunderAll]
