"""Which operators PyTorch computes faster than XLA, as measured: `backend="auto"` calls them."""

from __future__ import annotations

from collections.abc import Callable

from torch2jax_bridge._lowered.program import Step

# Operator -> the platforms on which its call is faster.
_FASTER: dict[str, tuple[str, ...]] = {"aten::convolution": ("cpu",)}


def is_faster_in_torch(platform: str) -> Callable[[Step], bool]:
    """Return what says of a step whether PyTorch is to compute it on a platform."""
    return lambda step: platform in _FASTER.get(step.name, ())
