"""How layers make their first weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pax_jax._rng import next_rng_key

Initializer = Callable[..., jax.Array]
"""A function of a key, a shape and a dtype, such as those of `jax.nn.initializers`."""


def weight_and_bias(
    weight_shape: tuple[int, ...],
    with_bias: bool,
    w_init: Initializer | None,
    b_init: Initializer | None,
    rng_key: Any,
    bias_size: int | None = None,
) -> tuple[jax.Array, jax.Array | None]:
    """Make a float32 weight, LeCun normal unless `w_init` says else, and a bias, zero unless...

    The bias is as large as the last axis of the weight, or `bias_size`.
    """
    key = next_rng_key() if rng_key is None else rng_key
    weight_key, bias_key = jax.random.split(key)
    weight = (w_init or jax.nn.initializers.lecun_normal())(weight_key, weight_shape, jnp.float32)
    if not with_bias:
        return weight, None
    shape = weight_shape[-1:] if bias_size is None else (bias_size,)
    bias = (b_init or jax.nn.initializers.zeros)(bias_key, shape, jnp.float32)
    return weight, bias
