"""Operators of our own, which stand in a recording for what PyTorch has no operator for."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

NAMESPACE = "torch2jax_bridge"


@cache
def _library() -> torch.library.Library:
    library = torch.library.Library(NAMESPACE, "FRAGMENT")
    library.define("apply(Tensor[] tensors, int number) -> Tensor[]")
    library.define("keep_gradient(Tensor old, Tensor new) -> Tensor")
    torch.library.register_fake(f"{NAMESPACE}::keep_gradient", _like_new, lib=library)
    return library


def _like_new(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(new)


@cache
def custom_operator() -> Any:
    """Return the operator that stands for a call of a `torch.autograd.Function`, by its number."""
    _library()
    return torch.ops.torch2jax_bridge.apply.default


@cache
def keep_gradient() -> Any:
    """Return the operator for what was written without gradients: a new value, the old derivative."""
    _library()
    return torch.ops.torch2jax_bridge.keep_gradient.default
