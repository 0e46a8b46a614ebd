"""Arguments that optax takes and then never uses, or fails on at the first step: refused when given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from opax._annotations import (
    is_function,
    is_mapping_of_transformations,
    is_named_transformation,
    is_number,
    is_transformation,
)

# Options that need another argument, which by default is None or zero.
_GOES_WITH = {
    "nesterov": ("momentum",),
    "accumulator_dtype": ("momentum",),
    "dtype_momentum": ("momentum",),
    "mask": ("weight_decay", "weight_decay_rate"),
    "weight_decay_mask": ("weight_decay", "weight_decay_rate"),
}
# Arguments that count steps, of which each must be at least one.
_COUNTS = {("MultiSteps", "every_k_schedule"), ("apply_every", "k")}


def check_arguments(function: Any, given: Mapping[str, Any], signature: inspect.Signature) -> None:
    """Check the arguments of a function of optax.

    Args:
        function: a function that makes a transformation or a schedule.
        given: its arguments by name, without those that are left out.
        signature: that of the function.

    Raises:
        TypeError: a number or a transformation is something else.
        ValueError: an argument has no effect.
    """
    name = getattr(function, "__name__", str(function))
    for argument, value in given.items():
        parameter = signature.parameters[argument]
        _check_number(name, parameter, value)
        for where, each in _transformations(parameter, value):
            _check_transformation(name, where, each)
        _check_use(name, parameter, given, signature.parameters)
        if (name, argument) in _COUNTS and isinstance(value, int | float) and value < 1:
            raise ValueError(
                f"{argument} of {name} is {value}, so it never steps; it is 1 or more."
            )
    check = _OF_FUNCTIONS.get(name)
    if check is not None:
        check(given)


def _check_number(name: str, parameter: inspect.Parameter, value: Any) -> None:
    is_missing = value is None and parameter.default is parameter.empty
    is_other = is_missing or isinstance(value, str | bytes | list | dict | set)
    if is_other and is_number(parameter.annotation):
        scheduled = is_function(parameter.annotation)
        wanted = "a number, an array or a schedule" if scheduled else "a number or an array"
        raise TypeError(f"{parameter.name} of {name} is {value!r}; expected {wanted}.")


def _transformations(parameter: inspect.Parameter, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the transformations in an argument, and where they stand."""
    annotation, name = parameter.annotation, parameter.name
    if value is None:
        return
    if is_mapping_of_transformations(annotation) and isinstance(value, Mapping):
        yield from ((f"{name}[{key!r}]", each) for key, each in value.items())
    elif is_named_transformation(annotation) and parameter.kind is parameter.VAR_POSITIONAL:
        yield from ((repr(key), each) for key, each in value)
    elif is_transformation(annotation) and parameter.kind is parameter.VAR_POSITIONAL:
        yield from ((f"argument {i}", each) for i, each in enumerate(value))
    elif is_transformation(annotation):
        yield name, value


def _check_transformation(name: str, where: str, value: Any) -> None:
    if isinstance(value, type) or not all(hasattr(value, x) for x in ("init", "update")):
        made = (
            " An optimizer was made for parameters already: give what made it."
            if hasattr(value, "hyperparams")
            else ""
        )
        raise TypeError(
            f"{where} of {name} is {value!r} of type {type(value).__name__}; expected a transformation "
            f"such as `opax.adam(1e-3)`.{made}"
        )


def _check_use(
    name: str,
    parameter: inspect.Parameter,
    given: Mapping[str, Any],
    parameters: Mapping[str, inspect.Parameter],
) -> None:
    """Raise if an argument is used with another one only, which is not given."""
    if any(given[parameter.name] is off for off in (parameter.default, None, False)):
        return
    for other in _GOES_WITH.get(parameter.name, ()):
        default = parameters[other].default if other in parameters else parameter.empty
        is_off = default is None or (isinstance(default, float) and default == 0)
        if is_off and given.get(other) is None:
            raise ValueError(
                f"{parameter.name} of {name} has no effect without {other}: give {other} too, or leave "
                f"{parameter.name} out."
            )


def _check_join(given: Mapping[str, Any]) -> None:
    schedules, boundaries = list(given["schedules"]), list(given["boundaries"])
    if len(boundaries) != len(schedules) - 1:
        raise ValueError(
            f"join_schedules got {len(schedules)} schedules and {len(boundaries)} boundaries; expected "
            f"{len(schedules) - 1} boundaries, one between each two schedules."
        )
    if any(a > b for a, b in pairwise(boundaries)):
        raise ValueError(
            f"The boundaries of join_schedules are {boundaries}; expected steps that do not decrease, as "
            "a schedule that ends before it begins is never used."
        )


def _check_chain(given: Mapping[str, Any]) -> None:
    if not given.get("args"):
        raise ValueError(
            "chain got no transformation; `opax.identity()` is the one that changes nothing."
        )


_OF_FUNCTIONS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "join_schedules": _check_join,
    "chain": _check_chain,
    "named_chain": _check_chain,
}
