"""Modules whose arrays are spread over the devices of a mesh; `pax_jax.sharding` has the public names."""
