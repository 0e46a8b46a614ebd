"""Whether a derivative keeps its graph: inside another differentiation, or on request."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from pax_tree import tree_map


class _Depth(threading.local):
    """How many differentiations by `torch.autograd` are running in this thread."""

    value = 0


_depth = _Depth()


def current_depth() -> int:
    """How many differentiations by `torch.autograd` are running in this thread."""
    return _depth.value


def transforms_active() -> bool:
    """Whether a transform of `torch.func` is running in this thread."""
    return torch._C._are_functorch_transforms_active()


def nested() -> bool:
    """Whether the results of a derivative may be differentiated by one that is running."""
    return transforms_active() or (_depth.value > 0 and torch.is_grad_enabled())


class differentiation:
    """Counts one differentiation more, or continues at the given depth in another thread."""

    __slots__ = ("_before", "_inside")

    def __init__(self, depth: int | None = None) -> None:
        self._inside = depth

    def __enter__(self) -> None:
        self._before = _depth.value
        _depth.value = self._before + 1 if self._inside is None else self._inside

    def __exit__(self, *_: object) -> None:
        _depth.value = self._before


def at_this_depth(fun: Callable[..., Any]) -> Callable[..., Any]:
    """Return `fun` for a later call, by the backward pass for example, at the depth of now."""
    depth = _depth.value

    @functools.wraps(fun, updated=())
    def later(*args: Any, **kwargs: Any) -> Any:
        with differentiation(depth):
            return fun(*args, **kwargs)

    return later


def detach_tree(tree: Any) -> Any:
    """Return the tree with its tensors out of any graph; all else stays as it is."""
    return tree_map(_detach, tree)


def _detach(leaf: Any) -> Any:
    return detached(leaf) if isinstance(leaf, Tensor) and leaf.requires_grad else leaf


def forward_mode_runs() -> bool:
    """Whether there may be dual tensors, of this thread or another one."""
    return forward_ad._current_level >= 0


def detached(tensor: Tensor) -> Tensor:
    """Return the tensor out of any graph, but with its tangent where it is a dual tensor."""
    plain = tensor.detach()
    if not forward_mode_runs():
        return plain
    tangent = forward_ad.unpack_dual(tensor).tangent
    return plain if tangent is None else forward_ad.make_dual(plain, tangent.detach())


def normal_tensors(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors with a copy of each that inference mode made, which has no derivative."""
    if not any(map(Tensor.is_inference, tensors)):
        return list(tensors)
    return [tensor.clone() if tensor.is_inference() else tensor for tensor in tensors]


def run(
    function: Callable[[list[Tensor]], Any], tensors: Sequence[Tensor], create_graph: bool
) -> Any:
    """Call `function` with `tensors` so that the result keeps a graph only where it should."""
    keep = create_graph or nested()
    grad_mode = create_graph or not keep or torch.is_grad_enabled()
    inference = torch.is_inference_mode_enabled()
    outside = torch.inference_mode(False) if inference else nullcontext()
    with outside, torch.set_grad_enabled(grad_mode):
        tensors = normal_tensors(tensors)
        if keep:
            return function(tensors)
        return detach_tree(function([detached(tensor) for tensor in tensors]))


def stop_gradient(tree: Any) -> Any:
    """Return the same values, which no derivative flows through.

    Args:
        tree: any pytree; its leaves that are no tensors stay as they are.

    Returns:
        A tree of the same structure, whose tensors share their memory with the given ones.

    Example:
        >>> import pax_torch
        >>> pax_torch.grad(lambda x: x * pax_torch.stop_gradient(x))(3.0)
        tensor(3.)

    The API is that of `jax.lax.stop_gradient`.
    """
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, tree)
