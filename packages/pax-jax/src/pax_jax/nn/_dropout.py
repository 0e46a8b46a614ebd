"""Dropout."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pax_jax._module.module import StateModule
from pax_jax._rng import next_rng_key
from pax_jax.nn._explicit import lying_as


def dropout(rng_key: jax.Array, dropout_rate: float, x: jax.Array) -> jax.Array:
    """Zero each element with probability `dropout_rate`, and scale up the others.

    Args:
        rng_key: a key.
        dropout_rate: the probability, at least 0 and less than 1.
        x: an array of floating dtype.

    Returns:
        An array like `x` with the same mean, as of `haiku.dropout`.

    Raises:
        ValueError: `dropout_rate` is not such a probability.
        TypeError: `x` is not of floating dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> sorted(set(pax.dropout(jax.random.key(0), 0.5, jnp.ones(100)).tolist()))
        [0.0, 2.0]
    """
    _check_rate(dropout_rate)
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        raise TypeError(f"dropout expects an array of floating dtype, got one of {x.dtype}.")
    if dropout_rate == 0.0:
        return x
    keep = jax.random.bernoulli(rng_key, 1.0 - dropout_rate, x.shape)
    return jnp.where(lying_as(keep, x), x / (1.0 - dropout_rate), jnp.zeros_like(x))


def _check_rate(dropout_rate: float) -> None:
    if not 0.0 <= dropout_rate < 1.0:
        raise ValueError(f"dropout_rate is at least 0 and less than 1, got {dropout_rate}.")


class Dropout(StateModule):
    """Zero each element with probability `dropout_rate` in training mode, and scale up the others.

    The key is state: each call in training mode uses it up and keeps a new one
    (https://jmlr.org/papers/v15/srivastava14a.html).

    Args:
        dropout_rate: the probability, at least 0 and less than 1.
        rng_key: the first key; `next_rng_key()` by default.
        name: shown when the module is printed.

    Raises:
        ValueError: `dropout_rate` is not such a probability.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> dropout = pax.Dropout(0.5)
        >>> sorted(set(dropout(jnp.ones(100)).tolist()))
        [0.0, 2.0]
        >>> dropout.eval()(jnp.ones(2))
        Array([1., 1.], dtype=float32)
    """

    _shown = ("dropout_rate",)

    rng_key: jax.Array

    def __init__(
        self, dropout_rate: float, *, rng_key: jax.Array | None = None, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        _check_rate(dropout_rate)
        self.dropout_rate = dropout_rate
        self.rng_key = next_rng_key() if rng_key is None else rng_key

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return `x` with elements dropped, in its own shape and dtype."""
        if not self.training or self.dropout_rate == 0.0:
            return x
        self.rng_key, key = jax.random.split(self.rng_key)
        return dropout(key, self.dropout_rate, x)
