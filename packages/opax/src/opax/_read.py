"""What optax's functions read of states, read of optimizers."""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp
import optax.contrib

from opax._optimizer import Optimizer
from opax._params import aligned, like, trainable, usual_promotion
from pax_jax import update_parameters

T = TypeVar("T")


def has_updated(optimizer: Optimizer) -> jax.Array:
    """Say whether the last step of `opax.MultiSteps` was one that changed the parameters.

    Args:
        optimizer: an optimizer with one `opax.MultiSteps` in it.

    Returns:
        A bool, which may be traced.

    Raises:
        AttributeError: there is none in it, or more than one.

    Example:
        >>> import jax.numpy as jnp
        >>> import opax
        >>> optimizer = opax.MultiSteps(opax.sgd(0.1), 2)({"w": jnp.ones(2)})
        >>> for _ in range(2):
        ...     params = optimizer.step({"w": jnp.ones(2)}, {"w": jnp.ones(2)})
        ...     print(opax.has_updated(optimizer))
        False
        True
    """
    return jnp.logical_and(optimizer.mini_step == 0, optimizer.gradient_step > 0)


def schedule_free_eval_params(optimizer: Optimizer, model: T) -> T:
    """Return the model with the parameters to evaluate, as `optax.contrib.schedule_free_eval_params`.

    Args:
        optimizer: an optimizer with one schedule-free transformation in it.
        model: a module or any pytree, whose parameters are those of the training.

    Raises:
        ValueError: there is none in it, or more than one; or `model` has other parameters.

    Example:
        >>> import jax.numpy as jnp
        >>> import opax
        >>> params = {"w": jnp.ones(2)}
        >>> optimizer = opax.contrib.schedule_free_sgd(0.5)(params)
        >>> for _ in range(2):
        ...     params = optimizer.step(params, params)
        >>> opax.contrib.schedule_free_eval_params(optimizer, params)["w"]
        Array([0.375, 0.375], dtype=float32)
    """
    kind = optax.contrib.ScheduleFreeState
    leaves = jax.tree.leaves(optimizer.state, is_leaf=lambda x: isinstance(x, kind))
    states = [leaf for leaf in leaves if isinstance(leaf, kind)]
    if len(states) != 1:
        raise ValueError(
            "schedule_free_eval_params expects an optimizer with one schedule-free transformation, got "
            f"{optimizer!r}, which has {len(states)}."
        )
    params = trainable(model)
    inner = aligned("parameters", params, optimizer.made_for)
    with usual_promotion():
        found = optax.contrib.schedule_free_eval_params(states[0], inner)
    return update_parameters(model, like(params, found))
