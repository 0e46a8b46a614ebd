"""`psum` and `pmean`: a tree of sums or means over processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from pax_torch._autodiff.flatten_fun import to_tensors
from pax_torch._compat import is_traced, traced_all_reduce, transforms_active
from pax_torch._errors import leaf_place
from pax_tree import tree_flatten, tree_unflatten

# As of torch.nn.parallel.DistributedDataParallel.
_BUCKET_BYTES = 25 * 2**20
# In place of integers that do not travel between processes.
_WIDER = {
    torch.int16: torch.int32,
    torch.uint16: torch.int32,
    torch.uint32: torch.int64,
    torch.uint64: torch.int64,
}


def psum(
    tree: Any, group: dist.ProcessGroup | None = None, *, bucket_bytes: int = _BUCKET_BYTES
) -> Any:
    """Return the sum of a tree over all processes of a group, which all must call it.

    Leaves of one dtype travel together, so that many small ones cost no more than a few large
    ones, and all are on their way at once. The gradient of the sum is the sum of the gradients.

    Args:
        tree: a pytree of tensors, arrays or numbers, with the same structure, shapes and dtypes in
            all processes; it is not changed.
        group: by default all processes.
        bucket_bytes: about how many bytes travel together.

    Returns:
        A tree of tensors like `tree`, the same in all processes.

    Raises:
        RuntimeError: `torch.distributed` is not initialized.
        ValueError: this process is not in the group.
        TypeError: a leaf is no dense tensor, array or number, or is a `DTensor`, whose sums over
            processes are its own; or it is called inside `vmap`.

    Example:
        >>> import torch, pax_torch
        >>> store = torch.distributed.HashStore()
        >>> torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        >>> pax_torch.distributed.psum({"loss": torch.tensor(2.0)})
        {'loss': tensor(2.)}
        >>> torch.distributed.destroy_process_group()

    The API is that of `jax.lax.psum`, with a process group in place of an axis.
    """
    return _reduced(tree, group, bucket_bytes, "psum")


def pmean(
    tree: Any, group: dist.ProcessGroup | None = None, *, bucket_bytes: int = _BUCKET_BYTES
) -> Any:
    """Return the mean of a tree over all processes of a group, which all must call it.

    Of gradients of a loss that is a mean over examples, each process having as many of them, it is
    the gradient over the examples of all processes: data-parallel training is
    `grads = pmean(grads)`.

    Args:
        tree: as for `psum`; the mean of integers is of PyTorch's default type.
        group: by default all processes.
        bucket_bytes: about how many bytes travel together.

    Returns:
        A tree of tensors like `tree`, the same in all processes.

    Raises:
        RuntimeError, ValueError, TypeError: as `psum` does.

    Example:
        >>> import torch, pax_torch
        >>> store = torch.distributed.HashStore()
        >>> torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        >>> pax_torch.distributed.pmean({"step": 3})
        {'step': tensor(3.)}
        >>> torch.distributed.destroy_process_group()

    The API is that of `jax.lax.pmean`, with a process group in place of an axis.
    """
    return _reduced(tree, group, bucket_bytes, "pmean")


def _reduced(tree: Any, group: Any, bucket_bytes: int, name: str) -> Any:
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            f"{name} needs processes to reduce over; call "
            "torch.distributed.init_process_group first."
        )
    if dist.get_rank(group) < 0:
        raise ValueError(
            f"{name} reduces over the processes of a group, and process {dist.get_rank()} is not in "
            "the one given; call it in its members alone."
        )
    leaves, treedef = tree_flatten(tree)
    tensors = _checked(leaves, tree, name)
    dtypes = [tensor.dtype for tensor in tensors]
    tensors = [tensor.to(_WIDER.get(tensor.dtype, tensor.dtype)) for tensor in tensors]
    parts: list[tuple[list[int], Tensor, Any]] = []
    for places in buckets(tensors, bucket_bytes):
        vector = joined([tensors[i] for i in places])
        parts.append((places, *_started(vector, group)))
    size = dist.get_world_size(group) if name == "pmean" else 1
    for places, vector, work in parts:
        if work is not None:
            work.wait()
        if size > 1:
            vector = vector / size
        like = [tensors[i] for i in places]
        for i, tensor in zip(places, parted(vector, like), strict=True):
            tensors[i] = tensor.to(dtypes[i])
    return tree_unflatten(treedef, tensors)


def _started(vector: Tensor, group: Any) -> tuple[Tensor, Any]:
    """Return the sum of a vector, and what to wait for before it is read."""
    if vector.requires_grad and torch.is_grad_enabled():
        return _Sum.apply(vector, group), None  # pyright: ignore[reportReturnType]
    vector = vector.detach()
    if is_traced():
        return _traced_sum(vector, group), None
    return vector, dist.all_reduce(vector, group=group, async_op=True)


def _traced_sum(vector: Tensor, group: Any) -> Tensor:
    """Return the sum as an operation that can be written down."""
    if vector.is_complex():
        return torch.view_as_complex(_traced_sum(torch.view_as_real(vector), group))
    everyone: Any = dist.group.WORLD
    return traced_all_reduce(vector, everyone if group is None else group)


class _Sum(torch.autograd.Function):
    """The sum over processes, whose gradient is the sum over processes."""

    @staticmethod
    def forward(ctx: Any, vector: Tensor, group: Any) -> Tensor:
        ctx.group = group
        if is_traced():
            return _traced_sum(vector, group)
        vector = vector.clone()
        dist.all_reduce(vector, group=group)
        return vector

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Sum.apply(grad, ctx.group), None  # pyright: ignore[reportReturnType]


def _checked(leaves: Sequence[Any], tree: Any, name: str) -> list[Tensor]:
    if transforms_active():
        raise TypeError(
            f"{name} cannot be called inside vmap or another transform of torch.func; reduce over "
            "processes outside of it."
        )
    tensors = to_tensors(leaves, lambda i: leaf_place(tree, i, "tree"))
    for i, tensor in enumerate(tensors):
        if tensor.layout is not torch.strided or hasattr(tensor, "device_mesh"):
            kind = "a DTensor" if hasattr(tensor, "device_mesh") else f"of layout {tensor.layout}"
            raise TypeError(
                f"{name} reduces dense tensors, and {leaf_place(tree, i, 'tree')} is {kind}."
            )
        if tensor.dtype is torch.bool:
            tensors[i] = tensor.to(torch.int64)
        if name == "pmean" and not (tensor.is_floating_point() or tensor.is_complex()):
            tensors[i] = tensor.to(torch.get_default_dtype())
    return tensors


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
