"""A batch of which each process has loaded its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import pax_tree
from pax_jax._sharding.agreement import SECONDS, agree
from pax_jax._sharding.arrays import names_of
from pax_jax._sharding.placement import checksum
from pax_jax._sharding.rules import axis_names, check_axes, devices

T = TypeVar("T")


def shard_batch(
    batch: T, mesh: Mesh, axis: str | tuple[str, ...] = "data", *, timeout: float = SECONDS
) -> T:
    """Return a batch with its first axis spread over a mesh axis, or over several.

    In several processes each gives the rows of its own devices. Processes whose devices have the same
    rows, as those of a mesh axis for tensor parallelism, give the same. All compare what they give.

    Args:
        batch: a pytree of arrays; with several processes, the part that this process has loaded.
        mesh: the devices, of all processes.
        axis: the mesh axis.
        timeout: how many seconds to wait for the other processes.

    Raises:
        ValueError: the mesh has no such axis, or does not divide the rows; or, in all processes, the
            parts do not fit together: other leaves, shapes or dtypes, or other values where processes
            have the same rows.
        RuntimeError: another process has ended, or does not call it in time.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> mesh = jax.make_mesh((1,), ("data",))
        >>> pax.sharding.shard_batch(jnp.ones((4, 2)), mesh).sharding.spec
        P('data',)
    """
    check_axes("axis", PartitionSpec(axis), mesh)
    sharding, count = NamedSharding(mesh, PartitionSpec(axis)), devices(axis, mesh)
    parts = _parts_of_processes(mesh, axis)
    own = parts.get(jax.process_index(), frozenset())
    leaves, structure = pax_tree.tree_flatten(batch)
    values = [leaf if _is_global(leaf) else np.asarray(leaf) for leaf in leaves]
    names = [f"batch.{name}" if name else "the batch" for name in names_of(batch)]
    errors = [_error(name, x, len(own), axis) for name, x in zip(names, values, strict=True)]
    _agree(names, values, errors, parts, timeout)
    if any(errors):
        raise ValueError(next(filter(None, errors)))
    made = [
        jax.device_put(x, sharding)
        if _is_global(x)
        else jax.make_array_from_process_local_data(
            sharding, x, (len(x) // len(own) * count, *x.shape[1:])
        )
        for x in values
    ]
    return structure.unflatten(made)


def _is_global(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and not leaf.is_fully_addressable


def _parts_of_processes(mesh: Mesh, axis: Any) -> dict[int, frozenset[int]]:
    """Return which of the parts along the mesh axis the devices of each process have."""
    order = [mesh.axis_names.index(name) for name in axis_names(axis)]
    found: dict[int, set[int]] = {}
    for index, device in np.ndenumerate(mesh.devices):
        sizes = [mesh.devices.shape[i] for i in order]
        part = int(np.ravel_multi_index([index[i] for i in order], sizes)) if order else 0
        found.setdefault(device.process_index, set()).add(part)
    return {process: frozenset(parts) for process, parts in found.items()}


def _error(name: str, values: Any, parts: int, axis: Any) -> str:
    """Say why the rows of this process cannot be spread, or ""."""
    if not parts:
        return "This process has no device of the mesh, so that it has no part of a batch."
    if not np.ndim(values):
        return (
            f"{name} is a number, and a batch has an axis of rows: give it to the step by itself."
        )
    if _is_global(values) or len(values) % parts == 0:
        return ""
    return (
        f"{name} has {len(values)} rows in process {jax.process_index()}, which do not divide over the "
        f"{parts} parts that it has along {axis!r}: fill the batch up with rows that weigh nothing in the "
        "loss, or leave the last one out."
    )


def _agree(
    names: Sequence[str],
    values: Sequence[Any],
    errors: Sequence[str],
    parts: dict[int, frozenset[int]],
    timeout: float,
) -> None:
    processes, here = sorted(parts), jax.process_index()
    if len(processes) < 2 or here not in parts:
        return
    told = {}
    for name, x, error in zip(names, values, errors, strict=True):
        rows = f"{np.shape(x)[0] // len(parts[here])} rows for each part of" if not error else ""
        told[name] = f"error: {error}" if error else f"{rows} {x.dtype}{list(x.shape[1:])}"
    agree("shard_batch", told, processes, timeout)
    same = [process for process in processes if parts[process] == parts[here]]
    if any(parts[here] & parts[p] and parts[p] != parts[here] for p in processes):
        raise ValueError(
            "shard_batch takes the rows of each process from that, and some processes of this mesh have "
            "only some rows in common; order the devices of the mesh by process."
        )
    if len(same) > 1:
        sums = {
            name: f"rows with the checksum {checksum(x):08x}"
            for name, x in zip(names, values, strict=True)
            if not _is_global(x)
        }
        remedy = (
            " Their devices have the same rows, since the mesh axis of the batch does not go over these "
            "processes: give all of them the same rows, or make a mesh whose axis goes over them."
        )
        agree("shard_batch", sums, same, timeout, remedy)
