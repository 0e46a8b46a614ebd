"""New tensors."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from torch2jax_bridge._lowered.registry import lowering
from torch2jax_bridge._lowered.rules.numbers import as_dtype


@lowering("aten::zeros", "aten::new_zeros", "aten::zeros_like", "aten::zero")
@lowering("aten::empty", "aten::new_empty", "aten::empty_like", "aten::empty_strided")
@lowering("aten::new_empty_strided", "aten::empty_permuted", "aten::_efficientzerotensor")
def zeros(*args: Any, result: Any, **kwargs: Any) -> jax.Array:
    """Empty ones too: what is not written to has some value."""
    return jnp.zeros(result.shape, result.dtype)


@lowering("aten::ones", "aten::new_ones", "aten::ones_like")
def ones(*args: Any, result: Any, **kwargs: Any) -> jax.Array:
    return jnp.ones(result.shape, result.dtype)


@lowering("aten::full", "aten::full_like", "aten::fill")
def full(x: Any, value: Any, *, result: Any, **kwargs: Any) -> jax.Array:
    return jnp.broadcast_to(as_dtype(value, result.dtype), result.shape)


@lowering("aten::new_full")
def new_full(x: Any, size: Any, value: Any, *, result: Any, **kwargs: Any) -> jax.Array:
    return jnp.broadcast_to(as_dtype(value, result.dtype), result.shape)


@lowering("aten::scalar_tensor")
def scalar_tensor(value: Any, *, result: Any, **kwargs: Any) -> jax.Array:
    return as_dtype(value, result.dtype)


@lowering("aten::arange", "aten::arange.start", "aten::arange.start_step")
def arange(*args: Any, result: Any, **kwargs: Any) -> jax.Array:
    start, step = (args[0] if len(args) > 1 else 0), (args[2] if len(args) > 2 else 1)
    counted = jnp.arange(result.shape[0])
    if jnp.issubdtype(result.dtype, jnp.inexact):
        return (start + counted.astype(jnp.promote_types(result.dtype, jnp.float32)) * step).astype(
            result.dtype
        )
    return as_dtype(start, result.dtype) + counted.astype(result.dtype) * as_dtype(
        step, result.dtype
    )


@lowering("aten::linspace")
def linspace(start: Any, end: Any, steps: int, *, result: Any, **kwargs: Any) -> jax.Array:
    """From both ends to the middle, as PyTorch does."""
    if steps <= 1:
        return jnp.broadcast_to(as_dtype(start, result.dtype), result.shape)
    is_float = jnp.issubdtype(result.dtype, jnp.inexact)
    dtype = jnp.promote_types(result.dtype, jnp.float32) if is_float else jnp.float32
    start, end = as_dtype(start, dtype), as_dtype(end, dtype)
    step = (end - start) / (steps - 1)
    at = jnp.arange(steps)
    up, down = start + step * at, end - step * (steps - 1 - at)
    return jnp.where(at < steps // 2, up, down)


@lowering("aten::logspace")
def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, result: Any, **kwargs: Any
) -> jax.Array:
    wide = jax.ShapeDtypeStruct(result.shape, jnp.promote_types(result.dtype, jnp.float32))
    return jnp.power(jnp.asarray(base, wide.dtype), linspace(start, end, steps, result=wide))


@lowering("aten::eye", "aten::eye.m")
def eye(*args: Any, result: Any, **kwargs: Any) -> jax.Array:
    return jnp.eye(*result.shape, dtype=result.dtype)


@lowering("aten::tril_indices")
def tril_indices(row: int, col: int, offset: int = 0, **kwargs: Any) -> jax.Array:
    return jnp.stack(jnp.tril_indices(row, offset, col))


@lowering("aten::triu_indices")
def triu_indices(row: int, col: int, offset: int = 0, **kwargs: Any) -> jax.Array:
    return jnp.stack(jnp.triu_indices(row, offset, col))
