"""What the modules that come from other libraries have in common."""

from __future__ import annotations

from typing import Any

import jax

import pax_tree
from pax_jax._module.calls import phase
from pax_jax._module.compare import same_leaf
from pax_jax._module.module import Module
from pax_jax._module.trees import children_by_name, same_objects
from pax_jax._rng import next_rng_key

_INITIAL = 0x696E6974


class StaticTree:
    """A pytree of anything as one static value: compared by structure and by leaves.

    Static attributes are hashed and compared, which arrays and modules of other libraries do not
    always allow.
    """

    def __init__(self, value: Any) -> None:
        self.value = value
        self._leaves, self._structure = pax_tree.tree_flatten(value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StaticTree):
            return NotImplemented
        return self is other or (
            self._structure == other._structure and all(map(same_leaf, self._leaves, other._leaves))
        )

    def __hash__(self) -> int:
        return hash((StaticTree, self._structure))

    def __deepcopy__(self, memo: Any) -> StaticTree:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return StaticTree, (self.value,)


class Converted(Module):
    """A module whose computation is another library's.

    Its trained arrays are in `params`, the others in `state`, both as that library names them. The
    key from which it draws its first parameters and its random numbers is `rng_key`.
    """

    params: Any
    state: Any
    rng_key: jax.Array

    def __init__(self, rng_key: jax.Array | None, name: str | None = None) -> None:
        super().__init__(name=name)
        self.register_parameter_subtree("params", None)
        self.register_state_subtree("state", None)
        self.register_state("rng_key", next_rng_key() if rng_key is None else rng_key)

    def _initial_key(self) -> jax.Array:
        """Return the key of the first parameters, which is not that of any call."""
        return jax.random.fold_in(self.rng_key, _INITIAL)

    def _next_key(self) -> jax.Array:
        """Return a key; in training mode each call gets another one."""
        following, key = jax.random.split(self.rng_key)
        if self.training and not phase.initializing:
            self.rng_key = following
        return key

    def _tree(self, name: str) -> Any:
        """Return the pytree of an attribute in plain containers, which in no scope are read only.

        The other library gets it, and compares its structure with that of its own.
        """
        return children_by_name(self)[name]

    def _keep_state(self, state: Any) -> None:
        """Assign the state after a call, unless it is the one before it."""
        if not (phase.initializing or same_objects(self._tree("state"), state)):
            self.state = state
