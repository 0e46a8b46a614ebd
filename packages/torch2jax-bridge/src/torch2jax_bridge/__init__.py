"""Zero-copy PyTorch inside jitted JAX, with derivatives and batching."""

from torch2jax_bridge._avals import dtype_j2t, dtype_t2j
from torch2jax_bridge._convert import j2t, t2j, tree_j2t, tree_t2j
from torch2jax_bridge._jax2torch.api import jax2torch
from torch2jax_bridge._jax2torch.module import JaxModule
from torch2jax_bridge._lowered.registry import lowering
from torch2jax_bridge._runtime.errors import ShapeInferenceError, original_exception
from torch2jax_bridge._runtime.memory import configure_memory
from torch2jax_bridge._torch2jax.api import torch2jax, torch2jax_with_vjp
from torch2jax_bridge._torch2jax.infer import Size

__version__ = "1.0.0.dev0"

__all__ = [
    "JaxModule",
    "ShapeInferenceError",
    "Size",
    "configure_memory",
    "dtype_j2t",
    "dtype_t2j",
    "j2t",
    "jax2torch",
    "lowering",
    "original_exception",
    "t2j",
    "torch2jax",
    "torch2jax_with_vjp",
    "tree_j2t",
    "tree_t2j",
]
