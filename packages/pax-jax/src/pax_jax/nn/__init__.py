"""Layers."""

from . import initializers
from ._attention import KeyValueCache, MultiHeadAttention
from ._batch_norm import BatchNorm1D, BatchNorm2D, BatchNorm3D
from ._conv import Conv1D, Conv2D, Conv3D
from ._conv_transpose import Conv1DTranspose, Conv2DTranspose, Conv3DTranspose
from ._dropout import Dropout, dropout
from ._ema import EMA
from ._embed import Embed
from ._group_norm import GroupNorm, InstanceNorm
from ._identity import Identity
from ._lambda import Lambda
from ._layer_norm import LayerNorm, RMSNorm
from ._linear import Linear
from ._pool import avg_pool, max_pool
from ._recurrent import GRU, LSTM, GRUState, LSTMState, VanillaRNN, VanillaRNNState
from ._rotary import rotary_embedding
from ._sequential import Sequential

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
    "VanillaRNN",
    "VanillaRNNState",
    "avg_pool",
    "dropout",
    "initializers",
    "max_pool",
    "rotary_embedding",
]
