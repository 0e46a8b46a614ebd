"""Multi-head attention and rotary position embedding."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pax_jax._module.module import Module
from pax_jax._rng import split_key
from pax_jax.nn._explicit import gathered, product
from pax_jax.nn._initialize import Initializer
from pax_jax.nn._linear import Linear


class KeyValueCache(NamedTuple):
    """Keys and values of the positions that were decoded so far.

    `key` and `value` are `(..., length, num_kv_heads, key_size)`, of which the first `index`
    positions are filled; `index` is an int32 scalar.
    """

    key: jax.Array
    value: jax.Array
    index: jax.Array


class MultiHeadAttention(Module):
    """Attention with several heads, over `jax.nn.dot_product_attention`.

    Queries, keys and values are linear maps of the inputs; so is the output, of what the heads
    attended to (https://arxiv.org/abs/1706.03762). As `haiku.MultiHeadAttention`.

    Args:
        num_heads: number of heads.
        key_size: size of the queries, keys and values of one head.
        w_init_scale: variance of the weights times the size of their input.
        w_init: makes the weights from a key, a shape and a dtype, in place of `w_init_scale`.
        with_bias: whether the linear maps have biases.
        b_init: makes the biases in the same way; zeros by default.
        model_size: size of the output, and of the inputs unless `input_dims` says else;
            `num_heads * key_size` by default.
        input_dims: sizes of the inputs: query, key and value.
        num_kv_heads: number of heads of keys and values, each shared by a group of query heads
            (https://arxiv.org/abs/2305.13245); `num_heads` by default.
        rotary_base: turn queries and keys by `rotary_embedding` with this base; `None` to leave them.
        rng_key: key of the initializers; `next_rng_key()` by default.
        name: shown when the module is printed.

    Raises:
        ValueError: `num_kv_heads` does not divide `num_heads`, or both `w_init` and a
            `w_init_scale` are given.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> attention = pax.MultiHeadAttention(num_heads=2, key_size=4)
        >>> x = jnp.ones((3, 5, 8))
        >>> attention(x, x, x).shape
        (3, 5, 8)
        >>> attention(x, is_causal=True).shape
        (3, 5, 8)
    """

    _shown = ("num_heads", "key_size")

    def __init__(
        self,
        num_heads: int,
        key_size: int,
        w_init_scale: float | None = None,
        *,
        w_init: Initializer | None = None,
        with_bias: bool = True,
        b_init: Initializer | None = None,
        model_size: int | None = None,
        input_dims: tuple[int, int, int] | None = None,
        num_kv_heads: int | None = None,
        rotary_base: float | None = None,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.num_heads = num_heads
        self.key_size = key_size
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        self.rotary_base = rotary_base
        if self.num_kv_heads < 1 or num_heads % self.num_kv_heads:
            raise ValueError(f"num_kv_heads={num_kv_heads} does not divide num_heads={num_heads}.")
        if w_init is not None and w_init_scale is not None:
            raise ValueError("Both w_init and w_init_scale are given; give one of them.")
        if w_init_scale is not None:
            w_init = jax.nn.initializers.variance_scaling(
                w_init_scale, "fan_in", "truncated_normal"
            )
        out = num_heads * key_size
        size = out if model_size is None else model_size
        inputs = (size, size, size) if input_dims is None else input_dims
        keys = split_key(rng_key, 4)
        options: Any = {"with_bias": with_bias, "w_init": w_init, "b_init": b_init}
        heads = (num_heads, self.num_kv_heads, self.num_kv_heads)
        self.query, self.key, self.value = (
            ToHeads(dim, count, key_size, rng_key=k, **options)
            for dim, count, k in zip(inputs, heads, keys[:3], strict=True)
        )
        self.output = FromHeads(out, size, rng_key=keys[3], **options)

    def __call__(
        self,
        query: jax.Array,
        key: jax.Array | None = None,
        value: jax.Array | None = None,
        mask: jax.Array | None = None,
        *,
        is_causal: bool = False,
    ) -> jax.Array:
        """Attend from each position of `query` to the positions of `key`.

        Args:
            query: `(..., queries, size)`.
            key: `(..., keys, size)`; `query` by default.
            value: `(..., keys, size)`; `key` by default.
            mask: booleans `(..., heads or 1, queries or 1, keys)`, `True` where a query may attend.
            is_causal: whether query `i` attends to keys up to `i` only.

        Returns:
            `(..., queries, model_size)`.

        Raises:
            TypeError: the mask is not boolean.
            ValueError: the mask has another number of axes than that.
        """
        key = query if key is None else key
        value = key if value is None else value
        q, k, v = self._heads(query, key, value, None)
        return self._attend(q, k, v, mask, is_causal)

    def decode(self, cache: KeyValueCache, x: jax.Array) -> tuple[KeyValueCache, jax.Array]:
        """Attend causally from the next positions of a sequence, keeping their keys and values.

        The outputs are those of `self(whole_sequence, is_causal=True)` at these positions; they are
        NaN once the cache is too short.

        Args:
            cache: of the positions before, at first `initial_cache(...)`.
            x: `(..., new positions, size)`.

        Returns:
            The cache with the new positions, and the output `(..., new positions, model_size)`.

        Raises:
            ValueError: `x` has more positions than the cache has room for.
        """
        new, length = x.shape[-2], cache.key.shape[-3]
        if new > length:
            raise ValueError(f"{new} new positions do not fit into a cache of {length}.")
        positions = cache.index + jnp.arange(new, dtype=cache.index.dtype)
        q, k, v = self._heads(x, x, x, positions)
        key, value = _written(cache.key, k, cache.index), _written(cache.value, v, cache.index)
        seen = jnp.arange(length)[None, :] <= positions[:, None]
        mask = seen.reshape((1,) * (x.ndim - 1) + seen.shape)
        y = self._attend(q, key, value, mask, False)
        index = cache.index + new
        return KeyValueCache(key, value, index), jnp.where(index > length, jnp.nan, y)

    def initial_cache(
        self, batch_size: int | None, length: int, dtype: Any = None
    ) -> KeyValueCache:
        """Return an empty cache for sequences of up to `length` positions.

        Args:
            batch_size: number of sequences; `None` for a sequence without a batch.
            length: the most positions that can be decoded.
            dtype: of keys and values; that of the weights by default.
        """
        shape = (length, self.num_kv_heads, self.key_size)
        shape = shape if batch_size is None else (batch_size, *shape)
        dtype = self.key.weight.dtype if dtype is None else dtype
        zeros = jnp.zeros(shape, dtype)
        return KeyValueCache(zeros, jnp.copy(zeros), jnp.zeros((), jnp.int32))

    def _heads(
        self, query: jax.Array, key: jax.Array, value: jax.Array, positions: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return queries, keys and values `(..., length, heads, key_size)`, turned."""
        q, k, v = self.query(query), self.key(key), self.value(value)
        if self.rotary_base is not None:
            q = rotary_embedding(q, positions, self.rotary_base)
            k = rotary_embedding(k, positions, self.rotary_base)
        return q, k, v

    def _attend(
        self, q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None, is_causal: bool
    ) -> jax.Array:
        lead = q.shape[:-3]
        if mask is not None:
            _check_mask(mask, q.ndim)
            mask = jnp.broadcast_to(mask, lead + mask.shape[-3:])
        if len(lead) > 1:
            q, k, v = (_one_batch(array) for array in (q, k, v))
            mask = None if mask is None else _one_batch(mask)
        y = _dot_product_attention(q, k, v, mask, is_causal)
        return self.output(y.reshape((*lead, *y.shape[-3:])))


def _dot_product_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None, is_causal: bool
) -> jax.Array:
    dtype = q.dtype
    if dtype == jnp.float16 and jax.default_backend() == "cpu":
        # JAX asks for products of float16 in float32, which XLA does not have there.
        q, k, v = (array.astype(jnp.float32) for array in (q, k, v))
    with jax.numpy_dtype_promotion("standard"):  # it computes its softmax in float32
        y = jax.nn.dot_product_attention(q, k, v, mask=mask, is_causal=is_causal)
    return y.astype(dtype)


def _one_batch(x: jax.Array) -> jax.Array:
    return x.reshape((-1, *x.shape[-3:]))


def _written(cached: jax.Array, new: jax.Array, index: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(
        cached, new.astype(cached.dtype), index, cached.ndim - 3
    )


def _check_mask(mask: jax.Array, ndim: int) -> None:
    if mask.dtype != jnp.bool_:
        raise TypeError(f"mask is an array of bool, got one of {mask.dtype}.")
    if mask.ndim != ndim:
        raise ValueError(
            f"mask has the axes (..., heads or 1, queries or 1, keys), {ndim} in all for this "
            f"query, got {mask.shape}."
        )


class ToHeads(Linear):
    """A `Linear` whose output `(..., heads * size)` is given as `(..., heads, size)`.

    The product is written with the heads apart: XLA then multiplies without turning the weights.
    """

    def __init__(self, in_dim: int, heads: int, size: int, **options: Any) -> None:
        super().__init__(in_dim, heads * size, **options)
        self.heads = heads

    def __call__(self, x: jax.Array) -> jax.Array:
        self._check(x)
        y = product(x, gathered(self.weight, x).reshape(self.in_dim, self.heads, -1))
        if self.bias is None:
            return y
        return y + jnp.broadcast_to(gathered(self.bias, x).reshape(self.heads, -1), y.shape)


class FromHeads(Linear):
    """A `Linear` whose input `(..., heads * size)` is given as `(..., heads, size)`."""

    def __call__(self, x: jax.Array) -> jax.Array:
        weight = gathered(self.weight, x, 2).reshape(*x.shape[-2:], self.out_dim)
        return self._add_bias(product(x, weight, 2))


def rotary_embedding(
    x: jax.Array, positions: jax.Array | None = None, base: float = 10_000.0
) -> jax.Array:
    """Rotate queries or keys by angles that grow with the position.

    The product of a rotated query and a rotated key depends on their positions only by the
    difference (https://arxiv.org/abs/2104.09864). Element `i` of the first half of a head is rotated
    with element `i` of the second half, by `position * base ** (-2 * i / size)`.

    Args:
        x: `(..., length, heads, size)` with an even size.
        positions: integers `(length,)`, or `(..., length)`; 0, 1, 2, ... by default.
        base: how slowly the slowest pair turns.

    Returns:
        An array like `x`; the angles are computed in float32.

    Raises:
        ValueError: `x` has too few axes or an odd size.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> keys = pax.rotary_embedding(jnp.ones((5, 1, 2)))
        >>> [round(float(jnp.vdot(keys[i], keys[i + 1])), 3) for i in range(4)]
        [1.081, 1.081, 1.081, 1.081]
    """
    if x.ndim < 3 or x.shape[-1] % 2:
        raise ValueError(
            f"rotary_embedding expects (..., length, heads, an even size), got {x.shape}."
        )
    half = x.shape[-1] // 2
    if positions is None:
        positions = jnp.arange(x.shape[-3])
    speeds = base ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angles = jnp.einsum("...t,f->...tf", positions.astype(jnp.float32), speeds)
    angles = angles.reshape((1,) * (x.ndim - angles.ndim - 1) + (*angles.shape[:-1], 1, half))
    cos, sin = jnp.cos(angles).astype(x.dtype), jnp.sin(angles).astype(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
