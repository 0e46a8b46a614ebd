"""Linear maps to and from the heads of attention."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pax_jax.nn._linear import Linear


class ToHeads(Linear):
    """A `Linear` whose output `(..., heads * size)` is given as `(..., heads, size)`.

    The product is written with the heads apart: XLA then multiplies without turning the weights.
    """

    def __init__(self, in_dim: int, heads: int, size: int, **options: Any) -> None:
        super().__init__(in_dim, heads * size, **options)
        self.heads = heads

    def __call__(self, x: jax.Array) -> jax.Array:
        self._check(x)
        y = jnp.tensordot(x, self.weight.reshape(self.in_dim, self.heads, -1), 1)
        if self.bias is None:
            return y
        return y + jnp.broadcast_to(self.bias.reshape(self.heads, -1), y.shape)


class FromHeads(Linear):
    """A `Linear` whose input `(..., heads * size)` is given as `(..., heads, size)`."""

    def __call__(self, x: jax.Array) -> jax.Array:
        y = jnp.tensordot(x, self.weight.reshape(*x.shape[-2:], self.out_dim), 2)
        return y if self.bias is None else y + jnp.broadcast_to(self.bias, y.shape)
