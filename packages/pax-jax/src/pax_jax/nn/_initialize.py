"""How layers make their first weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from pax_jax._rng import split_key

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
    weight_key, bias_key = split_key(rng_key)
    weight = (w_init or jax.nn.initializers.lecun_normal())(weight_key, weight_shape, jnp.float32)
    if not with_bias:
        return weight, None
    shape = weight_shape[-1:] if bias_size is None else (bias_size,)
    bias = (b_init or jax.nn.initializers.zeros)(bias_key, shape, jnp.float32)
    return weight, bias


def random_normal(stddev: float = 1.0, mean: float = 0.0) -> jax.nn.initializers.Initializer:
    """Draw from a normal distribution.

    Args:
        stddev: its standard deviation.
        mean: its mean.

    Example:
        >>> import jax
        >>> import pax_jax as pax
        >>> init = pax.initializers.random_normal(stddev=0.0, mean=2.0)
        >>> init(jax.random.key(0), (2,))
        Array([2., 2.], dtype=float32)
    """

    def init(
        key: Any, shape: Sequence[int], dtype: Any = jnp.float32, out_sharding: Any = None
    ) -> jax.Array:
        drawn = jax.random.normal(key, shape, dtype, out_sharding=out_sharding)
        return drawn * stddev + mean

    return init


def random_uniform(minval: float = 0.0, maxval: float = 1.0) -> jax.nn.initializers.Initializer:
    """Draw from the uniform distribution from `minval` to `maxval`.

    Args:
        minval: the least value.
        maxval: what all values are less than.

    Example:
        >>> import jax
        >>> import pax_jax as pax
        >>> init = pax.initializers.random_uniform(3.0, 3.5)
        >>> bool((init(jax.random.key(0), (8,)) >= 3.0).all())
        True
    """

    def init(
        key: Any, shape: Sequence[int], dtype: Any = jnp.float32, out_sharding: Any = None
    ) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, minval, maxval, out_sharding=out_sharding)

    return init
