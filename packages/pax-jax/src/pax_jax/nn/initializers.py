"""How weights begin: functions of a key, a shape and a dtype.

All of `jax.nn.initializers`, and two more names that Pax has always had. Each layer takes such a
function as `w_init` or `b_init`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn.initializers import (
    Initializer,
    constant,
    delta_orthogonal,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    kaiming_normal,
    kaiming_uniform,
    lecun_normal,
    lecun_uniform,
    normal,
    ones,
    orthogonal,
    truncated_normal,
    uniform,
    variance_scaling,
    xavier_normal,
    xavier_uniform,
    zeros,
)

__all__ = [
    "Initializer",
    "constant",
    "delta_orthogonal",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]


def random_normal(stddev: float = 1.0, mean: float = 0.0) -> Initializer:
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


def random_uniform(minval: float = 0.0, maxval: float = 1.0) -> Initializer:
    """Draw from the uniform distribution from `minval` to `maxval`.

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
