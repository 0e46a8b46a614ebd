"""Functions of trees of tensors: copies, other dtypes and other devices."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from pax_tree import tree_map

_Tree = TypeVar("_Tree")


def tree_clone(tree: _Tree) -> _Tree:
    """Return a tree with a copy of every tensor, in memory of its own.

    Args:
        tree: a pytree; leaves that are no tensors stay as they are.

    Returns:
        A tree of the same structure. Like `torch.clone`, the copies are differentiable.

    Example:
        >>> import torch, pax_torch
        >>> params = {"w": torch.ones(2)}
        >>> copy = pax_torch.tree_clone(params)
        >>> _ = params["w"].zero_()
        >>> copy
        {'w': tensor([1., 1.])}
    """
    return tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, tree)


def tree_cast(tree: _Tree, dtype: torch.dtype) -> _Tree:
    """Return a tree with its floating-point tensors in another precision.

    Args:
        tree: a pytree; leaves that are no floating-point tensors (counters, say) stay as they are.
        dtype: a floating-point type.

    Returns:
        A tree of the same structure; a tensor that has the type already is not copied.

    Raises:
        TypeError: `dtype` is no floating-point type.

    Example:
        >>> import torch, pax_torch
        >>> pax_torch.tree_cast({"w": torch.ones(1), "step": torch.tensor(3)}, torch.bfloat16)
        {'w': tensor([1.], dtype=torch.bfloat16), 'step': tensor(3)}

    The API is that of `optax.tree.cast`.
    """
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise TypeError(f"tree_cast expected a floating-point torch.dtype, got {dtype!r}.")
    return tree_map(
        lambda x: x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x, tree
    )


def tree_to(tree: _Tree, device: torch.device | str | int, non_blocking: bool = False) -> _Tree:
    """Return a tree with its tensors on a device.

    Args:
        tree: a pytree; leaves that are no tensors stay as they are.
        device: as `torch.Tensor.to` takes it, such as "cuda".
        non_blocking: do not wait for copies from pinned memory.

    Returns:
        A tree of the same structure; a tensor that is there already is not copied.

    Example:
        >>> import torch, pax_torch
        >>> pax_torch.tree_to({"w": torch.ones(2), "name": "layer"}, "meta")
        {'w': tensor(..., device='meta', size=(2,)), 'name': 'layer'}

    The API is that of `torch.nn.Module.to`.
    """
    return tree_map(
        lambda x: x.to(device, non_blocking=non_blocking) if isinstance(x, Tensor) else x, tree
    )
