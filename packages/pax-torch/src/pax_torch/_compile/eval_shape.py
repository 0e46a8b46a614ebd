"""`eval_shape`: the shapes and dtypes of a result, with nothing computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pax_torch._autodiff.flatten_fun import to_tensors
from pax_torch._compat import fake_mode
from pax_torch._compile.kept import closed_over_kept
from pax_torch._compile.trace import without_values
from pax_torch._errors import check_callable, leaf_place
from pax_tree import tree_flatten, tree_map, tree_unflatten

_CPU = torch.device("cpu")
_ADVICE = "write it with torch.where, or call it on tensors with values"


@dataclass(frozen=True)
class ShapeDtypeStruct:
    """What is known of a tensor that does not exist: a leaf for `eval_shape`.

    Args:
        shape: its shape.
        dtype: its dtype.
        device: where it would be.

    Example:
        >>> import torch, pax_torch
        >>> x = pax_torch.ShapeDtypeStruct((3, 2), torch.float32)
        >>> x.ndim, x.size
        (2, 6)

    The API is that of `jax.ShapeDtypeStruct`.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device = _CPU

    @property
    def ndim(self) -> int:
        """The number of axes.

        Example:
            >>> import torch, pax_torch
            >>> pax_torch.ShapeDtypeStruct((3, 2), torch.float32).ndim
            2
        """
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements.

        Example:
            >>> import torch, pax_torch
            >>> pax_torch.ShapeDtypeStruct((3, 2), torch.float32).size
            6
        """
        return torch.Size(self.shape).numel()


def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return the shapes and dtypes of what `fun` would return, without computing it.

    Args:
        fun: any function of pytrees; it may close over tensors. What it does may not depend on
            the values of tensors.
        *args: its arguments; tensors, arrays and `ShapeDtypeStruct` leaves are replaced by
            tensors without memory, other leaves are passed on.
        **kwargs: its keyword arguments, likewise.

    Returns:
        The tree of the result, with a `ShapeDtypeStruct` in place of each tensor, array or number.

    Raises:
        TypeError: `fun` is no function, or a leaf of the result is no tensor, array or number,
            or `fun` needs the value of a tensor.

    Example:
        >>> import torch, pax_torch
        >>> x = pax_torch.ShapeDtypeStruct((10**6, 10**6), torch.float32)
        >>> pax_torch.eval_shape(lambda x: {"out": x @ x[0]}, x)
        {'out': ShapeDtypeStruct(shape=(1000000,), dtype=torch.float32, device=device(type='cpu'))}

    The API is that of `jax.eval_shape`.
    """
    check_callable(fun, "eval_shape")
    described = tree_map(_described, (args, kwargs))
    if torch.compiler.is_compiling():  # on tensors without values already
        fake_args, fake_kwargs = tree_map(_fake, described)
        return tree_map(_described, fun(*fake_args, **fake_kwargs))
    with torch.inference_mode(False), fake_mode(), without_values("eval_shape", _ADVICE):
        fake_args, fake_kwargs = tree_map(_fake, described)
        with closed_over_kept():
            out = fun(*fake_args, **fake_kwargs)
        leaves, treedef = tree_flatten(out)
        result = tree_unflatten(treedef, leaves)
        tensors = to_tensors(leaves, lambda i: leaf_place(result, i, "the result"))
    return tree_unflatten(treedef, [_described(tensor) for tensor in tensors])


def _described(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return ShapeDtypeStruct(tuple(leaf.shape), leaf.dtype, leaf.device)
    if hasattr(leaf, "__array__"):
        return _described(torch.as_tensor(leaf.__array__().copy()))
    return leaf


def _fake(leaf: Any) -> Any:
    if isinstance(leaf, ShapeDtypeStruct):
        return torch.empty(leaf.shape, dtype=leaf.dtype, device=leaf.device)
    return leaf
