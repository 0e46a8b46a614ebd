"""Hyperparameters as arrays of an optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.lax.lax import _convert_element_type  # weak types have no public name

__all__ = ["as_array", "default_hyperparameters", "is_number", "is_state", "weak"]

# optax uses these as factors only, so that tracing them changes no bit of its results.
STATE = {"learning_rate", "weight_decay", "momentum", "step_size"}

# fromage computes with its learning rate in Python's precision before it meets an array, and what
# `inject_hyperparams` makes, which has no name, keeps hyperparameters in optax's state.
EXCEPT = {"fromage", None}


def is_state(function: Any, name: str, value: Any) -> bool:
    """Say whether an argument is kept among an optimizer's arrays from the beginning."""
    return is_array(value) or (name in _state_names(function) and is_number(value))


def default_hyperparameters(function: Any) -> Iterator[tuple[str, float]]:
    """Yield the hyperparameters that a function has when none are given; zeros stand for nothing."""
    for name, parameter in inspect.signature(function).parameters.items():
        is_given = isinstance(parameter.default, float) and parameter.default != 0
        if name in _state_names(function) and is_given:
            yield name, parameter.default


def _state_names(function: Any) -> set[str]:
    return set() if getattr(function, "__name__", None) in EXCEPT else STATE


def is_array(value: Any) -> bool:
    """Say whether `value` is an array of floating point numbers."""
    is_any = isinstance(value, (jax.Array, np.ndarray, np.generic))
    return is_any and jnp.issubdtype(value.dtype, jnp.floating)


def is_number(value: Any) -> bool:
    """Say whether `value` is a number that can vary continuously."""
    return is_array(value) or (isinstance(value, (int, float)) and not isinstance(value, bool))


def as_array(value: Any) -> jax.Array:
    """Return a hyperparameter in the dtype that all of them have, whatever the parameters have."""
    return jnp.asarray(value, dtype=jnp.result_type(float))


def weak(value: Any) -> Any:
    """Return an array that promotes as a Python number does: to the dtype of what it meets."""
    return _convert_element_type(value, value.dtype, weak_type=True)
