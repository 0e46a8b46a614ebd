"""Convolutions, also transposed ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from torch2jax_bridge._lowered.registry import lowering
from torch2jax_bridge._lowered.rules.matmul import precision
from torch2jax_bridge._lowered.rules.numbers import working


@lowering("aten::convolution", "aten::_convolution", "aten::convolution_overrideable")
def convolution(
    x: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    *flags: Any,
) -> jax.Array:
    rank = x.ndim - 2
    stride, padding, dilation, extra = (
        _each(values, rank) for values in (stride, padding, dilation, output_padding)
    )
    pads = [(p, p) for p in padding]
    inner = (1,) * rank
    if transposed:
        kernel = weight.shape[2:]
        ends = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]
        pads = [(end, end + more) for end, more in zip(ends, extra, strict=True)]
        weight, inner, stride = _turned(weight, groups), stride, (1,) * rank
    out = lax.conv_general_dilated(
        x,
        weight.astype(x.dtype),
        window_strides=stride,
        padding=pads,
        lhs_dilation=inner,
        rhs_dilation=dilation,
        feature_group_count=groups,
        precision=precision(),
    )
    if bias is None:
        return out
    wide = working(out.dtype)  # in which the derivative for the bias is summed
    added = out.astype(wide) + bias.reshape(-1, *((1,) * rank)).astype(wide)
    return added.astype(out.dtype)


def _each(values: Sequence[int], rank: int) -> tuple[int, ...]:
    values = tuple(values)
    return values * rank if len(values) == 1 else values


def _turned(weight: jax.Array, groups: int) -> jax.Array:
    """Return the kernel of a transposed convolution as that of a plain one."""
    ins, outs, *kernel = weight.shape
    parts = weight.reshape(groups, ins // groups, outs, *kernel)
    parts = jnp.swapaxes(parts, 1, 2).reshape(groups * outs, ins // groups, *kernel)
    return jnp.flip(parts, tuple(range(2, parts.ndim)))
