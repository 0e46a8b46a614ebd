"""Recurrent cells: one step of a recurrent network."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pax_jax._module.module import Module
from pax_jax._rng import split_key
from pax_jax._show.titles import title
from pax_jax.nn._initialize import Initializer
from pax_jax.nn._lambda import Lambda
from pax_jax.nn._linear import Linear


class LSTMState(NamedTuple):
    """What an `LSTM` hands from step to step: `hidden` and `cell`, each `(..., hidden_dim)`."""

    hidden: jax.Array
    cell: jax.Array


class GRUState(NamedTuple):
    """What a `GRU` hands from step to step: `hidden`, `(..., hidden_dim)`."""

    hidden: jax.Array


class VanillaRNNState(NamedTuple):
    """What a `VanillaRNN` hands from step to step: `hidden`, `(..., hidden_dim)`."""

    hidden: jax.Array


class _Cell(Module):
    """A cell called as `state, output = cell(state, x)`."""

    _shown = ("input_dim", "hidden_dim")

    def __init__(self, input_dim: int, hidden_dim: int, name: str | None) -> None:
        super().__init__(name=name)
        self.input_dim = input_dim
        self.hidden_dim = hidden_dim

    def _zeros(self, batch_size: int | None, like: Linear) -> jax.Array:
        shape = (self.hidden_dim,) if batch_size is None else (batch_size, self.hidden_dim)
        return jnp.zeros(shape, like.weight.dtype)

    def _check(self, x: jax.Array, hidden: jax.Array) -> None:
        shape = (*x.shape[:-1], self.hidden_dim)
        if x.ndim == 0 or x.shape[-1] != self.input_dim or hidden.shape != shape:
            raise ValueError(
                f"{title(self)} expects an input (..., {self.input_dim}) and a state "
                f"(..., {self.hidden_dim}), got {x.shape} and {hidden.shape}."
            )


class LSTM(_Cell):
    """Long short-term memory, as `haiku.LSTM` (https://arxiv.org/abs/1409.2329).

    With the gates `i`, `g`, `f`, `o` of one linear map of input and hidden state, a step makes
    `cell = sigmoid(f + forget_gate_bias) * cell + sigmoid(i) * tanh(g)` and
    `hidden = sigmoid(o) * tanh(cell)`.

    Args:
        input_dim: size of the input.
        hidden_dim: size of the hidden state and of the output.
        w_init: makes the weight of the linear map; LeCun normal by default.
        forget_gate_bias: added to the forget gate; haiku adds 1.
        rng_key: key of the initializer; `next_rng_key()` by default.
        name: shown when the module is printed.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> lstm = pax.LSTM(3, 8)
        >>> state, y = lstm(lstm.initial_state(2), jnp.ones((2, 3)))
        >>> state.hidden.shape, state.cell.shape, y.shape
        ((2, 8), (2, 8), (2, 8))
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        w_init: Initializer | None = None,
        forget_gate_bias: float = 0.0,
        *,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_dim, hidden_dim, name)
        self.forget_gate_bias = forget_gate_bias
        sizes = (input_dim + hidden_dim, 4 * hidden_dim)
        self.fc = Linear(*sizes, w_init=w_init, rng_key=rng_key)

    def __call__(self, state: LSTMState, x: jax.Array) -> tuple[LSTMState, jax.Array]:
        """Take a step with an input `(..., input_dim)`: the new state and its `hidden`."""
        self._check(x, state.hidden)
        gates = self.fc(jnp.concatenate([x, state.hidden], axis=-1))
        i, g, f, o = jnp.split(gates, 4, axis=-1)
        forget = jax.nn.sigmoid(f + self.forget_gate_bias)
        cell = forget * state.cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
        return LSTMState(hidden, cell), hidden

    def initial_state(self, batch_size: int | None = None) -> LSTMState:
        """Return zeros `(batch_size, hidden_dim)`, or `(hidden_dim,)` without a batch."""
        return LSTMState(self._zeros(batch_size, self.fc), self._zeros(batch_size, self.fc))


