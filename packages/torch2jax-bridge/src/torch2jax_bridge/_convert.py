"""Arrays to tensors and back, without a copy where both libraries allow it."""

from typing import Any

import jax
import jax.numpy as jnp
import torch
from jax.core import Tracer

from torch2jax_bridge._dtypes import canonical, dtype_j2t
from torch2jax_bridge._tree import tree_map


def j2t(array: jax.Array) -> torch.Tensor:
    """A tensor with the values of a JAX array, on the same device, sharing its memory.

    The tensor must not be written to: JAX takes its arrays to be constant.

    Args:
        array: any shape, any dtype that PyTorch has, on one device.

    Returns:
        The tensor: same shape, same dtype.

    Raises:
        TypeError: `array` is no JAX array, is being traced, or has a dtype unknown to PyTorch.

    Example:
        >>> j2t(jnp.arange(3.0))
        tensor([0., 1., 2.])
    """
    if isinstance(array, Tracer):
        raise TypeError(f"j2t needs a concrete array, got the tracer {array}; use torch2jax")
    if not isinstance(array, jax.Array):
        raise TypeError(f"j2t converts JAX arrays, got {array!r} of type {type(array).__name__}")
    dtype_j2t(array.dtype)
    return torch.from_dlpack(array)


def t2j(tensor: torch.Tensor) -> jax.Array:
    """A JAX array with the values of a tensor, on the same device.

    It shares the tensor's memory if the tensor is contiguous and JAX has its dtype, so the tensor
    must not be written to afterwards; else it is a copy. 64-bit tensors become 32-bit arrays
    unless `jax_enable_x64` is on. Gradients are not tracked.

    Args:
        tensor: any shape, strided.

    Returns:
        The array: same shape, same dtype up to 64 bits.

    Raises:
        TypeError: `tensor` is no tensor, or has a dtype unknown to JAX.

    Example:
        >>> t2j(torch.ones(2, 3).T).shape
        (3, 2)
    """
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"t2j converts tensors, got {tensor!r} of type {type(tensor).__name__}")
    plain = tensor.detach().to(dtype_j2t(canonical(tensor.dtype))).resolve_conj().resolve_neg()
    return jnp.from_dlpack(plain.contiguous())


def tree_j2t(tree: Any) -> Any:
    """The tree with every JAX array replaced by `j2t` of it; other leaves are unchanged.

    Example:
        >>> tree_j2t({"a": jnp.zeros(2), "b": "text"})
        {'a': tensor([0., 0.]), 'b': 'text'}
    """
    return tree_map(lambda leaf: j2t(leaf) if isinstance(leaf, jax.Array) else leaf, tree)


def tree_t2j(tree: Any) -> Any:
    """The tree with every tensor replaced by `t2j` of it; other leaves are unchanged.

    Example:
        >>> tree_t2j([torch.zeros(2), "text"])
        [Array([0., 0.], dtype=float32), 'text']
    """
    return tree_map(lambda leaf: t2j(leaf) if isinstance(leaf, torch.Tensor) else leaf, tree)
