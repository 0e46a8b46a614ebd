"""Weights of modules as PyTorch's state dicts and as safetensors files."""

from pax_jax._module.partial import LoadReport
from pax_jax._weights import load_partial, load_safetensors, load_torch, save_safetensors, to_torch

__all__ = [
    "LoadReport",
    "load_partial",
    "load_safetensors",
    "load_torch",
    "save_safetensors",
    "to_torch",
]
