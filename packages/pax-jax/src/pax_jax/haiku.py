"""Layers of dm-haiku as modules, made without an example of their inputs.

Each function takes the sizes that haiku infers, and the arguments of the haiku module.
"""

from pax_jax._interop.haiku_layers import (
    avg_pool,
    batch_norm_2d,
    conv_1d,
    conv_1d_transpose,
    conv_2d,
    conv_2d_transpose,
    dynamic_unroll,
    embed,
    gru,
    layer_norm,
    linear,
    lstm,
    max_pool,
)

__all__ = [
    "avg_pool",
    "batch_norm_2d",
    "conv_1d",
    "conv_1d_transpose",
    "conv_2d",
    "conv_2d_transpose",
    "dynamic_unroll",
    "embed",
    "gru",
    "layer_norm",
    "linear",
    "lstm",
    "max_pool",
]
