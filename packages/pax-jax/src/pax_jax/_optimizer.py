"""The base class of optimizers."""

from __future__ import annotations

from pax_jax._module import StateModule


class Optimizer(StateModule):
    """A module that holds the state of an optimizer.

    A subclass is made for some parameters and defines `step(grads, model)`, which changes the
    optimizer and returns the updated model.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> class SGD(pax.Optimizer):
        ...     def __init__(self, params, learning_rate):
        ...         super().__init__()
        ...         self.learning_rate = learning_rate
        ...         self.register_state_subtree("sum", jax.tree.map(jnp.zeros_like, params))
        ...
        ...     def step(self, grads, model):
        ...         self.sum = jax.tree.map(jnp.add, self.sum, grads)
        ...         update = lambda p, s: p - self.learning_rate * s
        ...         return model.update(jax.tree.map(update, model.parameters(), self.sum))
        >>> net = pax.Linear(1, 1)
        >>> grads = jax.tree.map(jnp.ones_like, net.parameters())
        >>> SGD(net.parameters(), 0.5).step(grads, net).bias
        Array([-0.5], dtype=float32)
    """
