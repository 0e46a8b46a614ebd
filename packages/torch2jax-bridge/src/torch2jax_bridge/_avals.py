"""Shapes and dtypes of both worlds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

from pax_tree._describe import dtype_and_shape

_config: Any = jax.config
Tensors = tuple[torch.Tensor, ...]
Indices = tuple[int, ...]

_PAIRS: dict[np.dtype, torch.dtype] = {
    jnp.dtype(name): getattr(torch, "bool" if name == "bool" else name)
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
        *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"),
        "float8_e8m0fnu",
    )
}
_BACK = {ours: theirs for theirs, ours in _PAIRS.items()}


def dtype_j2t(dtype: Any) -> torch.dtype:
    """Return the PyTorch dtype with the same name and memory layout as a JAX dtype.

    Args:
        dtype: anything that `jax.numpy.dtype` takes.

    Returns:
        The `torch.dtype`.

    Raises:
        TypeError: PyTorch has no such dtype.

    Example:
        >>> dtype_j2t("float32"), dtype_j2t(jnp.bfloat16)
        (torch.float32, torch.bfloat16)
    """
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        raise TypeError("PyTorch has no typed random keys; convert jax.random.key_data(key).")
    known = jnp.dtype(dtype)
    if known not in _PAIRS:
        raise TypeError(f"PyTorch has no dtype like {known.name}; convert the array first.")
    return _PAIRS[known]


def dtype_t2j(dtype: torch.dtype) -> np.dtype:
    """Return the JAX dtype with the same name and memory layout as a PyTorch dtype.

    Args:
        dtype: a `torch.dtype`.

    Returns:
        The `numpy.dtype` that JAX uses for it. Whether JAX makes 64-bit arrays depends on
        `jax_enable_x64`, which this function does not look at.

    Raises:
        TypeError: JAX has no such dtype.

    Example:
        >>> dtype_t2j(torch.float32), dtype_t2j(torch.bool)
        (dtype('float32'), dtype('bool'))
    """
    if dtype not in _BACK:
        raise TypeError(f"JAX has no dtype like {dtype}; convert the tensor first.")
    return _BACK[dtype]


def has_torch_dtype(dtype: Any) -> bool:
    """Whether PyTorch has a dtype like JAX's."""
    return dtype in _PAIRS


def canonical(dtype: torch.dtype) -> np.dtype:
    """Return the dtype that a tensor of this dtype has in JAX now: 32 bits unless x64 is enabled."""
    return jnp.dtype(jax.dtypes.canonicalize_dtype(dtype_t2j(dtype)))


def is_differentiable(dtype: Any) -> bool:
    """Whether arrays of this dtype have tangents: floating and complex ones."""
    return jnp.issubdtype(dtype, jnp.inexact)


class Aval(NamedTuple):
    """The shape and dtype of one array."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __str__(self) -> str:
        return dtype_and_shape(self, ", ")


TOKEN = Aval((2,), np.dtype(np.int32))


def aval_of(array: Any) -> Aval:
    """Return the shape and dtype that an array has in JAX: a tracer, a JAX or a NumPy array.

    Raises:
        TypeError: PyTorch has no such dtype.
    """
    return Aval(tuple(array.shape), _dtype_in_jax(array.dtype, _config.jax_enable_x64))


@cache
def _dtype_in_jax(dtype: Any, _x64: bool) -> np.dtype:
    """Return the dtype that an array of this dtype has in JAX; it has 64 bits only with x64."""
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        raise TypeError("PyTorch has no typed random keys; pass jax.random.key_data(key).")
    found = jnp.dtype(jax.dtypes.canonicalize_dtype(dtype))
    dtype_j2t(found)
    return found


def aval_of_tensor(tensor: torch.Tensor) -> Aval:
    """Return the shape and JAX's dtype of a tensor; 64 bits become 32 unless x64 is enabled."""
    return Aval(tuple(tensor.shape), canonical(tensor.dtype))


def bytes_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return the memory of a tensor as a vector of bytes; of its values where they are not dense."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def pick(items: Sequence[Any], indices: Indices) -> tuple[Any, ...]:
    """Return the items at the indices."""
    return tuple(items[i] for i in indices)
