"""Modules as one list of leaves."""

from __future__ import annotations

from typing import Any

import pax_tree
from pax_tree import record_flatten, record_set

from .._kinds import STATE
from .._module import Module
from .._register import checked_name

__all__ = ["Flattener"]


class Flattener(Module):
    """Modules kept as a tuple of leaves, which costs a call of a jitted function least.

    Reading an attribute puts a module together anew; changes of it are kept by `update`.

    Args:
      **kwargs: modules, or any pytrees, by name.

    Raises:
      AttributeError: a name is that of a method of every module.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import pax_jax as pax
      >>> @jax.jit
      ... def step(flat, x):
      ...     net = flat.net
      ...     y = net(x)
      ...     return flat.update(net=net), y
      >>> flat = pax.experimental.Flattener(net=pax.BatchNorm1D(1))
      >>> flat, y = step(flat, jnp.ones((4, 1)))
      >>> flat.net.ema_mean
      Array([1.], dtype=float32)

    """

    _checks_sharing = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        flat = [(checked_name(self, name), *pax_tree.tree_flatten(kwargs[name])) for name in kwargs]
        self._structures = tuple((name, structure) for name, _, structure in flat)
        leaves = tuple(leaf for _, leaves, _ in flat for leaf in leaves)
        record_set(self, "_leaves", leaves, STATE)

    def __getattr__(self, name: str) -> Any:
        """Put together what was given by this name."""
        start = 0
        (leaves, *_), spec = record_flatten(self)
        for known, structure in spec.statics.get("_structures", ()):
            stop = start + structure.num_leaves
            if known == name:
                return structure.unflatten(leaves[start:stop])
            start = stop
        raise AttributeError(f"{self!r} has no attribute {name!r}.")

    def update(self, **kwargs: Any) -> Flattener:  # type: ignore[override]
        """Return a flattener with other modules by these names, old or new.

        Example:
          >>> import pax_jax as pax
          >>> flat = pax.experimental.Flattener(net=pax.Linear(3, 3))
          >>> flat.update(net=pax.Linear(4, 4)).net
          Linear(in_dim=4, out_dim=4, with_bias=True)

        """
        kept = {name: getattr(self, name) for name, _ in self._structures if name not in kwargs}
        return Flattener(**kept, **kwargs)

    def parameters(self) -> Any:
        """Raise `ValueError`: a list of leaves does not know which are parameters.

        Raises:
          ValueError: always; it says to take the module out first.

        """
        raise ValueError(
            f"{self!r} has no parameters of its own. Take the module out of it first: "
            "`flattener.model.parameters()`."
        )

    def __repr__(self) -> str:
        return f"Flattener({', '.join(name for name, _ in self._structures)})"
