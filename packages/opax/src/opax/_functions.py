"""Optimizer steps as functions that change nothing."""

from __future__ import annotations

from typing import Any, TypeVar

from opax._optimizer import Optimizer
from opax._structure import trainable

T = TypeVar("T")


def transform_gradients(
    grads: Any, optimizer: Optimizer, params: Any, **extra_args: Any
) -> tuple[Any, Optimizer]:
    """Turn gradients into updates, which are to be added to the parameters.

    Args:
        grads: gradients of `params`.
        optimizer: an optimizer made for `params`; it is not changed.
        params: the parameters; None will do where the transformation does not read them.
        **extra_args: what the transformation needs beyond these, such as `value=`.

    Returns:
        The updates, in the structure of `grads`, and the optimizer with its new state.

    Raises:
        TypeError: `optimizer` is not an optimizer of opax.
        ValueError: `grads` or `params` are not of the structure the optimizer was made for.

    Example:
        >>> import jax.numpy as jnp
        >>> import opax
        >>> params = jnp.array([1.0, 2.0])
        >>> optimizer = opax.sgd(0.5)(params)
        >>> updates, optimizer = opax.transform_gradients(jnp.ones(2), optimizer, params)
        >>> opax.apply_updates(params, updates)
        Array([0.5, 1.5], dtype=float32)
    """
    optimizer = _copied(optimizer)
    params = None if params is None else trainable(params)
    updates, optimizer.state = optimizer._transform(grads, params, extra_args)
    return updates, optimizer


def apply_gradients(
    model: T, optimizer: Optimizer, grads: Any, all_finite: Any = None, **extra_args: Any
) -> tuple[T, Optimizer]:
    """Make one step of an optimizer.

    Args:
        model: a module or any pytree; of modules only the parameters are updated.
        optimizer: an optimizer made for the parameters of `model`; it is not changed.
        grads: gradients of the parameters of `model`.
        all_finite: a bool, which may be traced, such as `jmp.all_finite(grads)`; where it is false,
            neither the parameters nor the optimizer change.
        **extra_args: what the transformation needs beyond these, such as `value=`.

    Returns:
        A copy of `model` with new parameters, and the optimizer with its new state.

    Raises:
        TypeError: `optimizer` is not an optimizer of opax.
        ValueError: `grads` or `model` are not of the structure the optimizer was made for.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import opax, pax_jax
        >>> net = pax_jax.Linear(2, 1)
        >>> optimizer = opax.sgd(0.5)(net.parameters())
        >>> grads = jax.tree.map(jnp.ones_like, net.parameters())
        >>> net, optimizer = opax.apply_gradients(net, optimizer, grads)
        >>> net.bias
        Array([-0.5], dtype=float32)
    """
    optimizer = _copied(optimizer)
    model = optimizer.step(grads, model, all_finite=all_finite, **extra_args)
    return model, optimizer


def _copied(optimizer: Any) -> Any:
    """Return a copy, free to be changed.

    Raises:
        TypeError: this is not an optimizer.
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            "Expected an optimizer such as `opax.adam(1e-3)(params)`, "
            f"got {optimizer!r} of type {type(optimizer).__name__}."
        )
    return optimizer.copy()
