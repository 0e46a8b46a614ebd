"""Programs whose sizes are open: which programs a call may have, and for which sizes one holds."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from torch import Tensor

Sizes = list[int]


def sizes_of(tensors: Sequence[Tensor]) -> Sizes:
    """Return all sizes of the tensors, in order."""
    return [size for tensor in tensors for size in tensor.shape]


def form_of(tensor: Tensor) -> Hashable:
    """Return what is fixed of a tensor in a program with open sizes.

    Its number of axes, those of size 0 and 1 and the order of the axes in memory are; of tensors with
    gaps in memory all sizes are.
    """
    small = tuple([min(size, 2) for size in tensor.shape])
    return small, tensor.dtype, tensor.device, _layout(tensor)


def _layout(tensor: Tensor) -> Hashable:
    if tensor.is_contiguous():
        return None
    strides = tensor.stride()
    order = sorted(range(tensor.dim()), key=lambda axis: -strides[axis])
    return tuple(order) if tensor.permute(order).is_contiguous() else (tensor.shape, strides)
