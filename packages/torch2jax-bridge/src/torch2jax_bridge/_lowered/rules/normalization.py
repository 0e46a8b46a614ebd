"""Normalisation by layers, batches and groups, with the statistics that PyTorch saves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from torch2jax_bridge._lowered.registry import lowering
from torch2jax_bridge._lowered.rules.numbers import working
from torch2jax_bridge._lowered.rules.reductions import vector_norm

Array = jax.Array


def _moments(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Return the mean and the variance of an array, of which the dimensions stay."""
    mean = jnp.mean(x, axes, keepdims=True)
    centred = x - mean
    return mean, jnp.mean(centred * centred, axes, keepdims=True)


def _affine(x: Array, weight: Array | None, bias: Array | None) -> Array:
    x = x if weight is None else x * weight.astype(x.dtype)
    return x if bias is None else x + bias.astype(x.dtype)


@lowering("aten::native_layer_norm")
def layer_norm(
    x: Array, shape: Sequence[int], weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    wide = x.astype(working(x.dtype))
    mean, variance = _moments(wide, axes)
    scale = lax.rsqrt(variance + eps)
    return _affine((wide - mean) * scale, weight, bias), mean, scale


@lowering("aten::_fused_rms_norm")
def rms_norm(
    x: Array, shape: Sequence[int], weight: Array | None, eps: float | None
) -> tuple[Array, Array]:
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    wide = x.astype(working(x.dtype))
    eps = float(jnp.finfo(x.dtype).eps) if eps is None else eps
    scale = lax.rsqrt(jnp.mean(wide * wide, axes, keepdims=True) + eps)
    return _affine(wide * scale, weight, None), scale


@lowering("aten::native_group_norm")
def group_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    batch: int,
    channels: int,
    size: int,
    groups: int,
    eps: float,
) -> tuple[Array, Array, Array]:
    wide = x.astype(working(x.dtype)).reshape(batch, groups, channels // groups * size)
    mean, variance = _moments(wide, (2,))
    scale = lax.rsqrt(variance + eps)
    out = ((wide - mean) * scale).reshape(x.shape)
    per_channel = (channels, *((1,) * (x.ndim - 2)))
    factors = (v if v is None else v.reshape(per_channel) for v in (weight, bias))
    return _affine(out, *factors), mean.squeeze(2), scale.squeeze(2)


def _batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    averages: tuple[Array, Array] | None,
    eps: float,
) -> tuple[Array, Array, Array]:
    """Return the result, the mean and the biased variance of each channel.

    Args:
        x: the channels are the second dimension.
        weight: a factor for each channel.
        bias: what is added to each.
        averages: the mean and the variance to normalise by; None for those of `x`.
        eps: what is added to the variance.
    """
    axes = tuple(i for i in range(x.ndim) if i != 1)
    wide = x.astype(working(x.dtype))
    per_channel = (-1, *((1,) * (x.ndim - 2)))
    if averages is None:
        found = _moments(wide, axes)
    else:
        found = tuple(v.astype(wide.dtype).reshape(per_channel) for v in averages)
    out = (wide - found[0]) * lax.rsqrt(found[1] + eps)
    factors = (v if v is None else v.reshape(per_channel) for v in (weight, bias))
    return _affine(out, *factors), found[0].reshape(-1), found[1].reshape(-1)


def _saved(found: Array, aval: Any) -> Array:
    """Return statistics that are saved: none of them in evaluation."""
    return found if aval.shape == found.shape else jnp.zeros(aval.shape, aval.dtype)


@lowering("aten::native_batch_norm", "aten::_native_batch_norm_legit")
@lowering("aten::cudnn_batch_norm", "aten::_native_batch_norm_legit_no_training")
def batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array | None,
    variance: Array | None,
    *options: Any,
    result: Any,
) -> tuple[Array, ...]:
    training, _, eps = options if len(options) == 3 else (False, *options)
    averages = None if training or mean is None or variance is None else (mean, variance)
    out, mean, variance = _batch_norm(x, weight, bias, averages, eps)
    saved = _saved(mean, result[1]), _saved(lax.rsqrt(variance + eps), result[2])
    return out, *saved, *(jnp.zeros(r.shape, r.dtype) for r in result[3:])


@lowering("aten::_native_batch_norm_legit.no_stats")
def batch_norm_without_averages(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    training: bool,
    momentum: float,
    eps: float,
    *,
    result: Any,
) -> tuple[Array, ...]:
    return batch_norm(x, weight, bias, None, None, True, momentum, eps, result=result)


@lowering("aten::_native_batch_norm_legit_functional")
def batch_norm_with_averages(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    variance: Array,
    training: bool,
    momentum: float,
    eps: float,
    *,
    result: Any,
) -> tuple[Array, ...]:
    averages = None if training else (mean, variance)
    out, found, spread = _batch_norm(x, weight, bias, averages, eps)
    saved = _saved(found, result[1]), _saved(lax.rsqrt(spread + eps), result[2])
    if not training:
        return out, *saved, mean, variance
    count = x.size // x.shape[1]
    unbiased = lax.stop_gradient(spread) * (count / max(count - 1, 1))
    found = lax.stop_gradient(found)
    moved = (
        old + momentum * (new.astype(old.dtype) - old)
        for old, new in ((mean, found), (variance, unbiased))
    )
    return out, *saved, *moved


@lowering("aten::renorm")
def renorm(x: Array, p: float, dim: int, limit: float) -> Array:
    axes = tuple(i for i in range(x.ndim) if i != dim % x.ndim)
    aval = jax.ShapeDtypeStruct((), working(x.dtype))
    norms = vector_norm(x, p, axes, True, result=aval)
    factor = jnp.where(norms > limit, limit / (norms + 1e-7), 1)
    return x * factor.astype(x.dtype)
