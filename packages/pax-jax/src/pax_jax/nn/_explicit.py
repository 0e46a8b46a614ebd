"""Products and look-ups of weights that lie on a mesh with explicit axes.

JAX asks there how a result lies wherever its rules do not say. It lies as the input does, and behind as the
weight does; weights that are divided over an axis of the batch (FSDP) are gathered first.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def explicit_mesh(*arrays: Any) -> Any:
    """Return the mesh with explicit axes that one of the arrays lies on, or None."""
    for array in arrays:
        mesh = getattr(getattr(jax.typeof(array), "sharding", None), "mesh", None)
        if mesh is not None and AxisType.Explicit in mesh.axis_types:
            return mesh
    return None


def gathered(weight: Any, x: Any, axes: int = 1) -> Any:
    """Return a weight that is divided over no mesh axis that the first axes of `x`, its batch, are.

    Args:
        weight: the weight.
        x: what it is used with.
        axes: how many last axes of `x` are no batch.
    """
    mesh = explicit_mesh(weight, x)
    if mesh is None:
        return weight
    used = {name for part in _spec(x)[: x.ndim - axes] for name in _names(part)}
    own = _spec(weight)
    kept = [tuple(name for name in _names(part) if name not in used) or None for part in own]
    if [_names(part) for part in kept] == [_names(part) for part in own]:
        return weight
    return jax.sharding.reshard(weight, NamedSharding(mesh, PartitionSpec(*kept)))


def product(x: Any, weight: Any, axes: int = 1) -> jax.Array:
    """Return `jnp.tensordot(x, weight, axes)`, which lies as the first axes of `x` and the last of `weight`."""
    mesh = explicit_mesh(x, weight)
    if mesh is None:
        plain = axes == 1 and weight.ndim == 2
        return jnp.dot(x, weight) if plain else jnp.tensordot(x, weight, axes)
    weight = gathered(weight, x, axes)
    spec = PartitionSpec(*_spec(x)[: x.ndim - axes], *_spec(weight)[axes:])
    return jnp.tensordot(x, weight, axes, out_sharding=NamedSharding(mesh, spec))


def rows(weight: Any, ids: Any) -> jax.Array:
    """Return `weight[ids]`, which lies as the integers do."""
    mesh = explicit_mesh(weight, ids)
    if mesh is None:
        return weight[ids]
    weight = gathered(weight, ids, 0)
    spec = PartitionSpec(*_spec(ids), *_spec(weight)[1:])
    return weight.at[ids].get(out_sharding=NamedSharding(mesh, spec))


def lying_as(array: Any, other: Any) -> Any:
    """Return an array of the shape of another, which lies as that does."""
    mesh = explicit_mesh(other)
    return array if mesh is None else jax.sharding.reshard(array, jax.typeof(other).sharding)


def _spec(array: Any) -> tuple[Any, ...]:
    spec = jax.typeof(array).sharding.spec
    return (*spec, *[None] * (array.ndim - len(spec)))


def _names(part: Any) -> tuple[str, ...]:
    return () if part is None else (part,) if isinstance(part, str) else tuple(part)
