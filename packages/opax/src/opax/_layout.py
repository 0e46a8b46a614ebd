"""Where the leaves of a tree stand in vectors, one for each dtype and each way of being spread."""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import pax_tree


@pax_tree.register_static
class Layout:
    """How each leaf is spread over the devices: by the names of mesh axes for each of its axes.

    That of no leaves, as `optax.tree.map_params` makes it, is equal to every other.

    Args:
        spreads: for each leaf the names of mesh axes for each of its axes; None for a whole one.
        mesh: the devices.
    """

    def __init__(self, spreads: tuple[Any, ...], mesh: Any) -> None:
        self.spreads, self.mesh = spreads, mesh

    @classmethod
    def of(cls, tree: Any) -> Layout:
        """Return the layout of the leaves of a tree, as far as they say how they are spread."""
        found = [_sharding(leaf) for leaf in jax.tree.leaves(tree)]
        meshes = [sharding.mesh for sharding in found if sharding is not None]
        pairs = zip(jax.tree.leaves(tree), found, strict=True)
        return cls(tuple(_spread(leaf, x) for leaf, x in pairs), meshes[0] if meshes else None)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layout):
            return NotImplemented
        if not self.spreads or not other.spreads:
            return True
        return (self.spreads, self.mesh) == (other.spreads, other.mesh)

    def __hash__(self) -> int:
        return hash(Layout)

    def vectors(self, tree: Any) -> dict[str, Any]:
        """Return the leaves in one vector for each dtype, or one matrix for each way of being spread."""
        leaves = jax.tree.leaves(tree)
        return {
            name: self._joined([self._flat(leaves[i], i) for i in places], places[0])
            for name, places in self._groups(leaves).items()
        }

    def split(self, vectors: dict[str, Any], tree: Any) -> Any:
        """Return the elements of vectors in the shapes of a tree."""
        leaves, structure = jax.tree.flatten(tree)
        for name, places in self._groups(leaves).items():
            whole = vectors[name]
            rows = 1 if whole.ndim == 1 else whole.shape[0]
            sizes = [math.prod(jnp.shape(leaves[i])) // rows for i in places]
            parts = jnp.split(whole, list(itertools.accumulate(sizes))[:-1], axis=-1)
            for i, part in zip(places, parts, strict=True):
                leaves[i] = self._shaped(part, i, jnp.shape(leaves[i]))
        return jax.tree.unflatten(structure, leaves)

    def placed(self, state: Any) -> Any:
        """Return a state with the matrices in it spread as those of the leaves."""
        if self.mesh is None or self._is_explicit:
            return state
        names = {_key(spread): spread for spread in self.spreads if spread is not None}

        def place(path: Any, leaf: Any) -> Any:
            held = [str(getattr(key, "key", "")).partition(" over ")[2] for key in path]
            spread = next((names[x] for x in held if x in names), None)
            return (
                leaf if spread is None or jnp.ndim(leaf) != 2 else self._constrained(leaf, spread)
            )

        return jax.tree_util.tree_map_with_path(place, state)

    @property
    def _is_explicit(self) -> bool:
        return AxisType.Explicit in getattr(self.mesh, "axis_types", ())

    def _groups(self, leaves: list[Any]) -> dict[str, list[int]]:
        groups: dict[str, list[int]] = {}
        for i, leaf in enumerate(leaves):
            name, spread = jnp.result_type(leaf).name, self.spreads[i]
            name = name if spread is None else f"{name} over {_key(spread)}"
            groups.setdefault(name, []).append(i)
        return groups

    def _joined(self, parts: list[Any], place: int) -> Any:
        whole = jnp.concatenate(parts, axis=-1)
        spread = self.spreads[place]
        return whole if spread is None else self._constrained(whole, spread)

    def _constrained(self, matrix: Any, spread: Any) -> Any:
        """Return a matrix whose rows are spread; with explicit axes they are already."""
        if self._is_explicit:
            return matrix
        sharding = NamedSharding(self.mesh, PartitionSpec(_names(spread), None))
        return jax.lax.with_sharding_constraint(matrix, sharding)

    def _flat(self, leaf: Any, place: int) -> Any:
        """Return a leaf as a vector, or as a matrix with one row for each part of it."""
        spread = self.spreads[place]
        if spread is None:
            return jnp.ravel(leaf)
        leaf = jnp.asarray(leaf)
        if self._is_explicit:
            leaf = jax.sharding.reshard(leaf, PartitionSpec(*spread))
        parts = self._parts(spread)
        cut = [n for size, k in zip(leaf.shape, parts, strict=True) for n in (k, size // k)]
        leaf = self._reshaped(leaf, cut, [axis for names in spread for axis in (names, None)])
        leaf = jnp.transpose(leaf, [*range(0, 2 * len(parts), 2), *range(1, 2 * len(parts), 2)])
        rows = math.prod(parts)
        return self._reshaped(leaf, (rows, leaf.size // rows), [_names(spread), None])

    def _shaped(self, part: Any, place: int, shape: tuple[int, ...]) -> Any:
        """Return the leaf that `_flat` made a vector or a matrix of."""
        spread = self.spreads[place]
        if spread is None:
            return jnp.reshape(part, shape)
        parts, count = self._parts(spread), len(shape)
        rest = [size // k for size, k in zip(shape, parts, strict=True)]
        part = self._reshaped(part, [*parts, *rest], [*spread, *[None] * count])
        part = jnp.transpose(part, [j for i in range(count) for j in (i, count + i)])
        return self._reshaped(part, shape, spread)

    def _parts(self, spread: Any) -> list[int]:
        shape = self.mesh.shape
        return [math.prod(shape[name] for name in names or ()) for names in spread]

    def _reshaped(self, x: Any, shape: Any, spec: Any) -> Any:
        out = PartitionSpec(*spec) if self._is_explicit else None
        return jax.lax.reshape(x, tuple(shape), out_sharding=out)


def _sharding(leaf: Any) -> Any:
    known = isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer)
    sharding = leaf.sharding if known else getattr(jax.typeof(leaf), "sharding", None)
    is_spread = isinstance(sharding, NamedSharding) and any(x is not None for x in sharding.spec)
    return sharding if is_spread else None


def _spread(leaf: Any, sharding: Any) -> Any:
    """Return the names of mesh axes for each axis of a leaf; None for one that is not spread."""
    if sharding is None:
        return None
    spec = [*sharding.spec, *[None] * (jnp.ndim(leaf) - len(sharding.spec))]
    return tuple((x,) if isinstance(x, str) else x and tuple(x) for x in spec)


def _names(spread: Any) -> tuple[str, ...]:
    return tuple(name for names in spread for name in names or ())


def _key(spread: Any) -> str:
    return ", ".join(_names(spread))
