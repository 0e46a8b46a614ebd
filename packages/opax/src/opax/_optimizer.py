"""`Optimizer`, a module that holds optax's state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import jax
import jax.numpy as jnp
import optax

import pax_tree
from pax_jax import Optimizer as BaseOptimizer
from pax_jax import select_parameters, update_parameters

from ._promotion import usual_promotion
from ._structure import aligned, like

if TYPE_CHECKING:
    from ._transformation import Transformation

__all__ = ["Optimizer", "apply_updates"]

T = TypeVar("T")


class Optimizer(BaseOptimizer):
    """An optax transformation and its state for some parameters, as a module.

    Made by a transformation: `opax.adam(1e-3)(params)`. It passes through `jax.jit`, `jax.vmap` and
    `jax.lax.scan` like any module.

    Args:
      transformation: what makes updates from gradients.
      params: a module or any pytree of arrays; of modules only the parameters count.

    Attributes:
      transformation: static.
      state: optax's state; its arrays are never those of `params`, so both can be donated.

    Example:
      >>> import jax.numpy as jnp
      >>> import opax
      >>> params = {"w": jnp.array([1.0, 2.0])}
      >>> optimizer = opax.adam(0.5)(params)
      >>> params = optimizer.step({"w": jnp.zeros(2)}, params)
      >>> params["w"], optimizer[0].count
      (Array([1., 2.], dtype=float32), Array(1, dtype=int32))

    """

    _checks_sharing = False

    transformation: Transformation
    state: Any

    def __init__(self, transformation: Transformation, params: Any) -> None:
        super().__init__()
        params = select_parameters(params)
        self.transformation = transformation
        # Lookahead's parameters are two of each, and its gradients are of the first only.
        is_pair = isinstance(params, optax.LookaheadParams)
        self.structure = None if is_pair else pax_tree.tree_structure(params)
        with usual_promotion():
            state = transformation.tx.init(params)
        self.register_state_subtree("state", _unaliased(state, params))

    def step(self, grads: Any, model: T, **extra_args: Any) -> T:
        """Return the updated model, and change the state of this optimizer.

        Args:
          grads: gradients of the parameters of `model`.
          model: a module or any pytree.
          **extra_args: what the transformation needs beyond these, such as `value=`.

        Returns:
          A copy of `model` with new parameters.

        Raises:
          ValueError: `grads` or `model` are not of the structure the optimizer was made for.

        """
        params = select_parameters(model)
        updates, self.state = self._transform(grads, params, extra_args)
        return update_parameters(model, apply_updates(params, updates))

    def _transform(self, grads: Any, params: Any, extra_args: dict[str, Any]) -> tuple[Any, Any]:
        """Return the updates, in the structure of `grads`, and the new state."""
        update = self.transformation.tx.update
        with usual_promotion():
            if self.structure is None:
                return update(grads, self.state, params, **extra_args)
            inner_grads = aligned("gradients", grads, self.structure)
            params = aligned("parameters", params, self.structure)
            updates, state = update(inner_grads, self.state, params, **extra_args)
        measured = pax_tree.tree_structure(updates) != self.structure
        return updates if measured else like(grads, updates), state

    def __getitem__(self, index: int | slice) -> Any:
        """Return optax's state of one transformation of a chain, or of several."""
        if not isinstance(self.state, tuple) or hasattr(self.state, "_fields"):
            raise TypeError(
                f"{self!r} is not a chain: its state is one {type(self.state).__name__}, "
                "which is `optimizer.state`."
            )
        return self.state[index]

    def __repr__(self) -> str:
        return repr(self.transformation)


def apply_updates(params: T, updates: Any) -> T:
    """Add updates to parameters, keeping the parameters' dtypes; as `optax.apply_updates`.

    Args:
      params: parameters, a pytree of arrays.
      updates: a pytree with a leaf of the same shape for each of them.

    Returns:
      The new parameters.

    Example:
      >>> import jax.numpy as jnp
      >>> import opax
      >>> opax.apply_updates({"w": jnp.zeros(2)}, {"w": jnp.ones(2)})
      {'w': Array([1., 1.], dtype=float32)}

    """
    with usual_promotion():
        return optax.apply_updates(params, like(params, updates))  # type: ignore[arg-type]


def _unaliased(state: Any, params: Any) -> Any:
    """Copy the arrays of `state` that also stand in `params`, or twice in `state`."""
    seen = set(map(id, pax_tree.tree_leaves(params)))

    def once(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and id(leaf) in seen:
            return jnp.copy(leaf)
        seen.add(id(leaf))
        return leaf

    return jax.tree.map(once, state)
