"""Modules whose arrays are spread over the devices of a mesh, by rules about their paths.

The mesh is JAX's, and so is what runs on it: `jax.jit` of a step whose arguments are sharded by
these functions is data parallel, fully sharded (FSDP) or tensor parallel, or all of them at once.
Arrays lie on the mesh that was given. Where its axes are `jax.sharding.AxisType.Auto`, the compiler finds
out how what is computed in between is spread; where they are `Explicit`, as `jax.make_mesh` makes them,
JAX does by its rules, and asks where these do not say: `jax.sharding.auto_axes(step)` leaves that to
the compiler.
"""

from pax_jax._sharding.batch import shard_batch
from pax_jax._sharding.layout import fsdp, shardings, transformer_rules
from pax_jax._sharding.placement import shard
from pax_jax._sharding.report import Report, report
from pax_jax._sharding.rules import Rules

__all__ = [
    "Report",
    "Rules",
    "fsdp",
    "report",
    "shard",
    "shard_batch",
    "shardings",
    "transformer_rules",
]
