"""The arrays of a module by the dotted path at which they stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

import pax_tree
from pax_tree import Record

T = TypeVar("T", bound="StateDictMethods")


class StateDictMethods(Record):
    """What `Module` has for taking its arrays out and putting others in."""

    def state_dict(self) -> dict[str, Any]:
        """Return every array, parameters and states, by its path.

        Returns:
            A flat dict from paths such as "modules.0.weight" to the arrays, in the order of the leaves.

        Raises:
            ValueError: two arrays have the same path, because a key of a dict has a dot in it.

        Example:
            >>> import pax_jax as pax
            >>> list(pax.Sequential(pax.Linear(1, 2)).state_dict())
            ['modules.0.weight', 'modules.0.bias']
        """
        pairs = [(dotted(path), leaf) for path, leaf in pax_tree.tree_leaves_with_path(self)]
        arrays = dict(pairs)
        if len(arrays) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(
                f"Two arrays of {type(self).__name__} have the path {twice!r}. "
                "Use keys without dots in dicts of arrays."
            )
        return arrays

    def load_state_dict(self: T, state_dict: Mapping[str, Any]) -> T:
        """Return a copy of this module with the arrays of a `state_dict`.

        Args:
            state_dict: an array (of JAX or of NumPy) for every path, of the shape and dtype of that in
                this module.

        Returns:
            A new module; this one stays as it is.

        Raises:
            ValueError: a path is missing or unknown, or an array has another shape or dtype; the message
                names every one.

        Example:
            >>> import pax_jax as pax
            >>> a, b = pax.Linear(1, 2), pax.Linear(1, 2)
            >>> b.load_state_dict(a.state_dict()) == a
            True
        """
        mine = self.state_dict()
        problems = _problems(mine, state_dict)
        if problems:
            raise ValueError(
                f"The state dict does not fit {type(self).__name__}:\n  " + "\n  ".join(problems)
            )
        leaves = [
            jnp.asarray(state_dict[name]) if isinstance(leaf, jax.Array) else state_dict[name]
            for name, leaf in mine.items()
        ]
        return pax_tree.tree_structure(self).unflatten(leaves)


def dotted(path: Any) -> str:
    """Return a key path with dots between names, indices and keys."""
    return ".".join(map(_part, path))


def _part(key: Any) -> str:
    for attribute in ("name", "idx", "key"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def _problems(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    missing = [f"{name} is missing" for name in mine if name not in theirs]
    unknown = [f"{name} is unknown" for name in theirs if name not in mine]
    other = [
        f"{name} is {_kind(theirs[name])}, expected {_kind(leaf)}"
        for name, leaf in mine.items()
        if name in theirs and _kind(theirs[name]) != _kind(leaf)
    ]
    return missing + unknown + other


def _kind(leaf: Any) -> str:
    if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
        return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
    return type(leaf).__name__
