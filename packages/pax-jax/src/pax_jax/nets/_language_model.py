"""A decoder-only language model."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pax_jax._module.module import Module
from pax_jax._rng import split_key
from pax_jax.nets._transformer import Transformer
from pax_jax.nn import Dropout, Embed, KeyValueCache


class LanguageModel(Module):
    """A causal `Transformer` with rotary positions over tokens, its output tied to its embedding.

    Args:
        vocab_size: number of tokens.
        dim: size of the vectors.
        num_heads: number of heads of each layer; it divides `dim`.
        num_layers: number of layers.
        dropout_rate: as in `Transformer`, and of the embedded tokens.
        num_kv_heads: as in `MultiHeadAttention`.
        widening_factor: as in `Transformer`.
        rotary_base: as in `rotary_embedding`.
        rng_key: key of weights and dropout; `next_rng_key()` by default.
        name: shown when the module is printed.

    Raises:
        ValueError: `num_heads` does not divide `dim`, or `num_kv_heads` not `num_heads`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> def write(key, prompt):
        ...     net = pax.nets.LanguageModel(16, dim=8, num_heads=2, num_layers=1, rng_key=key)
        ...     return net(prompt), net.generate(prompt, num_tokens=2)
        >>> logits, tokens = jax.eval_shape(write, jax.random.key(0), jnp.array([[3, 1, 4]]))
        >>> logits.shape, tokens.shape
        ((1, 3, 16), (1, 2))
    """

    _shown = ("vocab_size", "dim", "num_heads", "num_layers", "dropout_rate")

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        num_heads: int,
        num_layers: int,
        dropout_rate: float = 0.0,
        *,
        num_kv_heads: int | None = None,
        widening_factor: int = 4,
        rotary_base: float = 10_000.0,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.vocab_size = vocab_size
        self.dim = dim
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.dropout_rate = dropout_rate
        keys = split_key(rng_key, 3)
        init = jax.nn.initializers.normal(dim**-0.5)
        self.embed = Embed(vocab_size, dim, init, rng_key=keys[0])
        self.dropout = Dropout(dropout_rate, rng_key=keys[1])
        self.transformer = Transformer(
            dim,
            num_heads,
            num_layers,
            dropout_rate,
            widening_factor=widening_factor,
            num_kv_heads=num_kv_heads,
            rotary_base=rotary_base,
            rng_key=keys[2],
        )

    def __call__(self, tokens: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """Map tokens to the logits of the token after each of them.

        Args:
            tokens: integers `(..., length)`.
            mask: booleans `(..., length)`, `False` at padding.

        Returns:
            `(..., length, vocab_size)`.
        """
        return self.embed.attend(self.transformer(self.dropout(self.embed(tokens)), mask))

    def decode(
        self, caches: list[KeyValueCache], tokens: jax.Array
    ) -> tuple[list[KeyValueCache], jax.Array]:
        """Map the next tokens `(..., new)` of sequences whose start the caches hold.

        Returns:
            The caches with these tokens, and the logits `(..., new, vocab_size)`: those of
            `self(whole_sequence)` at these positions.
        """
        caches, y = self.transformer.decode(caches, self.dropout(self.embed(tokens)))
        return caches, self.embed.attend(y)

    def initial_cache(
        self, batch_size: int | None, length: int, dtype: Any = None
    ) -> list[KeyValueCache]:
        """Return an empty cache for each layer, as `MultiHeadAttention.initial_cache`."""
        return self.transformer.initial_cache(batch_size, length, dtype)

    def generate(
        self,
        prompt: jax.Array,
        num_tokens: int,
        *,
        temperature: float = 1.0,
        rng_key: jax.Array | None = None,
    ) -> jax.Array:
        """Continue sequences, token by token, in evaluation mode.

        Args:
            prompt: integers `(n, length)`, of at least one token.
            num_tokens: how many tokens to add, at least one.
            temperature: the logits are divided by it.
            rng_key: key to sample with; without one the likeliest token is taken.

        Returns:
            The new tokens, int32 `(n, num_tokens)`.

        Raises:
            ValueError: there is nothing to begin with or nothing to add.
        """
        if prompt.ndim != 2 or prompt.shape[1] < 1 or num_tokens < 1:
            raise ValueError(
                f"generate expects a prompt (n, length) and tokens to add, "
                f"got {prompt.shape} and num_tokens={num_tokens}."
            )
        net = self.eval()
        keys = None if rng_key is None else jax.random.split(rng_key, num_tokens)
        caches = net.initial_cache(prompt.shape[0], prompt.shape[1] + num_tokens - 1)
        caches, logits = net.decode(caches, prompt)
        first = _choose(logits[:, -1], temperature, None if keys is None else keys[0])

        def step(carry: Any, key: Any) -> Any:
            caches, token = carry
            caches, logits = net.decode(caches, token[:, None])
            token = _choose(logits[:, 0], temperature, key)
            return (caches, token), token

        rest_keys = None if keys is None else keys[1:]
        _, rest = jax.lax.scan(step, (caches, first), rest_keys, length=num_tokens - 1)
        return jnp.concatenate([first[:, None], rest.T], axis=1)


def _choose(logits: jax.Array, temperature: float, key: jax.Array | None) -> jax.Array:
    if key is None:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    return jax.random.categorical(key, logits / temperature).astype(jnp.int32)
