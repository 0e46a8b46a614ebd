"""Zero-copy PyTorch inside jitted JAX, with derivatives and batching."""

from __future__ import annotations

from torch2jax_bridge._convert import j2t, t2j, tree_j2t, tree_t2j
from torch2jax_bridge._dtypes import dtype_j2t, dtype_t2j
from torch2jax_bridge._errors import original_exception
from torch2jax_bridge._jax2torch import jax2torch
from torch2jax_bridge._jax2torch_module import JaxModule
from torch2jax_bridge._memory import configure_memory
from torch2jax_bridge._shapes import ShapeInferenceError, Size
from torch2jax_bridge._torch2jax import torch2jax
from torch2jax_bridge._with_vjp import torch2jax_with_vjp

__all__ = [
    "JaxModule",
    "ShapeInferenceError",
    "Size",
    "configure_memory",
    "dtype_j2t",
    "dtype_t2j",
    "j2t",
    "jax2torch",
    "original_exception",
    "t2j",
    "torch2jax",
    "torch2jax_with_vjp",
    "tree_j2t",
    "tree_t2j",
]
