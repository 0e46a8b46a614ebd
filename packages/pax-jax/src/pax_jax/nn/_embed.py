"""Vectors looked up by number."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pax_jax._module.module import Module
from pax_jax._module.trees import parameters_method
from pax_jax._rng import next_rng_key
from pax_jax._show.titles import title
from pax_jax.nn._explicit import product, rows
from pax_jax.nn._initialize import Initializer


class Embed(Module):
    """A trained vector for each integer from 0 to `vocab_size - 1`, as `haiku.Embed`.

    Args:
        vocab_size: number of vectors.
        embed_dim: their size.
        w_init: makes the weight `(vocab_size, embed_dim)` from a key, a shape and a dtype; a normal
            distribution truncated at two standard deviations by default.
        rng_key: key of the initializer; `next_rng_key()` by default.
        name: shown when the module is printed.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> embed = pax.Embed(10, 4)
        >>> embed, embed(jnp.array([[1, 2, 3]])).shape
        (Embed(vocab_size=10, embed_dim=4, weight=float32[10,4] rms 0...), (1, 3, 4))
    """

    parameters = parameters_method("weight")
    _shown = ("vocab_size", "embed_dim")

    weight: jax.Array

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int,
        w_init: Initializer | None = None,
        *,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.vocab_size = vocab_size
        self.embed_dim = embed_dim
        init = w_init or jax.nn.initializers.truncated_normal(1.0)
        key = next_rng_key() if rng_key is None else rng_key
        self.weight = init(key, (vocab_size, embed_dim), jnp.float32)

    def __call__(self, ids: jax.Array) -> jax.Array:
        """Look up integers `(...)` and return vectors `(..., embed_dim)`.

        As everywhere in JAX, negative numbers count from the end and larger ones than there are
        give the last vector. `TypeError` if `ids` are no integers.
        """
        if not jnp.issubdtype(ids.dtype, jnp.integer):
            raise TypeError(f"{title(self)} expects integers, got an array of {ids.dtype}.")
        return rows(self.weight, ids)

    def attend(self, x: jax.Array) -> jax.Array:
        """Return the products `(..., vocab_size)` of vectors `(..., embed_dim)` with all vectors.

        The logits of a language model whose output is tied to its embedding
        (https://arxiv.org/abs/1608.05859).
        """
        if x.ndim == 0 or x.shape[-1] != self.embed_dim:
            raise ValueError(f"{title(self)} attends to (..., {self.embed_dim}), got {x.shape}.")
        return product(x, self.weight.T)
