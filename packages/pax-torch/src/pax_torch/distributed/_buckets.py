"""Many small tensors as few large ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def buckets(tensors: Sequence[Tensor], size: int) -> Iterator[list[int]]:
    """Yield groups of places, each of tensors of one dtype on one device, of about `size` bytes.

    Every process comes to the same groups, since they depend on dtypes, shapes and order alone.
    """
    open_groups: dict[tuple[torch.dtype, torch.device], tuple[list[int], int]] = {}
    for i, tensor in enumerate(tensors):
        kind = tensor.dtype, tensor.device
        group, filled = open_groups.pop(kind, ([], 0))
        group.append(i)
        filled += tensor.numel() * tensor.element_size()
        if filled >= size:
            yield group
        else:
            open_groups[kind] = group, filled
    for group, _ in open_groups.values():
        yield group


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """Return a new vector with all elements."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def parted(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Take apart what `joined` put together, into memory of each tensor's own."""
    if len(like) == 1:
        return [vector.view(like[0].shape)]
    parts = vector.split([tensor.numel() for tensor in like])
    return [part.view(tensor.shape).clone() for part, tensor in zip(parts, like, strict=True)]
