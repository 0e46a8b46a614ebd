"""Checksums of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import pax_tree


def fingerprints(tree: Any) -> jax.Array:
    """Return a checksum of the bits of every leaf, of shape `(leaves,)` and dtype uint32."""
    return per_leaf(_fingerprint, tree)


def per_leaf(function: Callable[[Any], Any], tree: Any) -> jax.Array:
    """Return the results of a function of every leaf in one vector."""
    return jnp.stack([function(jnp.asarray(leaf)) for leaf in pax_tree.tree_leaves(tree)])


def _fingerprint(leaf: jax.Array) -> jax.Array:
    """Sum the words of an array, each times an odd number of its own, modulo 2^32."""
    if jnp.iscomplexobj(leaf):
        leaf = jnp.stack([leaf.real, leaf.imag])
    word = {1: jnp.uint8, 2: jnp.uint16}.get(leaf.dtype.itemsize, jnp.uint32)
    bits = jax.lax.bitcast_convert_type(leaf, word).astype(jnp.uint32).ravel()
    weights = jax.lax.iota(jnp.uint32, bits.size) * jnp.uint32(0x9E3779B2) + jnp.uint32(0x85EBCA6B)
    return jnp.sum(bits * weights, dtype=jnp.uint32)
