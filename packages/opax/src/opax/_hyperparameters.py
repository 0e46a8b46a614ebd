"""Hyperparameters as arrays of an optimizer."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.lax.lax import _convert_element_type  # weak types have no public name

__all__ = ["as_array", "is_number", "is_state", "weak"]

# optax uses these as factors only, so that tracing them changes no bit of its results.
STATE = {"learning_rate", "weight_decay", "momentum", "step_size"}

# These compute with them before they meet an array, in Python's precision.
EXCEPT = {"fromage"}


def is_state(function: str, name: str, value: Any) -> bool:
    """Say whether an argument is kept among an optimizer's arrays from the beginning."""
    return is_array(value) or (name in STATE and function not in EXCEPT and is_number(value))


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
