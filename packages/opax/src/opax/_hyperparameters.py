"""Hyperparameters as arrays of an optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.lax.lax import _convert_element_type  # weak types have no public name

# optax uses these as factors only, so that tracing them changes no bit of its results.
STATE = {"learning_rate", "weight_decay", "momentum", "step_size"}

# These compute with it in Python's precision before it meets an array.
EXCEPT = {
    ("fromage", "learning_rate"),
    ("madgrad", "momentum"),
    ("scale_by_madgrad", "momentum"),
    ("sm3", "momentum"),
}


def is_state(function: Any, name: str, value: Any) -> bool:
    """Say whether an argument is kept among an optimizer's arrays from the beginning."""
    return is_array(value) or (is_number(value) and _is_kept(function, name))


def default_hyperparameters(function: Any) -> Iterator[tuple[str, float]]:
    """Yield the hyperparameters that a function has when none are given; zeros stand for nothing."""
    for name, parameter in inspect.signature(function).parameters.items():
        is_given = isinstance(parameter.default, float) and parameter.default != 0
        if is_given and _is_kept(function, name):
            yield name, parameter.default


def _is_kept(function: Any, name: str) -> bool:
    """Say whether an argument is kept; what `inject_hyperparams` makes has its own in its state."""
    made_by = getattr(function, "__name__", None)
    return made_by is not None and name in STATE and (made_by, name) not in EXCEPT


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
