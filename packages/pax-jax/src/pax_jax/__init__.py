"""Stateful modules that are pytrees, for JAX."""

from __future__ import annotations

from pax_jax import checkpoint, experimental, haiku, nets, nn, optim, sharding, weights
from pax_jax._from_equinox import from_equinox
from pax_jax._from_flax import from_flax
from pax_jax._from_haiku import from_haiku
from pax_jax._from_torch import from_torch
from pax_jax._grad import grad, value_and_grad
from pax_jax._jit import jit
from pax_jax._lazy import LazyModule
from pax_jax._mixed_precision import apply_mp_policy, unwrap_mp_policy
from pax_jax._modes import (
    enable_eval_mode,
    enable_train_mode,
    freeze_parameters,
    unfreeze_parameters,
)
from pax_jax._module import Module, ParameterModule, StateModule
from pax_jax._mutable import mutable
from pax_jax._optimizer import Optimizer
from pax_jax._pure import module_and_value, pure, purecall
from pax_jax._rng import next_rng_key, seed_rng_key
from pax_jax._rng_seq import RngSeq
from pax_jax._scan import scan
from pax_jax._shared import Shared
from pax_jax._structure import assert_structure_equal
from pax_jax._trees import parameters_method, select_parameters, update_parameters
from pax_jax._update_fn import build_update_fn
from pax_jax.nn import (
    EMA,
    GRU,
    LSTM,
    BatchNorm1D,
    BatchNorm2D,
    BatchNorm3D,
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    Conv3DTranspose,
    Dropout,
    Embed,
    GroupNorm,
    GRUState,
    Identity,
    InstanceNorm,
    KeyValueCache,
    Lambda,
    LayerNorm,
    Linear,
    LSTMState,
    MultiHeadAttention,
    RMSNorm,
    Sequential,
    VanillaRNN,
    VanillaRNNState,
    avg_pool,
    dropout,
    initializers,
    max_pool,
    rotary_embedding,
)

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
    "LazyModule",
    "Linear",
    "Module",
    "MultiHeadAttention",
    "Optimizer",
    "ParameterModule",
    "RMSNorm",
    "RngSeq",
    "Sequential",
    "Shared",
    "StateModule",
    "VanillaRNN",
    "VanillaRNNState",
    "apply_mp_policy",
    "assert_structure_equal",
    "avg_pool",
    "build_update_fn",
    "checkpoint",
    "dropout",
    "enable_eval_mode",
    "enable_train_mode",
    "experimental",
    "freeze_parameters",
    "from_equinox",
    "from_flax",
    "from_haiku",
    "from_torch",
    "grad",
    "haiku",
    "initializers",
    "jit",
    "max_pool",
    "module_and_value",
    "mutable",
    "nets",
    "next_rng_key",
    "nn",
    "optim",
    "parameters_method",
    "pure",
    "purecall",
    "rotary_embedding",
    "scan",
    "seed_rng_key",
    "select_parameters",
    "sharding",
    "unfreeze_parameters",
    "unwrap_mp_policy",
    "update_parameters",
    "value_and_grad",
    "weights",
]
