"""Optimizers of optax as modules."""

from pax_jax._interop.optax import from_optax

__all__ = ["from_optax"]