class GRU(_Cell):
    """A gated recurrent unit, as `haiku.GRU` (https://arxiv.org/abs/1412.3555).

    With the gates `z` and `r`, sigmoids of a linear map of input and hidden state, a step makes
    `hidden = (1 - z) * hidden + z * tanh(linear(x, r * hidden))`.

    Args:
        input_dim: size of the input.
        hidden_dim: size of the hidden state and of the output.
        w_init: makes the weights of the linear maps; LeCun normal by default.
        rng_key: key of the initializers; `next_rng_key()` by default.
        name: shown when the module is printed.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> gru = pax.GRU(3, 8)
        >>> state, y = gru(gru.initial_state(2), jnp.ones((2, 3)))
        >>> state.hidden.shape, y.shape
        ((2, 8), (2, 8))
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        w_init: Initializer | None = None,
        *,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_dim, hidden_dim, name)
        gates, candidate = split_key(rng_key)
        size = input_dim + hidden_dim
        self.xh_zr_fc = Linear(size, 2 * hidden_dim, w_init=w_init, rng_key=gates)
        self.xh_h_fc = Linear(size, hidden_dim, w_init=w_init, rng_key=candidate)

    def __call__(self, state: GRUState, x: jax.Array) -> tuple[GRUState, jax.Array]:
        """Take a step with an input `(..., input_dim)`: the new state and its `hidden`."""
        hidden = state.hidden
        self._check(x, hidden)
        gates = jax.nn.sigmoid(self.xh_zr_fc(jnp.concatenate([x, hidden], axis=-1)))
        z, r = jnp.split(gates, 2, axis=-1)
        candidate = jnp.tanh(self.xh_h_fc(jnp.concatenate([x, r * hidden], axis=-1)))
        hidden = (1 - z) * hidden + z * candidate
        return GRUState(hidden), hidden

    def initial_state(self, batch_size: int | None = None) -> GRUState:
        """Return zeros `(batch_size, hidden_dim)`, or `(hidden_dim,)` without a batch."""
        return GRUState(self._zeros(batch_size, self.xh_h_fc))


class VanillaRNN(_Cell):
    """The plain recurrent cell `hidden = activation(linear(x) + linear(hidden))`.

    As `haiku.VanillaRNN`, and with `activation=jnp.tanh` as `flax.linen.SimpleCell`.

    Args:
        input_dim: size of the input.
        hidden_dim: size of the hidden state and of the output.
        w_init: makes the weights of the linear maps; LeCun normal by default.
        double_bias: whether the linear map of the hidden state has a bias too.
        activation: the function.
        rng_key: key of the initializers; `next_rng_key()` by default.
        name: shown when the module is printed.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> rnn = pax.VanillaRNN(3, 8)
        >>> state, y = rnn(rnn.initial_state(2), jnp.ones((2, 3)))
        >>> state.hidden.shape, y.shape
        ((2, 8), (2, 8))
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        w_init: Initializer | None = None,
        double_bias: bool = True,
        *,
        activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_dim, hidden_dim, name)
        first, second = split_key(rng_key)
        self.input_fc = Linear(input_dim, hidden_dim, w_init=w_init, rng_key=first)
        self.hidden_fc = Linear(hidden_dim, hidden_dim, double_bias, w_init, rng_key=second)
        self.activation = Lambda(activation)

    def __call__(self, state: VanillaRNNState, x: jax.Array) -> tuple[VanillaRNNState, jax.Array]:
        """Take a step with an input `(..., input_dim)`: the new state and its `hidden`."""
        self._check(x, state.hidden)
        hidden = self.activation(self.input_fc(x) + self.hidden_fc(state.hidden))
        return VanillaRNNState(hidden), hidden

    def initial_state(self, batch_size: int | None = None) -> VanillaRNNState:
        """Return zeros `(batch_size, hidden_dim)`, or `(hidden_dim,)` without a batch."""
        return VanillaRNNState(self._zeros(batch_size, self.hidden_fc))
