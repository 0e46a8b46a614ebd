"""LSTMs, GRUs and simple recurrent networks, recorded by layers: XLA runs each in a loop over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from torch2jax_bridge._lowered.operators import recurrent_layer

_functions: Any = torch.nn.functional


class _Recurrent(NamedTuple):
    """The arguments of `torch.lstm` and its like, for sequences of one length."""

    input: torch.Tensor
    state: Any
    weights: Sequence[torch.Tensor]
    has_biases: bool
    num_layers: int
    dropout: float
    training: bool
    bidirectional: bool
    batch_first: bool


def _by_layers(function: Callable[..., Any], kind: str, *args: Any, **kwargs: Any) -> Any:
    """Call a function such as `torch.lstm`, one layer after the other.

    Packed sequences, automatic casts and what `torch.func` differentiates are left to PyTorch.
    """
    of_one_length = len(args) == 9 and isinstance(args[2], list | tuple)
    if kwargs or not of_one_length or torch.is_autocast_enabled(args[0].device.type):
        return function(*args, **kwargs)
    net = _Recurrent(*args)
    states = [net.state] if isinstance(net.state, torch.Tensor) else list(net.state)
    if any(x.requires_grad for x in (net.input, *states, *net.weights)):
        return function(*args)
    x = net.input.transpose(0, 1) if net.batch_first else net.input
    x, last = _layers(net, kind, x, states)
    out = x.transpose(0, 1) if net.batch_first else x
    return (out, *map(torch.stack, zip(*last, strict=True)))


def _layers(
    net: _Recurrent, kind: str, x: torch.Tensor, states: list[torch.Tensor]
) -> tuple[torch.Tensor, list[list[torch.Tensor]]]:
    """Return the output of the last layer, and the last state of each layer and direction."""
    last = []
    directions = 2 if net.bidirectional else 1
    count = len(net.weights) // (net.num_layers * directions)
    for layer in range(net.num_layers):
        outs = []
        for place in range(layer * directions, (layer + 1) * directions):
            weights = list(net.weights[place * count : (place + 1) * count])
            state = [each[place] for each in states]
            backwards = place % directions == 1
            out, *after = recurrent_layer()(x, state, weights, kind, backwards)
            outs.append(out)
            last.append(after)
        x = torch.cat(outs, -1)
        if net.dropout and net.training and layer < net.num_layers - 1:
            x = _functions.dropout(x, net.dropout)
    return x, last


def _lstm_cell(
    input: torch.Tensor,
    hx: Sequence[torch.Tensor],
    w_ih: torch.Tensor,
    w_hh: torch.Tensor,
    b_ih: torch.Tensor | None = None,
    b_hh: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`torch.lstm_cell`, which writes into parts of its gates, without writes."""
    hidden, cell = hx
    gates = _functions.linear(hidden, w_hh, b_hh) + _functions.linear(input, w_ih, b_ih)
    write, forget, new, read = gates.chunk(4, 1)
    cell = forget.sigmoid() * cell + write.sigmoid() * new.tanh()
    return read.sigmoid() * cell.tanh(), cell


def _gru_cell(
    input: torch.Tensor,
    hx: torch.Tensor,
    w_ih: torch.Tensor,
    w_hh: torch.Tensor,
    b_ih: torch.Tensor | None = None,
    b_hh: torch.Tensor | None = None,
) -> torch.Tensor:
    """`torch.gru_cell`, which writes into parts of its gates, without writes."""
    of_input = _functions.linear(input, w_ih, b_ih).chunk(3, 1)
    of_state = _functions.linear(hx, w_hh, b_hh).chunk(3, 1)
    reset, keep = ((x + y).sigmoid() for x, y in zip(of_input[:2], of_state[:2], strict=True))
    new = (of_input[2] + of_state[2] * reset).tanh()
    return (hx - new) * keep + new


RECURRENT: dict[Any, Callable[..., Any]] = {
    torch.lstm_cell: _lstm_cell,
    torch.gru_cell: _gru_cell,
}
RECURRENT |= {
    function: partial(_by_layers, function, kind)
    for function, kind in (
        (torch.lstm, "lstm"),
        (torch.gru, "gru"),
        (torch.rnn_tanh, "tanh"),
        (torch.rnn_relu, "relu"),
    )
}
