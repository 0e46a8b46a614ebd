"""`torch.func.vmap` for a list of tensors: without its trees, a call takes half the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch._C import _functorch  # pyright: ignore[reportAttributeAccessIssue]
from torch._functorch import vmap as _torch_vmap

Randomness = Literal["error", "different", "same"]
Call = Callable[[int, Sequence[Tensor]], tuple[Tensor, ...]]


def map_tensors(
    call: Call,
    tensors: Sequence[Tensor],
    axes: Sequence[int],
    size: int,
    randomness: Randomness,
    chunk_size: int | None,
) -> tuple[Tensor, ...]:
    """Return what a function returns for every element, along axis 0.

    Args:
        call: takes the level of `torch.func` that it runs at, and the elements.
        tensors: where they come from.
        axes: the axis of each tensor to map over; valid.
        size: the length of these axes.
        randomness: as in `torch.func.vmap`.
        chunk_size: how many elements to compute at a time.
    """
    if chunk_size is not None and size <= chunk_size:
        chunk_size = None
    if chunk_size is None and not torch.compiler.is_compiling():
        return _at_once(call, tensors, axes, size, randomness)

    def counted(counter: Tensor, *mapped: Tensor) -> tuple[Tensor, ...]:
        return call(_functorch.maybe_get_level(counter), mapped)

    # The first argument says how many there are, also where nothing else is mapped.
    mapped: Any = torch.func.vmap(counted, (0, *axes), randomness=randomness, chunk_size=chunk_size)
    return mapped(torch.empty(size, 0), *tensors)


def _at_once(
    call: Call, tensors: Sequence[Tensor], axes: Sequence[int], size: int, randomness: Randomness
) -> tuple[Tensor, ...]:
    """Return what `torch.func.vmap` does once it has flattened and checked its arguments."""
    _torch_vmap.lazy_load_decompositions()  # pyright: ignore[reportPrivateImportUsage]
    level = _functorch._vmap_increment_nesting(size, randomness)
    try:
        elements = [
            _functorch._add_batch_dim(tensor, axis % tensor.ndim, level)
            for tensor, axis in zip(tensors, axes, strict=True)
        ]
        return tuple(
            _functorch._remove_batch_dim(result, level, size, 0) for result in call(level, elements)
        )
    finally:
        _functorch._vmap_decrement_nesting()
