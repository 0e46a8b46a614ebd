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
    library.define(
        "recurrent_layer(Tensor x, Tensor[] state, Tensor[] weights, str kind, bool backwards)"
        " -> Tensor[]"
    )
    for name, fake in (("keep_gradient", _like_new), ("recurrent_layer", _like_layer)):
        torch.library.register_fake(f"{NAMESPACE}::{name}", fake, lib=library)
    return library


def _like_new(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(new)


def _like_layer(
    x: torch.Tensor,
    state: list[torch.Tensor],
    weights: list[torch.Tensor],
    kind: str,
    backwards: bool,
) -> list[torch.Tensor]:
    out = x.new_empty(*x.shape[:-1], state[0].shape[-1])
    return [out, *map(torch.empty_like, state)]


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


@cache
def recurrent_layer() -> Any:
    """Return the operator for one layer of a recurrent network, in one direction."""
    _library()
    return torch.ops.torch2jax_bridge.recurrent_layer.default
