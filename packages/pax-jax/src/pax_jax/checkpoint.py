"""Checkpoints, by orbax: written in the background, sharded, and whole or not at all."""

from pax_jax._checkpoint import Checkpoints, load, load_partial, save

__all__ = ["Checkpoints", "load", "load_partial", "save"]
