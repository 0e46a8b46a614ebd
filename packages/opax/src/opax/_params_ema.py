"""`params_ema`: an exponential moving average of the parameters."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class ParamsEmaState(NamedTuple):
    """The average of the parameters after every step, and before the first."""

    params_ema: Any


def params_ema(decay: float, accumulator_dtype: Any = None) -> optax.GradientTransformation:
    """Keep an exponential moving average of the parameters; updates pass unchanged.

    It belongs at the end of a chain, where the updates are those that are added to the parameters.
    `model.update(optimizer[-1].params_ema)` is the model with averaged parameters.

    The average is `decay * average + (1 - decay) * parameters`, from the first parameters on
    (Polyak and Juditsky, 1992).

    Args:
        decay: how much of the average each step keeps, between 0 and 1.
        accumulator_dtype: the dtype of the average; that of the parameters where it is None.

    Returns:
        A transformation.

    Example:
        >>> import jax.numpy as jnp
        >>> import opax
        >>> params = {"w": jnp.ones(2)}
        >>> optimizer = opax.chain(opax.sgd(1.0), opax.params_ema(0.5))(params)
        >>> params = optimizer.step({"w": jnp.ones(2)}, params)
        >>> params["w"], optimizer[-1].params_ema["w"]
        (Array([0., 0.], dtype=float32), Array([0.5, 0.5], dtype=float32))
    """

    def init(params: Any) -> ParamsEmaState:
        return ParamsEmaState(optax.tree.cast(params, accumulator_dtype))

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        if params is None:
            raise ValueError("params_ema needs the parameters, whose average it keeps, got None.")
        new = optax.apply_updates(params, updates)
        new = jax.tree.map(lambda x, average: jnp.astype(x, average.dtype), new, state.params_ema)
        return updates, ParamsEmaState(optax.incremental_update(new, state.params_ema, 1 - decay))

    return optax.GradientTransformation(init, update)
