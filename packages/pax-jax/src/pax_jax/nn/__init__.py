"""Layers."""

from pax_jax.nn import initializers
from pax_jax.nn._adapters import lora, merge_lora, quantize_int8
from pax_jax.nn._attention import KeyValueCache, MultiHeadAttention, rotary_embedding
from pax_jax.nn._conv import (
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    Conv3DTranspose,
)
from pax_jax.nn._dropout import Dropout, dropout
from pax_jax.nn._ema import EMA
from pax_jax.nn._embed import Embed
from pax_jax.nn._lambda import Identity, Lambda
from pax_jax.nn._linear import Linear
from pax_jax.nn._norm import (
    BatchNorm1D,
    BatchNorm2D,
    BatchNorm3D,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    RMSNorm,
)
from pax_jax.nn._pool import avg_pool, max_pool
from pax_jax.nn._recurrent import GRU, LSTM, GRUState, LSTMState, VanillaRNN, VanillaRNNState
from pax_jax.nn._sequential import Sequential
from pax_jax.nn._stack import Stack

__all__ = [
    "EMA",
    "GRU",
    "LSTM",
    "BatchNorm1D",
    "BatchNorm2D",
    "BatchNorm3D",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "Dropout",
    "Embed",
    "GRUState",
    "GroupNorm",
    "Identity",
    "InstanceNorm",
    "KeyValueCache",
    "LSTMState",
    "Lambda",
    "LayerNorm",
    "Linear",
    "MultiHeadAttention",
    "RMSNorm",
    "Sequential",
    "Stack",
    "VanillaRNN",
    "VanillaRNNState",
    "avg_pool",
    "dropout",
    "initializers",
    "lora",
    "max_pool",
    "merge_lora",
    "quantize_int8",
    "rotary_embedding",
]
