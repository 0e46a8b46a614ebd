"""One GPU's memory for two allocators."""

from __future__ import annotations

import os
from typing import Any

import torch

from torch2jax_bridge._compat import has_started

FRACTION = "XLA_CLIENT_MEM_FRACTION"
OLD_FRACTION = "XLA_PYTHON_CLIENT_MEM_FRACTION"
PREALLOCATE = "XLA_PYTHON_CLIENT_PREALLOCATE"


def configure_memory(
    jax_fraction: float = 0.5,
    torch_fraction: float | None = None,
    *,
    preallocate: bool = False,
    cuda: Any = torch.cuda,
) -> None:
    """Share the memory of each GPU between JAX and PyTorch. Call it before JAX's first computation.

    JAX takes three quarters of a GPU's memory when it starts, which leaves PyTorch little for its
    temporaries; and neither of them gives memory back that it does not use now.

    Args:
        jax_fraction: what JAX may take of each GPU's memory, between 0 and 1.
        torch_fraction: what PyTorch may take; None is the rest.
        preallocate: whether JAX takes its part when it starts, so that it is in one piece, or by
            and by.
        cuda: the module to use; tests pass a stand-in for `torch.cuda`.

    Raises:
        ValueError: a fraction is not between 0 and 1, or both are more than 1 together.
        RuntimeError: JAX has started already.

    Example:
        >>> import jax
        >>> try:
        ...     configure_memory(0.7)
        ... except RuntimeError as error:  # something has used JAX before
        ...     assert "call configure_memory before" in str(error)
    """
    rest = 1.0 - jax_fraction if torch_fraction is None else torch_fraction
    if not (0.0 < jax_fraction < 1.0 and 0.0 < rest < 1.0 and jax_fraction + rest <= 1.0 + 1e-9):
        raise ValueError(
            f"jax_fraction is {jax_fraction} and torch_fraction {torch_fraction}; "
            "expected fractions between 0 and 1 that make at most 1 together."
        )
    if has_started():
        raise RuntimeError("JAX has started already; call configure_memory before anything of JAX.")
    os.environ.pop(OLD_FRACTION, None)
    os.environ[FRACTION] = str(jax_fraction)
    os.environ[PREALLOCATE] = "true" if preallocate else "false"
    if cuda.is_available():
        for device in range(cuda.device_count()):
            cuda.set_per_process_memory_fraction(rest, device)
