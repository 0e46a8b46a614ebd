"""What all rules share: PyTorch's promotion, its dtypes for computing, and its dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import torch

from torch2jax_bridge._avals import canonical, dtype_j2t

HALVES = ("float16", "bfloat16")


def as_dtype(value: Any, dtype: Any) -> jax.Array:
    """Return an array or a number as an array of a dtype."""
    return jnp.asarray(value).astype(dtype)


def result_type(*values: Any) -> Any:
    """Return the dtype in which PyTorch computes with these arrays and numbers."""
    found = _stand_in(values[0])
    for value in values[1:]:
        dtype = torch.result_type(found, _stand_in(value))
        shape = () if max(map(_rank, values)) == 0 else (1,)
        found = torch.empty(shape, dtype=dtype, device="meta")
    return canonical(torch.result_type(found, found) if torch.is_tensor(found) else dtype_of(found))


def dtype_of(number: Any) -> torch.dtype:
    """Return the dtype that PyTorch gives a Python number."""
    return torch.tensor(number).dtype


def _stand_in(value: Any) -> Any:
    if isinstance(value, bool | int | float | complex):
        return value
    shape = () if value.ndim == 0 else (1,)
    return torch.empty(shape, dtype=dtype_j2t(value.dtype), device="meta")


def _rank(value: Any) -> int:
    return getattr(value, "ndim", 0)


def is_half(dtype: Any) -> bool:
    """Whether PyTorch computes in float32 for this dtype."""
    return jnp.dtype(dtype).name in HALVES


def working(dtype: Any) -> Any:
    """Return the dtype in which PyTorch computes elements of a dtype."""
    return jnp.dtype("float32") if is_half(dtype) else jnp.dtype(dtype)


def is_float(value: Any) -> bool:
    """Whether an array is floating or complex."""
    return jnp.issubdtype(value.dtype, jnp.inexact)


def is_complex(value: Any) -> bool:
    """Whether an array is complex."""
    return jnp.issubdtype(value.dtype, jnp.complexfloating)


def axis_of(dim: int, ndim: int) -> int:
    """Return a dimension counted from the front; scalars have one, as in PyTorch."""
    return dim % max(ndim, 1)


def axes_of(dim: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Return dimensions counted from the front; all if none are given."""
    if ndim == 0:
        return ()
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return tuple(range(ndim))
    return tuple(d % ndim for d in ([dim] if isinstance(dim, int) else dim))


def added(places: Any, values: Any) -> jax.Array:
    """Add values at places of an array, `x.at[...]`; of bools, say whether one is true."""
    return places.max(values) if values.dtype == jnp.bool_ else places.add(values)


def in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function of one array, computed in float32 for halves."""

    def call(x: jax.Array, *args: Any, **kwargs: Any) -> Any:
        wide = x.astype(working(x.dtype))
        out = function(wide, *args, **kwargs)
        return out.astype(x.dtype) if is_half(x.dtype) else out

    return call
