"""Losses that are operators of their own."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from torch2jax_bridge._lowered.registry import lowering
from torch2jax_bridge._lowered.rules.numbers import working

Array = jax.Array
_NONE, _MEAN = 0, 1


def _reduced(loss: Array, reduction: int) -> Array:
    if reduction == _NONE:
        return loss
    return jnp.mean(loss) if reduction == _MEAN else jnp.sum(loss)


def _difference(x: Array, y: Array, result: Any) -> Array:
    dtype = working(result.dtype)
    return x.astype(dtype) - y.astype(dtype)


@lowering("aten::mse_loss")
def mse_loss(x: Array, y: Array, reduction: int = _MEAN, *, result: Any) -> Array:
    gap = _difference(x, y, result)
    return _reduced(gap * gap, reduction)


@lowering("aten::smooth_l1_loss")
def smooth_l1_loss(
    x: Array, y: Array, reduction: int = _MEAN, beta: float = 1.0, *, result: Any
) -> Array:
    gap = jnp.abs(_difference(x, y, result))
    if beta == 0:
        return _reduced(gap, reduction)
    return _reduced(jnp.where(gap < beta, 0.5 * gap * gap / beta, gap - 0.5 * beta), reduction)


@lowering("aten::huber_loss")
def huber_loss(
    x: Array, y: Array, reduction: int = _MEAN, delta: float = 1.0, *, result: Any
) -> Array:
    gap = jnp.abs(_difference(x, y, result))
    near = 0.5 * gap * gap
    return _reduced(jnp.where(gap <= delta, near, delta * (gap - 0.5 * delta)), reduction)


@lowering("aten::binary_cross_entropy")
def binary_cross_entropy(
    x: Array, y: Array, weight: Array | None = None, reduction: int = _MEAN
) -> Array:
    """Logarithms are at least -100, and derivatives are those of PyTorch at 0 and 1."""
    dtype = working(x.dtype)
    loss = _cross_entropy(x.astype(dtype), y.astype(dtype))
    return _reduced(loss if weight is None else loss * weight.astype(dtype), reduction)


@jax.custom_jvp
def _cross_entropy(x: Array, y: Array) -> Array:
    return -(y * jnp.maximum(jnp.log(x), -100) + (1 - y) * jnp.maximum(jnp.log1p(-x), -100))


@_cross_entropy.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (x, y), (dx, dy) = primals, tangents
    by_x = (x - y) / jnp.maximum((1 - x) * x, 1e-12)
    by_y = jnp.maximum(jnp.log1p(-x), -100) - jnp.maximum(jnp.log(x), -100)
    return _cross_entropy(x, y), by_x * dx + by_y * dy


@lowering("aten::binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(
    x: Array,
    y: Array,
    weight: Array | None = None,
    pos_weight: Array | None = None,
    reduction: int = _MEAN,
) -> Array:
    dtype = working(x.dtype)
    x, y = x.astype(dtype), y.astype(dtype)
    factor = 1 if pos_weight is None else (pos_weight.astype(dtype) - 1) * y + 1
    tail = jnp.where(x < 0, -x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))
    loss = (1 - y) * x + factor * tail
    return _reduced(loss if weight is None else loss * weight.astype(dtype), reduction)


@lowering("aten::soft_margin_loss")
def soft_margin_loss(x: Array, y: Array, reduction: int = _MEAN) -> Array:
    return _reduced(jnp.log1p(jnp.exp(-x * y)), reduction)


@lowering("aten::nll_loss_forward", "aten::nll_loss2d_forward")
def nll_loss(
    x: Array, target: Array, weight: Array | None, reduction: int, ignored: int
) -> tuple[Array, Array]:
    """Classes are the second dimension, or the only one."""
    axis = 0 if x.ndim == 1 else 1
    counted = target != ignored
    safe = jnp.where(counted, target, 0)
    dtype = working(x.dtype)
    picked = jnp.take_along_axis(x, jnp.expand_dims(safe, axis), axis).squeeze(axis).astype(dtype)
    ones = jnp.ones(target.shape, dtype)
    shares = jnp.where(counted, ones if weight is None else weight.astype(dtype)[safe], 0)
    loss = jnp.where(counted, -picked * shares, 0)
    if reduction == _NONE:
        return loss, jnp.zeros((), x.dtype)
    total = jnp.sum(shares)
    summed = jnp.sum(loss)
    return (summed / total if reduction == _MEAN else summed), total
