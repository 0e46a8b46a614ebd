"""Optimizers in `flax.serialization`, which has a list of the classes that it can write."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from pax_jax._storage.keys import loaded_leaf, stored_leaf


def register_with_flax(cls: type) -> None:
    """Let Flax write and read optimizers of a class, from when Flax is imported."""
    serialization: Any = sys.modules.get("flax.serialization")
    register = getattr(serialization, "register_serialization_state", None)
    if register is not None:
        register(cls, _to_state_dict, _from_state_dict, override=True)


def _to_state_dict(optimizer: Any) -> dict[str, Any]:
    return {path: stored_leaf(leaf) for path, leaf in optimizer.state_dict().items()}


def _from_state_dict(optimizer: Any, state: Mapping[str, Any]) -> Any:
    mine = optimizer.state_dict()
    return optimizer.load_state_dict(
        {path: loaded_leaf(mine.get(path, x), x) for path, x in state.items()}
    )
