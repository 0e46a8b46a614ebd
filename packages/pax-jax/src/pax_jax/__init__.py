"""Stateful modules that are pytrees, for JAX."""

import typing as _typing

from pax_jax import checkpoint, experimental, haiku, nets, nn, optim, sharding, utils, weights
from pax_jax._gone import missing as _missing
from pax_jax._interop.equinox import from_equinox
from pax_jax._interop.flax import from_flax
from pax_jax._interop.haiku import from_haiku
from pax_jax._interop.torch import from_torch
from pax_jax._module.calls import module_and_value, mutable, pure, purecall
from pax_jax._module.compare import assert_structure_equal
from pax_jax._module.modes import (
    enable_eval_mode,
    enable_train_mode,
    freeze_parameters,
    unfreeze_parameters,
)
from pax_jax._module.module import LazyModule, Module, Optimizer, ParameterModule, StateModule
from pax_jax._module.scope import LostChangeWarning, ScopeError
from pax_jax._module.tied import Shared
from pax_jax._module.trees import parameters_method, select_parameters, update_parameters
from pax_jax._precision import apply_mp_policy, unwrap_mp_policy
from pax_jax._rng import RngSeq, next_rng_key, seed_rng_key
from pax_jax._transforms.branches import cond, switch
from pax_jax._transforms.grad import build_update_fn, grad, value_and_grad
from pax_jax._transforms.jit import jit
from pax_jax._transforms.loops import fori_loop, map, scan, while_loop
from pax_jax._transforms.remat import remat
from pax_jax._transforms.vmap import vmap
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
    Stack,
    VanillaRNN,
    VanillaRNNState,
    avg_pool,
    dropout,
    initializers,
    lora,
    max_pool,
    merge_lora,
    quantize_int8,
    rotary_embedding,
)

__version__ = "1.0.0.dev0"

if not _typing.TYPE_CHECKING:  # to a type checker every name would exist

    def __getattr__(name: str) -> object:
        """Say what takes the place of a name of older releases of Pax."""
        raise _missing(name)


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
    "LostChangeWarning",
    "Module",
    "MultiHeadAttention",
    "Optimizer",
    "ParameterModule",
    "RMSNorm",
    "RngSeq",
    "ScopeError",
    "Sequential",
    "Shared",
    "Stack",
    "StateModule",
    "VanillaRNN",
    "VanillaRNNState",
    "apply_mp_policy",
    "assert_structure_equal",
    "avg_pool",
    "build_update_fn",
    "checkpoint",
    "cond",
    "dropout",
    "enable_eval_mode",
    "enable_train_mode",
    "experimental",
    "fori_loop",
    "freeze_parameters",
    "from_equinox",
    "from_flax",
    "from_haiku",
    "from_torch",
    "grad",
    "haiku",
    "initializers",
    "jit",
    "lora",
    "map",
    "max_pool",
    "merge_lora",
    "module_and_value",
    "mutable",
    "nets",
    "next_rng_key",
    "nn",
    "optim",
    "parameters_method",
    "pure",
    "purecall",
    "quantize_int8",
    "remat",
    "rotary_embedding",
    "scan",
    "seed_rng_key",
    "select_parameters",
    "sharding",
    "switch",
    "unfreeze_parameters",
    "unwrap_mp_policy",
    "update_parameters",
    "utils",
    "value_and_grad",
    "vmap",
    "weights",
    "while_loop",
]
