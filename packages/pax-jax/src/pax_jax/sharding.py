"""Modules whose arrays are spread over the devices of a mesh, by rules about their paths.

The mesh is JAX's, and so is what runs on it: `jax.jit` of a step whose arguments are sharded by
these functions is data parallel, fully sharded (FSDP) or tensor parallel, or all of them at once.
Every axis of the mesh is taken as `jax.sharding.AxisType.Auto`: the compiler finds out how what is
computed in between is spread.
"""

from pax_jax._sharding import Rules, fsdp, shard, shard_batch, shardings, transformer_rules

__all__ = ["Rules", "fsdp", "shard", "shard_batch", "shardings", "transformer_rules"]
