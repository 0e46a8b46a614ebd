"""Layers of recurrent networks, as loops over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from torch2jax_bridge._lowered.registry import lowering

Array = jax.Array
State = tuple[Array, ...]


def _lstm(state: State, fed: Array, kept: Array) -> State:
    update, forget, new, out = jnp.split(fed + kept, 4, -1)
    cell = jax.nn.sigmoid(forget) * state[1] + jax.nn.sigmoid(update) * jnp.tanh(new)
    return jax.nn.sigmoid(out) * jnp.tanh(cell), cell


def _gru(state: State, fed: Array, kept: Array) -> State:
    size = state[0].shape[-1]
    gates = jax.nn.sigmoid(fed[..., : 2 * size] + kept[..., : 2 * size])
    reset, update = jnp.split(gates, 2, -1)
    new = jnp.tanh(fed[..., 2 * size :] + reset * kept[..., 2 * size :])
    return (new + update * (state[0] - new),)


_STEPS: dict[str, Callable[[State, Array, Array], State]] = {
    "lstm": _lstm,
    "gru": _gru,
    "tanh": lambda state, fed, kept: (jnp.tanh(fed + kept),),
    "relu": lambda state, fed, kept: (jax.nn.relu(fed + kept),),
}


@lowering("torch2jax_bridge::recurrent_layer")
def recurrent_layer(
    x: Array, state: list[Array], weights: list[Array], kind: str, backwards: bool
) -> Any:
    of_input, of_state, *rest = weights
    projection = rest.pop() if len(rest) % 2 else None
    bias, bias_of_state = rest or (0, 0)

    def step(state: State, fed: Array) -> tuple[State, Array]:
        first, *others = _STEPS[kind](state, fed, state[0] @ of_state.T + bias_of_state)
        if projection is not None:
            first = first @ projection.T
        return (first, *others), first

    last, outs = lax.scan(step, tuple(state), x @ of_input.T + bias, reverse=backwards)
    return (outs, *last)
