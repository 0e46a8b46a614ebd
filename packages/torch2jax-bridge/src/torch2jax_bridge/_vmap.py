"""`torch.func.vmap` without its trees: half of its time for small functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

from torch2jax_bridge._runtime import Tensors

Call = Callable[..., Tensors]


def vmap(call: Call, batched: Sequence[bool], size: int, randomness: str) -> Call:
    """Return the function of flat tensors for every element along axis 0, as in `torch.func.vmap`.

    Args:
        call: returns a tuple of tensors.
        batched: which arguments have the axis.
        size: its length.
        randomness: "error", "different" or "same".
    """
    functorch: Any = _functorch()
    if functorch is None or size == 0:
        in_dims = tuple(0 if on else None for on in batched)
        return torch.func.vmap(call, in_dims=in_dims, randomness=randomness)
    add, remove = functorch._add_batch_dim, functorch._remove_batch_dim

    def run(*tensors: torch.Tensor) -> Tensors:
        level = functorch._vmap_increment_nesting(size, randomness)
        try:
            pairs = zip(tensors, batched, strict=True)
            outs = call(*(add(t, 0, level) if on else t for t, on in pairs))
            return tuple(remove(out, level, size, 0) for out in outs)
        finally:
            functorch._vmap_decrement_nesting()

    return run


@cache
def _functorch() -> Any:
    """Return the private module that `torch.func.vmap` is made of, if it is as it was."""
    torch.func.vmap(torch.neg)(torch.zeros(1))  # loads its decompositions
    functorch = getattr(torch._C, "_functorch", None)
    wanted = ("_add_batch_dim", "_remove_batch_dim")
    nesting = ("_vmap_increment_nesting", "_vmap_decrement_nesting")
    return functorch if all(hasattr(functorch, name) for name in wanted + nesting) else None
