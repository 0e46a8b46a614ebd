"""Exponential moving averages."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pax_jax._module.module import StateModule
from pax_jax._module.trees import children_by_name


class EMA(StateModule):
    """The exponential moving average of pytrees; without the debiasing a plain leaky average.

    As `haiku.ExponentialMovingAverage`, whose `zero_debias` is `debias` here: the average then weighs
    only the values seen, not the initial one (https://arxiv.org/abs/1412.6980, section 3). Averages of
    values of half precision are kept in float32, for in their own dtype they would stand still.

    Args:
        initial_value: a pytree of arrays of floating dtype, to begin with.
        decay_rate: weight of the past, from 0 to 1.
        debias: whether to leave the initial value out of the average.
        allow_int: accept integers and booleans too; of these the last value is kept.
        name: shown when the module is printed.

    Raises:
        ValueError: `decay_rate` is not from 0 to 1.
        TypeError: a leaf is not of floating dtype, and `allow_int` is false.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> ema = pax.EMA(jnp.zeros(()), decay_rate=0.5)
        >>> [float(ema(jnp.ones(()))) for _ in range(3)]
        [0.5, 0.75, 0.875]
    """

    _shown = ("decay_rate",)

    averages: Any
    debias: jax.Array | None

    def __init__(
        self,
        initial_value: Any,
        decay_rate: float,
        debias: bool = False,
        allow_int: bool = False,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if not 0.0 <= decay_rate <= 1.0:
            raise ValueError(f"decay_rate is from 0 to 1, got {decay_rate}.")
        self.decay_rate = decay_rate
        self.allow_int = allow_int
        initial_value = jax.tree.map(jnp.asarray, initial_value)
        self._check(initial_value)
        self.register_state_subtree("averages", jax.tree.map(_wide, initial_value))
        # The sum of the weights of all values seen.
        self.debias = jnp.zeros((), jnp.float32) if debias else None

    def __call__(self, value: Any) -> Any:
        """Take in a pytree like the initial value, and return the averages in the dtypes of `value`.

        Raises:
            TypeError: a leaf is not of floating dtype, or complex where the average is real.
        """
        value = jax.tree.map(jnp.asarray, value)
        self._check(value)
        step: Any = 1.0 - self.decay_rate
        if self.debias is not None:
            weight = self.decay_rate * self.debias + step
            step = jnp.where(weight > 0.0, step / weight, 0.0)
            self.debias = weight
        averages = children_by_name(self)["averages"]  # a plain tree in each scope
        averages = jax.tree.map(lambda a, x: _moved(a, x, step), averages, value)
        self.averages = averages
        return jax.tree.map(lambda a, x: a.astype(x.dtype), averages, value)

    def _check(self, value: Any) -> None:
        for path, leaf in jax.tree.leaves_with_path(value):
            if not (self.allow_int or jnp.issubdtype(leaf.dtype, jnp.inexact)):
                raise TypeError(
                    f"EMA averages floating-point arrays, and value{jax.tree_util.keystr(path)} is "
                    f"of {leaf.dtype}. With allow_int=True the last value of such arrays is kept."
                )


def _wide(x: jax.Array) -> jax.Array:
    """Return an array of half precision in float32, and any other as it is."""
    half = jnp.issubdtype(x.dtype, jnp.inexact) and jnp.finfo(x.dtype).bits < 32
    return x.astype(jnp.float32) if half else x


def _moved(average: jax.Array, value: jax.Array, step: Any) -> jax.Array:
    if not jnp.issubdtype(average.dtype, jnp.inexact):
        return value
    if jnp.iscomplexobj(value) and not jnp.iscomplexobj(average):
        raise TypeError(
            f"EMA was made for an array of {average.dtype}, and got one of {value.dtype}, which "
            "would lose its imaginary part. Make it for a complex initial value."
        )
    wide = _wide(average)
    step = step.astype(wide.dtype) if isinstance(step, jax.Array) else step
    moved = wide + step * (value.astype(wide.dtype) - wide)
    return moved.astype(average.dtype)
