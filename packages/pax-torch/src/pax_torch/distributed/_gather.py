"""Parameters in parts over processes, gathered for a call, whose gradients are means in the same parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._compat import gathered_vector, scattered_sum


def gathered(shards: Sequence[Any]) -> list[Tensor]:
    """Return the whole tensors of `DTensor`s of one mesh, on which the gradient is a mean over it.

    Those whose first axis is divided over a mesh of one axis travel together: once here, and once in
    the backward pass, as with `torch.distributed.fsdp.fully_shard`.
    """
    from torch.distributed.tensor import Shard

    alone = [x.device_mesh.ndim > 1 or x.placements != (Shard(0),) for x in shards]
    wholes: list[Any] = [
        _whole(x) if by_itself else None for x, by_itself in zip(shards, alone, strict=True)
    ]
    kinds: dict[Any, list[int]] = {}
    for i, shard in enumerate(shards):
        if not alone[i]:
            kinds.setdefault((shard.dtype, shard.device_mesh), []).append(i)
    for places in kinds.values():
        for i, whole in zip(places, _together([shards[i] for i in places]), strict=True):
            wholes[i] = whole
    return wholes


def _whole(shard: Any) -> Tensor:
    """Return one tensor; the mean is over all axes of its mesh."""
    from torch.distributed.tensor import Partial, Replicate

    mesh = shard.device_mesh
    whole = shard.redistribute(placements=[Replicate()] * mesh.ndim)
    local = whole.to_local(grad_placements=[Partial()] * mesh.ndim)
    return _ScaledGradient.apply(local, 1 / mesh.size())  # pyright: ignore[reportReturnType]


def _together(shards: Sequence[Any]) -> list[Tensor]:
    mesh = shards[0].device_mesh
    size, group = mesh.size(), mesh.get_group()
    locals_, lengths = [], []
    for shard in shards:
        rest = math.prod(shard.shape[1:])
        lengths.append(math.ceil(shard.shape[0] / size) * rest)
        local = shard.to_local().reshape(-1)
        locals_.append(torch.nn.functional.pad(local, (0, lengths[-1] - local.numel())))
    everything = _Gather.apply(torch.cat(locals_), group, size)
    parts = everything.view(size, -1).split(lengths, dim=1)  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    return [
        part.reshape(-1)[: shard.numel()].view(shard.shape).clone()
        if part.is_contiguous()
        else part.reshape(-1)[: shard.numel()].view(shard.shape)
        for part, shard in zip(parts, shards, strict=True)
    ]


class _Gather(torch.autograd.Function):
    """The parts of all processes, whose gradient is the mean over processes, in parts."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: Any, size: int) -> Tensor:
        ctx.group, ctx.size = group, size
        return gathered_vector(part, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Scatter.apply(grad / ctx.size, ctx.group, ctx.size), None, None


class _Scatter(torch.autograd.Function):
    """The part of this process in the sum over processes."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, group: Any, size: int) -> Tensor:
        ctx.group, ctx.size = group, size
        return scattered_sum(whole.contiguous(), group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Gather.apply(grad, ctx.group, ctx.size), None, None


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return grad * ctx.factor, None
