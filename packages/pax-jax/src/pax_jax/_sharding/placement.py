"""Arrays moved to where they belong, in one process or several."""

from __future__ import annotations

import zlib
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding

import pax_tree
from pax_jax._module.scope import is_traced
from pax_jax._sharding.agreement import agree, processes_of
from pax_jax._sharding.arrays import names_of
from pax_jax._sharding.layout import shardings
from pax_jax._sharding.rules import Rules
from pax_jax._storage.keys import is_key

T = TypeVar("T")


def shard(
    tree: T,
    target: Any,
    rules: Rules = (),
    *,
    allow_unmatched: bool = False,
    strict: bool = False,
) -> T:
    """Return a tree with its arrays moved to where they belong, or, while tracing, held there.

    They lie on the mesh that was given, whether its axes are `Auto` or `Explicit`. In several processes
    all must give the same arrays, which is compared.

    Args:
        tree: a module, or any pytree; of `jax.ShapeDtypeStruct` too, such as `jax.eval_shape` returns.
        target: a mesh, or what `shardings` or `fsdp` returns.
        rules: as in `shardings`, with a mesh.
        allow_unmatched: as in `shardings`.
        strict: as in `shardings`.

    Returns:
        The tree; a `jax.ShapeDtypeStruct` has its sharding.

    Raises:
        ValueError: as in `shardings`; or there are rules, and the target has the specs already; or, in
            all processes, the arrays of one differ.
        RuntimeError: another process has ended, or does not call it.

    Example:
        >>> import jax
        >>> import pax_jax as pax
        >>> net = pax.sharding.shard(pax.Linear(2, 3), jax.make_mesh((1,), ("data",)))
        >>> net.weight.sharding.spec
        P()
    """
    if isinstance(target, Mesh):
        options = {"allow_unmatched": allow_unmatched, "strict": strict}
        wanted = shardings(tree, target, rules, **options)
    elif rules:
        raise ValueError(
            "shard was given rules and shardings, which leave nothing to the rules: give the rules to "
            "`shardings` or `fsdp`, or give a mesh."
        )
    else:
        wanted = target
    if any(map(is_traced, pax_tree.tree_leaves(tree))):
        return jax.tree.map(_held, tree, wanted)
    _agree_about(tree, wanted)
    return jax.tree.map(_moved, tree, wanted)


def _held(leaf: Any, sharding: Any) -> Any:
    explicit = AxisType.Explicit in getattr(sharding.mesh, "axis_types", ())
    hold = jax.sharding.reshard if explicit else jax.lax.with_sharding_constraint
    return hold(leaf, sharding)


def _moved(leaf: Any, sharding: NamedSharding) -> Any:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
    if is_key(leaf):
        # Typed keys go to the devices of other processes only as their numbers.
        data = _moved(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    if _is_local(leaf) and not sharding.is_fully_addressable:
        values = np.asarray(leaf)
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])
    return jax.device_put(leaf, sharding)


def _is_local(leaf: Any) -> bool:
    """Whether this process has all of an array that is not spread over processes yet."""
    return not isinstance(leaf, jax.Array) or leaf.is_fully_addressable


def _agree_about(tree: Any, wanted: Any) -> None:
    """Compare the arrays that several processes make one of."""
    places = pax_tree.tree_leaves(wanted)
    meshes: list[Any] = [place.mesh for place in places if isinstance(place, NamedSharding)]
    if (
        jax.process_count() == 1
        or not meshes
        or all(place.is_fully_addressable for place in places)
    ):
        return
    names, leaves = names_of(tree), pax_tree.tree_leaves(tree)
    own = {
        name or "the root": f"{_contents(leaf)} over {place.spec}"
        for name, leaf, place in zip(names, leaves, places, strict=True)
    }
    remedy = " Make them from the same random keys and the same files in all processes."
    agree("shard", own, processes_of(meshes[0].devices.flat), remedy=remedy)


def _contents(leaf: Any) -> str:
    kind = f"{jax.numpy.result_type(leaf)}{list(np.shape(leaf))}"
    if isinstance(leaf, jax.ShapeDtypeStruct) or not _is_local(leaf):
        return kind
    values = np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
    return f"{kind} with the checksum {checksum(values):08x}"


def checksum(values: np.ndarray) -> int:
    """Return a number that tells other values apart."""
    return zlib.crc32(np.ascontiguousarray(values).view(np.uint8).reshape(-1).data)
