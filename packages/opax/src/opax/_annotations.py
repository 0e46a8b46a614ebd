"""What the annotations of arguments allow, by the types that they name."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import optax

_SCALARS = (int, float, complex, np.generic, np.ndarray, jax.Array, types.NoneType)


def resolved_signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function, its annotations evaluated where they are text."""
    try:
        return inspect.signature(function, eval_str=True)
    except Exception:  # of names that only type checkers import
        return inspect.signature(function)


def is_number(annotation: Any) -> bool:
    """Say whether an argument is a number, or an array or a schedule in its place."""
    members = list(_members(annotation))
    return float in members and all(_is_scalar(x) or is_function(x) for x in members)


def is_function(annotation: Any) -> bool:
    """Say whether an argument may be a function, such as a schedule."""
    return any(
        x is Callable or typing.get_origin(x) is Callable or x is typing.Callable
        for x in _members(annotation)
    )


def is_transformation(annotation: Any) -> bool:
    """Say whether an argument is a transformation."""
    members = [x for x in _members(annotation) if x is not types.NoneType]
    return bool(members) and all(_is_class(x, optax.GradientTransformation) for x in members)


def is_mapping_of_transformations(annotation: Any) -> bool:
    """Say whether an argument is a mapping to transformations."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    return _is_class(origin, Mapping) and len(args) == 2 and is_transformation(args[1])


def is_named_transformation(annotation: Any) -> bool:
    """Say whether an argument is a pair of a name and a transformation."""
    args = typing.get_args(annotation)
    return typing.get_origin(annotation) is tuple and len(args) == 2 and is_transformation(args[1])


def _members(annotation: Any) -> Iterator[Any]:
    """Yield the types of a union, of whatever is in it or in a name for it."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        for each in typing.get_args(annotation):
            yield from _members(each)
    elif origin is typing.Annotated:
        yield from _members(typing.get_args(annotation)[0])
    elif hasattr(annotation, "__value__"):  # a name, made by `type`
        yield from _members(annotation.__value__)
    else:
        yield types.NoneType if annotation is None else annotation


def _is_scalar(annotation: Any) -> bool:
    return _is_class(annotation, _SCALARS)


def _is_class(annotation: Any, of: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, of)
