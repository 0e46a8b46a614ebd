"""A training step made from a loss function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from pax_jax._grad import grad
from pax_jax._kinds import is_module
from pax_jax._pure import pure


def build_update_fn(loss_fn: Callable[..., Any], *, scan_mode: bool = False) -> Callable[..., Any]:
    """Make a function that takes one step of an optimizer down the gradient of a loss.

    Args:
        loss_fn: from a model and a batch to `(loss, (aux, model))`, with the changed model.
        scan_mode: whether the function takes and returns `(model, optimizer)` as one argument, as
            `jax.lax.scan` and `pax_jax.scan` want it.

    Returns:
        `update(model, optimizer, *inputs) -> (model, optimizer, aux)`, or with `scan_mode`
        `update((model, optimizer), *inputs) -> ((model, optimizer), aux)`. Its arguments stay as they are.
        An optimizer is a module with `step(grads, model)`, such as those of opax.

    Raises:
        TypeError: at a call, the model or the optimizer is no module.
        ValueError: at a call, `loss_fn` does not return `(loss, (aux, model))`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> class Descent(pax.Optimizer):
        ...     def step(self, grads, model):
        ...         return model | jax.tree.map(lambda p, g: p - 0.1 * g, ~model, grads)
        >>> def loss_fn(model, x, y):
        ...     loss = jnp.mean((model(x) - y) ** 2)
        ...     return loss, (loss, model)
        >>> update = jax.jit(pax.build_update_fn(loss_fn))
        >>> net, optimizer = pax.Linear(1, 1), Descent()
        >>> for _ in range(200):
        ...     net, optimizer, loss = update(net, optimizer, jnp.ones((4, 1)), jnp.ones((4, 1)))
        >>> bool(loss < 1e-6)
        True
    """
    gradients = grad(loss_fn, has_aux=True)

    @pure
    def update(model: Any, optimizer: Any, *inputs: Any, **kwinputs: Any) -> tuple[Any, Any, Any]:
        _check_modules(model, optimizer)
        grads, results = gradients(model, *inputs, **kwinputs)
        aux, changed = _checked_results(results, model)
        changed = optimizer.step(grads, changed)
        return changed, optimizer, aux

    def update_pair(pair: tuple[Any, Any], *inputs: Any, **kwinputs: Any) -> tuple[Any, Any]:
        model, optimizer, aux = update(*pair, *inputs, **kwinputs)
        return (model, optimizer), aux

    return update_pair if scan_mode else update


def _check_modules(model: Any, optimizer: Any) -> None:
    if not is_module(model):
        raise TypeError(f"update expects a module as model, got {type(model).__name__}.")
    if not (is_module(optimizer) and hasattr(optimizer, "step")):
        raise TypeError(
            "update expects an optimizer that is a module with `step(grads, model)`, such as "
            f"`opax.adam(1e-3)(model.parameters())`, got {type(optimizer).__name__}."
        )


def _checked_results(results: Any, model: Any) -> tuple[Any, Any]:
    if isinstance(results, tuple) and len(results) == 2:
        aux, changed = results
        if jax.tree.structure(changed) == jax.tree.structure(model):
            return aux, changed
    raise ValueError(
        "build_update_fn expects a loss function that returns (loss, (aux, model)) with the model it "
        f"was given, changed or not; the second part was {jax.tree.structure(results)}."
    )
