"""How PyTorch names and lays out the weights of each layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pax_jax import nn
from pax_jax.nn._conv import ConvND, ConvNDTranspose
from pax_jax.nn._norm import BatchNorm, Norm

Arrays = dict[str, jax.Array]
Get = Callable[[str], Any]


class TorchLayout(NamedTuple):
    """The two ways between a layer and the tensors that the same layer of PyTorch has.

    `to(layer)` returns these tensors by name; `back(layer, get)` returns children of the layer by
    attribute, made of what `get(name)` returns.
    """

    to: Callable[[Any], Arrays]
    back: Callable[[Any, Get], dict[str, Any]]


def _renamed(**names: str) -> TorchLayout:
    """Make the layout of a layer whose arrays have other names there."""

    def to(layer: Any) -> Arrays:
        pairs = ((there, getattr(layer, here)) for here, there in names.items())
        return {there: array for there, array in pairs if array is not None}

    def back(layer: Any, get: Get) -> dict[str, Any]:
        return {
            here: get(there) for here, there in names.items() if getattr(layer, here) is not None
        }

    return TorchLayout(to, back)


def _with_weight(
    to_there: Callable[[Any], Any], from_there: Callable[[Any], Any], **names: str
) -> TorchLayout:
    """Make the layout of a layer whose weight has its axes in another order there."""
    plain = _renamed(weight="weight", bias="bias", **names)

    def to(layer: Any) -> Arrays:
        tensors = plain.to(layer)
        return {**tensors, "weight": to_there(tensors["weight"])}

    def back(layer: Any, get: Get) -> dict[str, Any]:
        arrays = plain.back(layer, get)
        return {**arrays, "weight": from_there(arrays["weight"])}

    return TorchLayout(to, back)


def _transposed(weight: Any) -> Any:
    return weight.T


def _channels_first(weight: Any) -> Any:
    """Return `(out, in, ...)` of a window `(..., in, out)`."""
    return jnp.transpose(weight, (weight.ndim - 1, weight.ndim - 2, *range(weight.ndim - 2)))


def _channels_last(weight: Any) -> Any:
    return jnp.transpose(weight, (*range(2, weight.ndim), 1, 0))


def _turned(weight: Any) -> Any:
    """Return a window with its spatial axes, all but the first two, turned around."""
    return jnp.flip(weight, tuple(range(2, weight.ndim)))


def _batch_norm_to(layer: Any) -> Arrays:
    # What PyTorch counts is used only by layers without a decay rate, which do not exist here.
    return {**_BATCH_NORM.to(layer), "num_batches_tracked": jnp.zeros((), jnp.int32)}


def _batch_norm_back(layer: Any, get: Get) -> dict[str, Any]:
    get("num_batches_tracked")
    return {**_BATCH_NORM.back(layer, get), "ema_weight": jnp.ones_like(layer.ema_weight)}


_BATCH_NORM = _renamed(
    scale="weight", offset="bias", ema_mean="running_mean", ema_var="running_var"
)


def _attention_to(layer: Any) -> Arrays:
    projections = (layer.query, layer.key, layer.value)
    tensors = {"in_proj_weight": jnp.concatenate([part.weight.T for part in projections])}
    tensors["out_proj.weight"] = layer.output.weight.T
    if layer.output.bias is not None:
        tensors["in_proj_bias"] = jnp.concatenate([part.bias for part in projections])
        tensors["out_proj.bias"] = layer.output.bias
    return tensors


def _attention_back(layer: Any, get: Get) -> dict[str, Any]:
    weights = jnp.split(get("in_proj_weight"), 3)
    biases: Any = [None] * 3
    output = {"weight": get("out_proj.weight").T}
    if layer.output.bias is not None:
        biases = jnp.split(get("in_proj_bias"), 3)
        output["bias"] = get("out_proj.bias")
    parts = zip(("query", "key", "value"), weights, biases, strict=True)
    projections = {
        name: getattr(layer, name).replace(weight=weight.T, bias=bias)
        for name, weight, bias in parts
    }
    return {**projections, "output": layer.output.replace(**output)}


def _lstm_to(layer: Any) -> Arrays:
    weight, bias = _gates_to(layer.fc.weight.T), _gates_to(layer.fc.bias)
    forget = jnp.zeros_like(bias).at[layer.hidden_dim : 2 * layer.hidden_dim].set(1.0)
    return {
        "weight_ih": weight[:, : layer.input_dim],
        "weight_hh": weight[:, layer.input_dim :],
        "bias_ih": bias + layer.forget_gate_bias * forget,
        "bias_hh": jnp.zeros_like(bias),
    }


def _lstm_back(layer: Any, get: Get) -> dict[str, Any]:
    weight = jnp.concatenate([get("weight_ih"), get("weight_hh")], axis=1)
    bias = get("bias_ih") + get("bias_hh")
    forget = jnp.zeros_like(bias).at[layer.hidden_dim : 2 * layer.hidden_dim].set(1.0)
    bias = bias - layer.forget_gate_bias * forget
    return {"fc": layer.fc.replace(weight=_gates_to(weight).T, bias=_gates_to(bias))}


def _gates_to(array: Any) -> Any:
    """Swap the second and the third quarter: the gates are i, g, f, o here and i, f, g, o there."""
    first, second, third, last = jnp.split(array, 4)
    return jnp.concatenate([first, third, second, last])


# The first class that a layer is of decides.
LAYOUTS: list[tuple[type, TorchLayout]] = [
    (nn.Linear, _with_weight(_transposed, _transposed)),
    (
        ConvNDTranspose,
        _with_weight(lambda w: _turned(_channels_first(w)), lambda w: _channels_last(_turned(w))),
    ),
    (ConvND, _with_weight(_channels_first, _channels_last)),
    (BatchNorm, TorchLayout(_batch_norm_to, _batch_norm_back)),
    (Norm, _renamed(scale="weight", offset="bias")),
    (nn.RMSNorm, _renamed(scale="weight")),
    (nn.MultiHeadAttention, TorchLayout(_attention_to, _attention_back)),
    (nn.LSTM, TorchLayout(_lstm_to, _lstm_back)),
]
"""Classes of layers and their layouts; other arrays have their own names, and axes, there too."""
