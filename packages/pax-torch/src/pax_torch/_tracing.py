"""What code that may itself be compiled asks of how it runs."""

from __future__ import annotations

import torch

from pax_torch._compat import is_without_values, transforms_active


def values_are_hidden() -> bool:
    """Whether the values of tensors cannot be read now: transformed, traced or compiled."""
    return torch.compiler.is_compiling() or transforms_active() or is_without_values()


def refuse_compile(name: str, why: str) -> None:
    """Raise NotImplementedError in a function that was given to `torch.compile` itself."""
    if torch.compiler.is_compiling():
        raise NotImplementedError(
            f"{name}: torch.compile {why}; compile the function with pax_torch.jit."
        )
