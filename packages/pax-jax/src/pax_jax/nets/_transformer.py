"""Transformers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pax_jax._module.module import Module
from pax_jax._rng import split_key
from pax_jax._transforms.remat import remat as make_remat
from pax_jax.nn import Dropout, KeyValueCache, LayerNorm, Linear, MultiHeadAttention, Stack
from pax_jax.nn._lambda import NamedFunction


class TransformerBlock(Module):
    """Attention, then a layer that widens and narrows, each normalized before and added after.

    Args:
        dim: size of input and output.
        num_heads: number of heads; it divides `dim`.
        dropout_rate: with what probability each element of what is added is dropped.
        widening_factor: size of the hidden layer, in units of `dim`.
        w_init_scale: variance of the weights times the size of their input.
        num_kv_heads: as in `MultiHeadAttention`.
        rotary_base: as in `MultiHeadAttention`.
        activation: the function between the two linear maps; `jax.nn.gelu`, which is its approximation
            by tanh, as in GPT-2 (ViT has `functools.partial(jax.nn.gelu, approximate=False)`).
        norm_eps: added to the variance by each `LayerNorm`.
        rng_key: key of weights and dropout; `next_rng_key()` by default.
        name: shown when the module is printed.

    Raises:
        ValueError: `num_heads` does not divide `dim`.
        TypeError: `activation` cannot be called, or holds arrays or modules.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> def block(key, x):
        ...     return pax.nets.TransformerBlock(8, 2, 0.1, rng_key=key)(x)
        >>> jax.eval_shape(block, jax.random.key(0), jnp.ones((3, 5, 8))).shape
        (3, 5, 8)
    """

    _shown = ("dim", "num_heads", "dropout_rate")

    def __init__(
        self,
        dim: int,
        num_heads: int,
        dropout_rate: float = 0.0,
        *,
        widening_factor: int = 4,
        w_init_scale: float = 1.0,
        num_kv_heads: int | None = None,
        rotary_base: float | None = None,
        activation: Callable[[jax.Array], jax.Array] = jax.nn.gelu,
        norm_eps: float = 1e-5,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if num_heads < 1 or dim % num_heads:
            raise ValueError(f"num_heads={num_heads} does not divide dim={dim}.")
        self.dim = dim
        self.num_heads = num_heads
        self.dropout_rate = dropout_rate
        keys = split_key(rng_key, 5)
        w_init = jax.nn.initializers.variance_scaling(w_init_scale, "fan_in", "truncated_normal")
        self.attention_norm = LayerNorm(dim, eps=norm_eps)
        self.attention = MultiHeadAttention(
            num_heads,
            dim // num_heads,
            w_init=w_init,
            num_kv_heads=num_kv_heads,
            rotary_base=rotary_base,
            rng_key=keys[0],
        )
        self.attention_dropout = Dropout(dropout_rate, rng_key=keys[1])
        self.dense_norm = LayerNorm(dim, eps=norm_eps)
        self.dense_in = Linear(dim, widening_factor * dim, w_init=w_init, rng_key=keys[2])
        self.dense_out = Linear(widening_factor * dim, dim, w_init=w_init, rng_key=keys[3])
        self._activation = NamedFunction(activation)
        self.dense_dropout = Dropout(dropout_rate, rng_key=keys[4])

    def __call__(
        self, x: jax.Array, mask: jax.Array | None = None, *, is_causal: bool = True
    ) -> jax.Array:
        """Map `(..., length, dim)` to the same shape; `mask` as in `MultiHeadAttention`."""
        normed = self.attention_norm(x)
        return self._rest(x, self.attention(normed, mask=mask, is_causal=is_causal))

    def decode(self, cache: KeyValueCache, x: jax.Array) -> tuple[KeyValueCache, jax.Array]:
        """Map the next positions of a sequence, as `MultiHeadAttention.decode`."""
        cache, attended = self.attention.decode(cache, self.attention_norm(x))
        return cache, self._rest(x, attended)

    def _rest(self, x: jax.Array, attended: jax.Array) -> jax.Array:
        x = x + self.attention_dropout(attended)
        hidden = self._activation.call(self.dense_in(self.dense_norm(x)))
        return x + self.dense_dropout(self.dense_out(hidden))


class Transformer(Module):
    """A stack of `TransformerBlock`s and a last normalization: a GPT-2 without its embeddings.

    Args:
        dim: size of input and output.
        num_heads: number of heads of each layer; it divides `dim`.
        num_layers: number of layers.
        dropout_rate: with what probability each element that a layer adds is dropped.
        is_causal: whether a position sees none after it.
        widening_factor: size of the hidden layers, in units of `dim`.
        num_kv_heads: as in `MultiHeadAttention`.
        rotary_base: as in `MultiHeadAttention`.
        activation: as in `TransformerBlock`.
        norm_eps: as in `TransformerBlock`, and of the last normalization.
        scan: whether `layers` is a `Stack`, one program for all layers, rather than a list. The weights
            are those of the same key in a list.
        remat: whether to compute each layer again in the backward pass, as in `Stack`.
        rng_key: key of weights and dropout; `next_rng_key()` by default.
        name: shown when the module is printed.

    Raises:
        ValueError: `num_heads` does not divide `dim`.
        TypeError: `activation` cannot be called, or holds arrays or modules.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> net = pax.nets.Transformer(dim=8, num_heads=2, num_layers=1, dropout_rate=0.1)
        >>> net(jnp.ones((4, 5, 8))).shape
        (4, 5, 8)
    """

    _shown = ("dim", "num_heads", "num_layers", "dropout_rate")

    def __init__(
        self,
        dim: int,
        num_heads: int,
        num_layers: int,
        dropout_rate: float = 0.0,
        *,
        is_causal: bool = True,
        widening_factor: int = 4,
        num_kv_heads: int | None = None,
        rotary_base: float | None = None,
        activation: Callable[[jax.Array], jax.Array] = jax.nn.gelu,
        norm_eps: float = 1e-5,
        scan: bool = False,
        remat: bool | Callable[..., bool] = False,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.dim = dim
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.dropout_rate = dropout_rate
        self.is_causal = is_causal
        options: Any = {
            "widening_factor": widening_factor,
            "w_init_scale": 2.0 / max(num_layers, 1),
            "num_kv_heads": num_kv_heads,
            "rotary_base": rotary_base,
            "activation": activation,
            "norm_eps": norm_eps,
        }
        self.remat = remat

        def make(key: jax.Array) -> TransformerBlock:
            return TransformerBlock(dim, num_heads, dropout_rate, rng_key=key, **options)

        self.layers: Any
        if scan:
            self.layers = Stack(make, num_layers, remat=remat, rng_key=rng_key)
        else:
            self.layers = [make(key) for key in split_key(rng_key, num_layers)]
        self.output_norm = LayerNorm(dim, eps=norm_eps)

    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """Map `(..., length, dim)` to the same shape.

        Args:
            x: embedded sequences.
            mask: booleans `(..., length)`, `False` at positions that are padding; nobody attends to
                them.
        """
        if mask is not None:
            mask = mask[..., None, None, :]
        if isinstance(self.layers, Stack):
            x = self.layers(x, mask, is_causal=self.is_causal)
        else:
            for layer in self.layers:
                x = self._called(layer, x, mask)
        return self.output_norm(x)

    def _called(self, layer: TransformerBlock, x: jax.Array, mask: jax.Array | None) -> jax.Array:
        call = functools.partial(layer, is_causal=self.is_causal)
        if not self.remat:
            return call(x, mask)
        policy = self.remat if callable(self.remat) else None
        return make_remat(call, policy=policy)(x, mask)

    def with_scan(self, scan: bool = True) -> Transformer:
        """Return a copy with its layers in a `Stack`, or without `scan` in a list.

        So a checkpoint of either is loaded into the other. Of a net that holds a transformer take
        `net.apply(lambda m: m.with_scan() if isinstance(m, pax_jax.nets.Transformer) else m)`.

        Args:
            scan: whether the layers are stacked.

        Raises:
            ValueError: the layers differ in more than the values of arrays, as where one is frozen.

        Example:
            >>> import pax_jax as pax
            >>> net = pax.nets.Transformer(8, 2, num_layers=3)
            >>> stacked = net.with_scan()
            >>> stacked.layers.n, stacked.with_scan(False) == net
            (3, True)
        """
        stacked = isinstance(self.layers, Stack)
        if scan == stacked:
            return self.copy()
        if scan:
            return self.replace(layers=Stack.of(self.layers, remat=self.remat))
        return self.replace(layers=self.layers.unstack())

    def decode(self, caches: Any, x: jax.Array) -> tuple[Any, jax.Array]:
        """Map the next positions `(..., new, dim)` of sequences whose start the caches hold.

        The outputs are those of the whole sequence at these positions. The caches are a list, one for
        each layer; with `scan` one whose arrays are stacked.

        Raises:
            ValueError: the transformer is not causal, or the positions do not fit.

        Example:
            >>> import jax.numpy as jnp
            >>> import pax_jax as pax
            >>> net = pax.nets.Transformer(8, 2, 1)
            >>> caches, y = net.decode(net.initial_cache(4, length=10), jnp.ones((4, 1, 8)))
            >>> y.shape, int(caches[0].index)
            ((4, 1, 8), 1)
        """
        if not self.is_causal:
            raise ValueError("A Transformer with is_causal=False has no order to decode in.")
        if isinstance(self.layers, Stack):
            x, caches = self.layers.scan(_decoded, x, caches)
            return caches, self.output_norm(x)
        new = []
        for layer, cache in zip(self.layers, caches, strict=True):
            cache, x = layer.decode(cache, x)
            new.append(cache)
        return new, self.output_norm(x)

    def initial_cache(self, batch_size: int | None, length: int, dtype: Any = None) -> Any:
        """Return an empty cache for each layer, as `MultiHeadAttention.initial_cache`.

        With `scan` it is one cache, of stacked arrays.
        """
        if isinstance(self.layers, Stack):
            one = self.layers[0].attention.initial_cache(batch_size, length, dtype)
            return jax.tree.map(lambda leaf: jnp.stack([leaf] * self.num_layers), one)
        return [layer.attention.initial_cache(batch_size, length, dtype) for layer in self.layers]


def _decoded(layer: TransformerBlock, x: jax.Array, cache: KeyValueCache) -> tuple[Any, Any]:
    cache, x = layer.decode(cache, x)
    return x, cache
