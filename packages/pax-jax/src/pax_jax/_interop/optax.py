"""Optimizers of optax as modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

import pax_tree
from pax_jax._extras import extra
from pax_jax._module.module import Module, Optimizer
from pax_jax._module.resuming import dotted
from pax_jax._module.trees import children_by_name


class OptaxOptimizer(Optimizer):
    """An optimizer of optax and its state; `from_optax` makes it."""

    state: Any

    def __init__(self, transformation: Any, params: Any) -> None:
        super().__init__()
        self.transformation = transformation
        # The parameters by name, with their shapes, for rules about how state is spread.
        leaves = pax_tree.tree_leaves_with_path(params)
        self.made_for = tuple((dotted(path), jnp.shape(leaf)) for path, leaf in leaves)
        self.register_state_subtree("state", transformation.init(params))

    def step(self, grads: Any, model: Any, **extra_args: Any) -> Any:
        """Return `model` after one step, and keep the new state of the optimizer.

        Args:
            grads: as `model.parameters()`.
            model: a module.
            **extra_args: what the optimizer takes beyond these, such as `value=` the loss.
        """
        optax = extra("optax", "pax_jax.optim.from_optax")
        params = model.parameters()
        update = optax.with_extra_args_support(self.transformation).update
        state = children_by_name(self)["state"]  # in plain containers in each scope
        updates, self.state = update(grads, state, params, **extra_args)
        return model.update(optax.apply_updates(params, updates))


def from_optax(transformation: Any) -> Callable[[Module], OptaxOptimizer]:
    """Make a stateful optimizer of one of optax.

    Args:
        transformation: an `optax.GradientTransformation`, such as `optax.adam(1e-3)`.

    Returns:
        A function of the parameters that makes the optimizer, which has `step(grads, model)`.

    Raises:
        ImportError: optax is not installed.
        TypeError: `transformation` is not one of optax.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> import pax_jax as pax
        >>> net = pax.Linear(1, 1)
        >>> optimizer = pax.optim.from_optax(optax.sgd(0.5))(net.parameters())
        >>> grads = jax.tree.map(jnp.ones_like, net.parameters())
        >>> optimizer.step(grads, net).bias
        Array([-0.5], dtype=float32)
    """
    extra("optax", "pax_jax.optim.from_optax")
    if not (callable(getattr(transformation, "init", None)) and hasattr(transformation, "update")):
        raise TypeError(
            "from_optax expects an optax.GradientTransformation, such as `optax.adam(1e-3)`, "
            f"got {transformation!r} of type {type(transformation).__name__}."
        )
    return lambda params: OptaxOptimizer(transformation, params)
