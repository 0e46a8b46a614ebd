"""`psum` and `pmean`: a tree of sums or means over processes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from pax_torch._autodiff.flatten_fun import to_tensor, to_tensors
from pax_torch._compat import (
    forward_mode_runs,
    is_traced,
    is_without_values,
    traced_all_reduce,
    transforms_active,
)
from pax_torch._errors import describe, leaf_place
from pax_torch._placements import is_distributed
from pax_torch.distributed._contract import Terms, agree
from pax_tree import keystr, tree_flatten, tree_leaves_with_path, tree_unflatten

# As of torch.nn.parallel.DistributedDataParallel.
_BUCKET_BYTES = 25 * 2**20
# In place of numbers that do not travel between processes.
_WIDER = {
    torch.int16: torch.int32,
    torch.uint16: torch.int32,
    torch.uint32: torch.int64,
    torch.uint64: torch.int64,
    **dict.fromkeys(
        [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz],
        torch.float32,
    ),
}


def psum(
    tree: Any, group: dist.ProcessGroup | None = None, *, bucket_bytes: int = _BUCKET_BYTES
) -> Any:
    """Return the sum of a tree over all processes of a group, which all must call it.

    Leaves of one dtype travel together, so that many small ones cost no more than a few large
    ones, and all are on their way at once. The gradient of the sum is the sum of the gradients.
    The processes compare first what they give; a compiled call does not.

    Args:
        tree: a pytree of tensors, arrays or numbers, with the same leaves, shapes and dtypes in
            all processes; it is not changed.
        group: by default all processes.
        bucket_bytes: about how many bytes travel together.

    Returns:
        A tree of tensors like `tree`, the same in all processes.

    Raises:
        RuntimeError: `torch.distributed` is not initialized; or another process has ended, or has not
            made the call in the time that the group waits.
        ValueError: this process is not in the group; or, in all processes, the tree of one has other
            leaves, or one has an error.
        TypeError: a leaf is no dense tensor, array or number, or is a `DTensor`, whose sums over
            processes are its own; or it is called inside `vmap` or forward mode.

    Example:
        >>> import torch, pax_torch
        >>> store = torch.distributed.HashStore()
        >>> torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        >>> pax_torch.distributed.psum({"loss": torch.tensor(2.0)})
        {'loss': tensor(2.)}
        >>> torch.distributed.destroy_process_group()

    The API is that of `jax.lax.psum`, with a process group in place of an axis.
    """
    return _reduced(tree, _Reduction("psum", group, bucket_bytes))


def pmean(
    tree: Any,
    group: dist.ProcessGroup | None = None,
    *,
    weight: Any = None,
    bucket_bytes: int = _BUCKET_BYTES,
) -> Any:
    """Return the mean of a tree over all processes of a group, which all must call it.

    Of gradients of a loss that is a mean over examples, each process having as many of them, it is
    the gradient over the examples of all processes: data-parallel training is
    `grads = pmean(grads)`, and with batches of unequal sizes `grads = pmean(grads, weight=len(x))`.
    A mean is no larger than the largest of its terms, whatever the dtype.

    Args:
        tree: as for `psum`; the mean of integers is of PyTorch's default type.
        group: by default all processes.
        weight: how much this process counts for, a number or a tensor of shape (), not negative; all
            give one, or none does. What a process with the weight 0 gives, such as NaN of an empty
            batch, does not count.
        bucket_bytes: about how many bytes travel together.

    Returns:
        A tree of tensors like `tree`, the same in all processes.

    Raises:
        RuntimeError, ValueError, TypeError: as `psum` does; and `ValueError` for a weight that is
            negative or no number, or where all weights are 0.

    Example:
        >>> import torch, pax_torch
        >>> store = torch.distributed.HashStore()
        >>> torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        >>> pax_torch.distributed.pmean({"step": 3})
        {'step': tensor(3.)}
        >>> pax_torch.distributed.pmean(torch.tensor([1.0, 2.0]), weight=5)
        tensor([1., 2.])
        >>> torch.distributed.destroy_process_group()

    The API is that of `jax.lax.pmean`, with a process group in place of an axis.
    """
    return _reduced(tree, _Reduction("pmean", group, bucket_bytes, weight))


class _Reduction(NamedTuple):
    """Which reduction is made, and how."""

    name: str
    group: Any
    bucket_bytes: int
    weight: Any = None

    def terms(self, tree: Any, tensors: Sequence[Tensor]) -> Terms:
        paths = [keystr(path) for path, _ in tree_leaves_with_path(tree)]
        leaves = [f"tree{path} ({described(x)})" for path, x in zip(paths, tensors, strict=True)]
        differentiated = any(map(_is_differentiated, tensors))
        call = self.name + (" with a weight" if self.weight is not None else "")
        call += " under a derivative" if differentiated else ""
        call += f" with bucket_bytes={self.bucket_bytes}" * (self.bucket_bytes != _BUCKET_BYTES)
        return Terms(call, tuple(leaves))


def _reduced(tree: Any, reduction: _Reduction) -> Any:
    name, group = reduction.name, reduction.group
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            f"{name} needs processes to reduce over; call "
            "torch.distributed.init_process_group first."
        )
    size = reduction.bucket_bytes
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(
            f"bucket_bytes of {name} must be a number of bytes, 1 or more, got {size!r}."
        )
    if dist.get_rank(group) < 0:
        raise ValueError(
            f"{name} reduces over the processes of a group, and process {dist.get_rank()} is not in "
            "the one given; call it in its members alone."
        )
    try:
        leaves, treedef = tree_flatten(tree)
        tensors = _checked(leaves, tree, name)
        weight = None if reduction.weight is None else _weight(reduction.weight, tensors)
        terms = reduction.terms(tree, tensors)
    except Exception as error:
        agree(Terms(name, failure=f"{type(error).__name__}: {error}"), group, error)
        raise
    agree(terms, group)
    dtypes = [tensor.dtype for tensor in tensors]
    tensors = [tensor.to(_WIDER.get(tensor.dtype, tensor.dtype)) for tensor in tensors]
    if weight is not None:
        total = _started(weight.reshape(1), group, wait=True)[0].reshape(())
        _check_total(total)
        tensors = [_weighted(tensor, weight, total) for tensor in tensors]
    is_mean = name == "pmean" and weight is None
    tensors = _summed(tensors, reduction, dist.get_world_size(group) if is_mean else 1)
    results = [tensor.to(dtype) for tensor, dtype in zip(tensors, dtypes, strict=True)]
    return tree_unflatten(treedef, results)


def _summed(tensors: list[Tensor], reduction: _Reduction, size: int) -> list[Tensor]:
    """Return the sums of tensors, divided by `size`."""
    # Divided by a power of two before, which changes no digit, no sum of a mean overflows.
    before = 2.0 ** math.ceil(math.log2(size))
    parts: list[tuple[list[int], Tensor, Any]] = []
    for places in buckets(tensors, reduction.bucket_bytes):
        vector = joined([tensors[i] for i in places])
        vector = vector / before if size > 1 else vector
        parts.append((places, *_started(vector, reduction.group)))
    sums = list(tensors)
    for places, vector, work in parts:
        if work is not None:
            work.wait()
        if size > 1:
            vector = vector / (size / before)
        like = [tensors[i] for i in places]
        for i, tensor in zip(places, parted(vector, like), strict=True):
            sums[i] = tensor
    return sums


def _weight(weight: Any, tensors: Sequence[Tensor]) -> Tensor:
    tensor = to_tensor(weight, lambda: "weight")
    if tensor.dim() or tensor.is_complex():
        raise ValueError(
            f"weight must be a number or a tensor of shape (), got {describe(weight)}."
        )
    if not is_without_values() and not torch.compiler.is_compiling() and not tensor >= 0:
        raise ValueError(f"weight must not be negative or NaN, got {tensor.item()}.")
    device = tensors[0].device if tensors else tensor.device
    return tensor.detach().to(device, torch.float64)


def _check_total(total: Tensor) -> None:
    if is_without_values() or torch.compiler.is_compiling():
        return
    if not 0 < total.item() < math.inf:
        raise ValueError(
            f"The weights of pmean sum to {total.item()} over all processes, which has no mean; give at "
            "least one process a weight above 0, and none an infinite one."
        )


def _weighted(tensor: Tensor, weight: Tensor, total: Tensor) -> Tensor:
    wide = torch.promote_types(tensor.dtype, torch.float32)
    scaled = tensor.to(wide) * (weight / total).to(tensor.device, wide.to_real())
    return torch.where(weight.to(tensor.device) > 0, scaled, torch.zeros_like(scaled)).to(
        tensor.dtype
    )


def _is_differentiated(tensor: Tensor) -> bool:
    return tensor.requires_grad and torch.is_grad_enabled()


def _started(vector: Tensor, group: Any, wait: bool = False) -> tuple[Tensor, Any]:
    """Return the sum of a vector, and what to wait for before it is read."""
    if _is_differentiated(vector):
        return _Sum.apply(vector, group), None  # pyright: ignore[reportReturnType]
    vector = vector.detach()
    if is_traced():
        return _traced_sum(vector, group), None
    vector = vector.clone() if wait else vector
    return vector, dist.all_reduce(vector, group=group, async_op=not wait)


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
        agree(Terms("the gradient of psum or pmean", (described(grad),)), ctx.group)
        return _Sum.apply(grad, ctx.group), None  # pyright: ignore[reportReturnType]


def _checked(leaves: Sequence[Any], tree: Any, name: str) -> list[Tensor]:
    if transforms_active() or forward_mode_runs():
        raise TypeError(
            f"{name} cannot be called inside vmap, forward mode or another transform of torch.func; "
            "reduce over processes outside of it."
        )
    tensors = to_tensors(leaves, lambda i: leaf_place(tree, i, "tree"))
    for i, tensor in enumerate(tensors):
        if tensor.layout is not torch.strided or tensor.is_nested or is_distributed(tensor):
            kind = "nested" if tensor.is_nested else f"of layout {tensor.layout}"
            kind = "a DTensor" if is_distributed(tensor) else kind
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


def described(tensor: Tensor) -> str:
    """Return what all processes must have of a tensor: dtype, shape, and where it is."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    place = "" if tensor.device.type == "cpu" else f" on {tensor.device.type}"
    return f"{dtype}{list(tensor.shape)}{place}"


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """Return a new vector with all elements."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def parted(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Take apart what `joined` put together, into memory of each tensor's own."""
    if len(like) == 1:
        return [vector.view(like[0].shape)]
    parts = vector.split([tensor.numel() for tensor in like])
    return [part.view(tensor.shape).clone() for part, tensor in zip(parts, like, strict=True)]
