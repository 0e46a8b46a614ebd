"""The learning-rate range test: a short training whose rate grows from step to step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from opax._optimizer import Optimizer
from opax._plot import PNG, line


@dataclass(frozen=True)
class RangeTest:
    """The learning rates of a range test, and the loss that was found with each.

    Attributes:
        rates: the learning rates, of shape `(steps,)`.
        losses: the losses before the steps with these rates, of the same shape.
    """

    rates: np.ndarray
    losses: np.ndarray

    def plot(self) -> PNG:
        """Draw the losses over the rates: a PNG, which a notebook shows.

        Raises:
            ImportError: matplotlib is not installed.
        """
        names = {"xlabel": "learning rate", "ylabel": "loss", "xscale": "log"}
        return line(self.rates, self.losses, "RangeTest.plot", **names)


def learning_rate_range_test(
    step: Callable[[Any, Optimizer], tuple[Any, Any, Optimizer]],
    model: Any,
    optimizer: Optimizer,
    rates: Iterable[float] | None = None,
    *,
    stop_at: float = 4.0,
) -> RangeTest:
    """Train with rates that grow from step to step, and return the loss at each.

    The rates to train with are those at which the loss falls, below those at which it rises again
    (Smith, https://arxiv.org/abs/1506.01186). `model` and `optimizer` stay as they are.

    Args:
        step: takes the model and the optimizer, and returns the loss and both anew. It compiles once.
        model: a module or any pytree.
        optimizer: an optimizer for it, whose `learning_rate` can be replaced.
        rates: the learning rates in the order in which they are tried; 100 from 1e-7 to 1 by default.
        stop_at: the test ends at a loss of so many times the smallest one, or one that is no number.

    Returns:
        The rates that were tried, with their losses; `plot()` draws them.

    Raises:
        AttributeError: the learning rate of the optimizer cannot be replaced.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import opax
        >>> @jax.jit
        ... def step(params, optimizer):
        ...     loss, grads = jax.value_and_grad(lambda w: jnp.sum(w**2))(params)
        ...     return loss, *opax.apply_gradients(params, optimizer, grads)
        >>> params = jnp.ones(2)
        >>> found = opax.learning_rate_range_test(step, params, opax.sgd(0.1)(params), [0.1, 0.2, 3.0])
        >>> found.losses.round(3)
        array([2.   , 1.28 , 0.461], dtype=float32)
    """
    tried, losses = [], []
    for rate in np.geomspace(1e-7, 1.0, 100) if rates is None else rates:
        optimizer = optimizer.replace(learning_rate=rate)
        loss, model, optimizer = step(model, optimizer)
        tried.append(float(rate))
        losses.append(np.asarray(loss))
        if not jnp.isfinite(loss) or loss > stop_at * abs(min(losses)) > 0:
            break
    return RangeTest(np.asarray(tried), np.asarray(losses))
