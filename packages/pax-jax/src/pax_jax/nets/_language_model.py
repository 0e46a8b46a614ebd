"""A decoder-only language model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pax_jax._module.module import Module
from pax_jax._module.scope import is_traced
from pax_jax._rng import split_key
from pax_jax._show.titles import title
from pax_jax.nets._transformer import Transformer
from pax_jax.nn import Dropout, Embed
from pax_jax.nn._norm import precise


class LanguageModel(Module):
    """A causal `Transformer` over tokens, its output tied to its embedding.

    Positions are rotary, or with `max_length` learned vectors that are added to the embedded tokens: a
    GPT-2 then.

    Args:
        vocab_size: number of tokens.
        dim: size of the vectors.
        num_heads: number of heads of each layer; it divides `dim`.
        num_layers: number of layers.
        dropout_rate: as in `Transformer`, and of the embedded tokens.
        num_kv_heads: as in `MultiHeadAttention`.
        widening_factor: as in `Transformer`.
        rotary_base: as in `rotary_embedding`; 10,000 by default, without `max_length`.
        max_length: the number of learned positions; the longest sequence.
        activation: as in `TransformerBlock`.
        norm_eps: as in `Transformer`.
        scan: as in `Transformer`.
        remat: as in `Transformer`.
        rng_key: key of weights and dropout; `next_rng_key()` by default.
        name: shown when the module is printed.

    Raises:
        ValueError: `num_heads` does not divide `dim`, or `num_kv_heads` not `num_heads`; or both
            `rotary_base` and `max_length` are given.

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
        rotary_base: float | None = None,
        max_length: int | None = None,
        activation: Callable[[jax.Array], jax.Array] = jax.nn.gelu,
        norm_eps: float = 1e-5,
        scan: bool = False,
        remat: bool | Callable[..., bool] = False,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.vocab_size = vocab_size
        self.dim = dim
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.dropout_rate = dropout_rate
        if max_length is not None and rotary_base is not None:
            raise ValueError(
                "Both rotary_base and max_length are given; positions are rotary or learned."
            )
        if max_length is None and rotary_base is None:
            rotary_base = 10_000.0
        self.max_length = max_length
        keys = split_key(rng_key, 3)
        init = jax.nn.initializers.normal(dim**-0.5)
        self.embed = Embed(vocab_size, dim, init, rng_key=keys[0])
        self.positions: Embed | None = None
        if max_length is not None:
            key = jax.random.fold_in(keys[0], 1)
            self.positions = Embed(max_length, dim, init, rng_key=key)
        self.dropout = Dropout(dropout_rate, rng_key=keys[1])
        self.transformer = Transformer(
            dim,
            num_heads,
            num_layers,
            dropout_rate,
            widening_factor=widening_factor,
            num_kv_heads=num_kv_heads,
            rotary_base=rotary_base,
            activation=activation,
            norm_eps=norm_eps,
            scan=scan,
            remat=remat,
            rng_key=keys[2],
        )

    def __call__(self, tokens: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """Map tokens to the logits of the token after each of them.

        Args:
            tokens: integers `(..., length)`.
            mask: booleans `(..., length)`, `False` at padding.

        Returns:
            `(..., length, vocab_size)`.

        Raises:
            ValueError: the sequences are longer than `max_length`.
        """
        return self.embed.attend(self.transformer(self._embedded(tokens, 0), mask))

    def decode(self, caches: Any, tokens: jax.Array) -> tuple[Any, jax.Array]:
        """Map the next tokens `(..., new)` of sequences whose start the caches hold.

        Returns:
            The caches with these tokens, and the logits `(..., new, vocab_size)`: those of
            `self(whole_sequence)` at these positions.
        """
        caches, y = self.transformer.decode(caches, self._embedded(tokens, _index_of(caches)))
        return caches, self.embed.attend(y)

    def initial_cache(self, batch_size: int | None, length: int, dtype: Any = None) -> Any:
        """Return the empty caches of `Transformer.initial_cache`; `ValueError` above `max_length`."""
        self._check_length(length)
        return self.transformer.initial_cache(batch_size, length, dtype)

    def _embedded(self, tokens: jax.Array, start: Any) -> jax.Array:
        """Return the vectors of tokens, the first of which is at the position `start`."""
        vectors = self.embed(tokens)
        if self.positions is not None:
            length = tokens.shape[-1]
            self._check_length(length)
            places = self.positions(start + jnp.arange(length))
            vectors = vectors + jnp.broadcast_to(places, vectors.shape)
        return self.dropout(vectors)

    def _check_length(self, length: int) -> None:
        if self.max_length is not None and length > self.max_length:
            raise ValueError(
                f"{title(self)} has learned positions for max_length={self.max_length} tokens, got {length}."
            )

    def generate(
        self,
        prompt: jax.Array,
        num_tokens: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        rng_key: jax.Array | None = None,
    ) -> jax.Array:
        """Continue sequences, token by token, in evaluation mode.

        Args:
            prompt: integers `(n, length)`, of at least one token.
            num_tokens: how many tokens to add, at least one.
            temperature: the logits are divided by it; at 0 the likeliest token is taken.
            top_k: sample from that many likeliest tokens only, and those as likely as the last of them.
            top_p: sample from the fewest likeliest tokens only, of those that `top_k` leaves, whose
                probabilities add up to at least this (https://arxiv.org/abs/1904.09751).
            rng_key: key to sample with; without one the likeliest token is taken.

        Returns:
            The new tokens, int32 `(n, num_tokens)`.

        Raises:
            ValueError: there is nothing to begin with or nothing to add; the temperature is below 0,
                `top_k` not from 1 to `vocab_size` or `top_p` not above 0 and up to 1; or one of them
                is given without a key.
        """
        if prompt.ndim != 2 or prompt.shape[1] < 1 or num_tokens < 1:
            raise ValueError(
                f"generate expects a prompt (n, length) and tokens to add, "
                f"got {prompt.shape} and num_tokens={num_tokens}."
            )
        choose = _Sampling.checked(self.vocab_size, temperature, top_k, top_p, rng_key)
        net = self.eval()
        keys = None if rng_key is None else jax.random.split(rng_key, num_tokens)
        caches = net.initial_cache(prompt.shape[0], prompt.shape[1] + num_tokens - 1)
        caches, logits = net.decode(caches, prompt)
        first = choose(logits[:, -1], None if keys is None else keys[0])

        def step(carry: Any, key: Any) -> Any:
            caches, token = carry
            caches, logits = net.decode(caches, token[:, None])
            token = choose(logits[:, 0], key)
            return (caches, token), token

        rest_keys = None if keys is None else keys[1:]
        _, rest = jax.lax.scan(step, (caches, first), rest_keys, length=num_tokens - 1)
        return jnp.concatenate([first[:, None], rest.T], axis=1)


def _index_of(caches: Any) -> jax.Array:
    """Return the number of positions that caches hold, which is the same for all layers."""
    first = caches[0] if isinstance(caches, list) else caches
    return jnp.ravel(first.index)[0]


class _Sampling(NamedTuple):
    """How a token is chosen by its logits."""

    temperature: float
    top_k: int | None
    top_p: float | None

    @classmethod
    def checked(
        cls, vocab_size: int, temperature: float, top_k: Any, top_p: Any, rng_key: Any
    ) -> _Sampling:
        """Return these options; `ValueError` if one of them is wrong or has no effect."""
        if not is_traced(temperature) and not temperature >= 0.0:
            raise ValueError(f"temperature is at least 0, got {temperature}.")
        if top_k is not None and not 1 <= top_k <= vocab_size:
            raise ValueError(f"top_k is from 1 to vocab_size={vocab_size}, got {top_k}.")
        if top_p is not None and not is_traced(top_p) and not 0.0 < top_p <= 1.0:
            raise ValueError(f"top_p is above 0 and at most 1, got {top_p}.")
        warm = is_traced(temperature) or temperature not in (0.0, 1.0)
        if rng_key is None and (warm or top_k is not None or top_p is not None):
            raise ValueError(
                "Without rng_key the likeliest token is taken, and temperature, top_k and top_p have "
                "no effect. Give a key to sample with: `rng_key=jax.random.key(0)`."
            )
        return cls(temperature, top_k, top_p)

    def __call__(self, logits: jax.Array, key: jax.Array | None) -> jax.Array:
        """Choose a token, int32 `(n,)`, by logits `(n, vocab_size)`."""
        likeliest = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        if key is None:
            return likeliest
        cold = jnp.asarray(self.temperature, jnp.float32) == 0.0
        logits = precise(logits)
        logits = logits / jnp.where(cold, 1.0, self.temperature).astype(logits.dtype)
        if self.top_k is not None:
            least = jax.lax.top_k(logits, self.top_k)[0][:, -1:]
            logits = jnp.where(logits >= least, logits, -jnp.inf)
        if self.top_p is not None:
            logits = jnp.where(_in_nucleus(logits, self.top_p), logits, -jnp.inf)
        sampled = jax.random.categorical(key, logits).astype(jnp.int32)
        return jnp.where(cold, likeliest, sampled)


def _in_nucleus(logits: jax.Array, top_p: float) -> jax.Array:
    """Say of which tokens the likelier ones have less than `top_p` together."""
    order = jnp.argsort(logits, axis=-1, descending=True)
    sorted_probabilities = jnp.take_along_axis(jax.nn.softmax(logits, axis=-1), order, axis=-1)
    before = jnp.cumsum(sorted_probabilities, axis=-1) - sorted_probabilities
    inside = (before < top_p).at[:, 0].set(True)
    return jnp.take_along_axis(inside, jnp.argsort(order, axis=-1), axis=-1)
