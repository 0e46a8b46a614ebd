"""`clip_by_global_norm`: gradients of a bounded norm, wherever their parts are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._autodiff.flatten_fun import is_differentiable, to_tensors
from pax_torch._errors import leaf_place
from pax_torch._placements import is_distributed
from pax_torch._tracing import values_are_hidden
from pax_torch.distributed import psum
from pax_tree import tree_flatten, tree_unflatten

_EPSILON = 1e-6  # as in torch.nn.utils.clip_grad_norm_


def clip_by_global_norm(
    tree: Any, max_norm: float | Tensor, *, group: Any = None
) -> tuple[Any, Tensor]:
    """Return a tree scaled down to a norm, that of all its leaves in one vector, and the norm it had.

    The parts of `DTensor`s in other processes count. A plain tensor counts as it is, as that of gradients
    that are the same in all processes (after `pmean`), unless `group` says that each process has a part.

    Args:
        tree: a pytree of tensors, most often gradients; it is not changed. Nothing stands for None.
        max_norm: the largest norm, a number or a tensor of shape (), from 0.
        group: a process group of `torch.distributed` over which the plain tensors are parts of one
            vector; all its processes must make the call.

    Returns:
        The tree, and its norm before, a tensor of shape () that is the same in all processes.

    Raises:
        TypeError: a leaf is no floating-point or complex tensor, or array.
        ValueError: `max_norm` is below 0 or NaN, as far as its value is at hand.
        RuntimeError, ValueError: as `pax_torch.distributed.psum` does, with a group.

    Example:
        >>> import torch, pax_torch
        >>> grads = {"w": torch.tensor([3.0, 4.0])}
        >>> pax_torch.clip_by_global_norm(grads, 1.0)
        ({'w': tensor([0.6000, 0.8000])}, tensor(5.))

    It is `torch.nn.utils.clip_grad_norm_` as a pure function; the name is that of optax.
    """
    _check_norm(max_norm)
    leaves, treedef = tree_flatten(tree)
    tensors = to_tensors(leaves, lambda i: leaf_place(tree, i, "tree"))
    for i, tensor in enumerate(tensors):
        if not is_differentiable(tensor):
            raise TypeError(
                f"{leaf_place(tree, i, 'tree')} has dtype {tensor.dtype}, and has no part in a norm; give "
                "floating-point or complex tensors."
            )
    tensors = [_summed(tensor) for tensor in tensors]
    total = _squares([x for x in tensors if not is_distributed(x)])
    if group is not None:
        total = psum(total, group)
    for tensors_alike in _by_placement(tensors):
        total = total + _spread_squares(tensors_alike)
    # The slope of the root is infinite at 0, where that of the norm is 0, as in PyTorch.
    is_zero = total == 0
    norm = torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, total).sqrt())
    factor = (max_norm / (norm + _EPSILON)).clamp(max=1.0)
    clipped = [
        (x * factor.to(x.device, x.real.dtype if x.is_complex() else x.dtype)) for x in tensors
    ]
    return tree_unflatten(treedef, clipped), norm


def _check_norm(max_norm: float | Tensor) -> None:
    if isinstance(max_norm, Tensor) and (max_norm.device.type != "cpu" or values_are_hidden()):
        return
    if not bool(max_norm >= 0):
        raise ValueError(
            f"clip_by_global_norm: max_norm must be at least 0, got {max_norm}: a gradient scaled by "
            "less than 0 points uphill."
        )


def _summed(tensor: Any) -> Any:
    """Return a `DTensor` with nothing left to be summed over processes."""
    if not is_distributed(tensor) or not any(p.is_partial() for p in tensor.placements):
        return tensor
    from torch.distributed.tensor import Replicate

    placements = [Replicate() if p.is_partial() else p for p in tensor.placements]
    return tensor.redistribute(placements=placements)


def _squares(tensors: Sequence[Tensor]) -> Tensor:
    """Return the sum of the squares of all elements, in float32 at least."""
    total = torch.zeros(())
    for tensor in tensors:
        wide = torch.promote_types(tensor.dtype, torch.float32)
        total = total.to(tensor.device) + torch.linalg.vector_norm(tensor, dtype=wide) ** 2
    return total


def _by_placement(tensors: Sequence[Any]) -> list[list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for tensor in filter(is_distributed, tensors):
        axes = tuple(i for i, place in enumerate(tensor.placements) if place.is_shard())
        groups.setdefault((tensor.device_mesh, axes), []).append(tensor)
    return list(groups.values())


def _spread_squares(tensors: Sequence[Any]) -> Tensor:
    """Return the sum of squares of `DTensor`s that are divided over the same axes of a mesh."""
    total = _squares([tensor.to_local() for tensor in tensors])
    mesh = tensors[0].device_mesh
    for axis, place in enumerate(tensors[0].placements):
        if place.is_shard():
            total = psum(total, mesh.get_group(axis))
    return total
