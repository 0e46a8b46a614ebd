"""Scaled dot product attention, whichever of PyTorch's operators stands for it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from torch2jax_bridge._lowered.registry import lowering
from torch2jax_bridge._lowered.rules.matmul import precision
from torch2jax_bridge._lowered.rules.numbers import working

Array = jax.Array


class _Options(NamedTuple):
    """How much a query looks at.

    Attributes:
        mask: which keys it may look at, or what is added to the scores.
        is_causal: whether it may look at none that come later.
        scale: of the scores; None for one over the root of the features.
        dropout: the probability that a weight is dropped.
        key: from which that is drawn.
    """

    mask: Array | None
    is_causal: bool
    scale: float | None
    dropout: float
    key: Any


def _attention(query: Array, key: Array, value: Array, options: _Options) -> tuple[Array, Array]:
    """Return the attention, (batch, heads, queries, features), and the logarithms of the sums."""
    mask, is_causal, scale, probability, random_key = options
    dtype = working(query.dtype)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    groups = query.shape[1] // max(key.shape[1], 1) if query.ndim == 4 else 1
    if groups > 1:
        key, value = (jnp.repeat(x, groups, 1) for x in (key, value))
    scores = scale * jnp.einsum(
        "...qd,...kd->...qk", query, key, precision=precision(), preferred_element_type=dtype
    )
    if is_causal:
        allowed = jnp.tril(jnp.ones(scores.shape[-2:], bool))
        scores = jnp.where(allowed, scores, -jnp.inf)
    if mask is not None:
        is_choice = mask.dtype == bool
        scores = jnp.where(mask, scores, -jnp.inf) if is_choice else scores + mask.astype(dtype)
    top = lax.stop_gradient(jnp.max(scores, -1, keepdims=True, initial=-jnp.inf))
    blind = jnp.isneginf(top)  # a query that may look at nothing gets zeros
    weights = jnp.exp(scores - jnp.where(blind, 0, top))
    sums = jnp.sum(weights, -1, keepdims=True)
    weights = weights / jnp.where(blind, 1, sums)
    if probability:
        kept = jax.random.bernoulli(random_key, 1 - probability, weights.shape)
        weights = jnp.where(kept, weights / (1 - probability), 0)
    out = jnp.einsum(
        "...qk,...kd->...qd",
        weights.astype(value.dtype),
        value,
        precision=precision(),
        preferred_element_type=dtype,
    )
    return out, (top + jnp.log(sums)).squeeze(-1)


@lowering("aten::_scaled_dot_product_flash_attention_for_cpu")
def flash_attention_for_cpu(
    query: Array,
    key_: Array,
    value: Array,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Array | None = None,
    scale: float | None = None,
    key: Any = None,
) -> tuple[Array, Array]:
    options = _Options(attn_mask, is_causal, scale, dropout_p, key)
    return _attention(query, key_, value, options)
