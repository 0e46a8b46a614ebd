"""What `debug=True` looks for around each run of a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from torch2jax_bridge._runtime import Tensors


def watched(
    call: Callable[..., Any], names: Sequence[str], written: Sequence[bool]
) -> Callable[..., Any]:
    """Return the function of flat tensors, which raises when it changes an argument or makes a NaN.

    Args:
        call: the function.
        names: what messages call its arguments; those beyond have numbers only.
        written: which arguments it may change.
    """

    def run(*tensors: torch.Tensor) -> Any:
        before = [_bytes(tensor).clone() for tensor in tensors]
        clean = not any(map(_has_nan, tensors))
        results = call(*tensors)
        for i, (tensor, old) in enumerate(zip(tensors, before, strict=True)):
            if i < len(written) and written[i]:
                continue
            if tensor.nbytes != old.numel() or not torch.equal(_bytes(tensor), old):
                raise ValueError(f"the function changed {label(names, i)} in place")
        if clean:
            _check_nan(results if isinstance(results, tuple) else (results,))
        return results

    return run


def label(names: Sequence[str], index: int) -> str:
    """Return what messages call an argument."""
    name = f" ({names[index]})" if index < len(names) else ""
    return f"its array argument number {index}{name}"


def _check_nan(results: Tensors) -> None:
    for i, result in enumerate(results):
        if isinstance(result, torch.Tensor) and _has_nan(result):
            raise FloatingPointError(
                f"result {i} has a NaN, and no argument has one; torch.autograd.detect_anomaly or "
                "a debugger in the function shows where it comes from"
            )


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _has_nan(tensor: torch.Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return False
    values = tensor.float() if tensor.itemsize == 1 else tensor
    return bool(values.isnan().any())
