"""Products of matrices and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import torch
from jax import lax

from torch2jax_bridge._lowered.registry import lowering
from torch2jax_bridge._lowered.rules.numbers import as_dtype, is_half, working

_config: Any = jax.config
_PRECISIONS = {
    "highest": lax.Precision.HIGHEST,
    "high": lax.Precision.HIGH,
    "medium": lax.Precision.DEFAULT,
}


def precision() -> lax.Precision | None:
    """Return the precision of products of float32: JAX's where it is set, else PyTorch's."""
    if _config.jax_default_matmul_precision is not None:
        return None
    return _PRECISIONS[torch.get_float32_matmul_precision()]


def product(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the matrix product; halves are summed in float32."""
    if is_half(x.dtype):
        wide = jnp.matmul(x, y, preferred_element_type=jnp.float32)
        return wide.astype(x.dtype)
    return jnp.matmul(x, y, precision=precision())


@lowering("aten::mm", "aten::bmm", "aten::mv", "aten::dot", "aten::matmul")
def matmul(x: jax.Array, y: jax.Array) -> jax.Array:
    return product(x, y)


@lowering("aten::linear")
def linear(x: jax.Array, weight: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    out = product(x, weight.T)
    return out if bias is None else out + bias


@lowering("aten::vdot")
def vdot(x: jax.Array, y: jax.Array) -> jax.Array:
    return product(jnp.conj(x), y)


def _wide_product(x: jax.Array, y: jax.Array) -> jax.Array:
    if is_half(x.dtype):
        return jnp.matmul(x, y, preferred_element_type=jnp.float32)
    return product(x, y)


def _sum(bias: jax.Array, found: jax.Array, beta: Any, alpha: Any) -> jax.Array:
    """Return beta * bias + alpha * product; a bias times 0 is not looked at."""
    found = found if alpha == 1 else found * as_dtype(alpha, found.dtype)
    if beta == 0:
        return found
    bias = bias.astype(working(bias.dtype))
    return (bias if beta == 1 else bias * as_dtype(beta, bias.dtype)) + found


@lowering("aten::addmm", "aten::addmv", "aten::baddbmm")
def addmm(
    bias: jax.Array, x: jax.Array, y: jax.Array, *, beta: Any = 1, alpha: Any = 1
) -> jax.Array:
    return _sum(bias, _wide_product(x, y), beta, alpha)


@lowering("aten::_addmm_activation")
def addmm_activation(
    bias: jax.Array,
    x: jax.Array,
    y: jax.Array,
    *,
    beta: Any = 1,
    alpha: Any = 1,
    use_gelu: bool = False,
) -> jax.Array:
    out = addmm(bias, x, y, beta=beta, alpha=alpha)
    return jax.nn.gelu(out, approximate=True) if use_gelu else jnp.where(out <= 0, 0, out)


@lowering("aten::addbmm")
def addbmm(
    bias: jax.Array, x: jax.Array, y: jax.Array, *, beta: Any = 1, alpha: Any = 1
) -> jax.Array:
    return _sum(bias, jnp.sum(_wide_product(x, y), 0), beta, alpha)


@lowering("aten::addr")
def addr(
    bias: jax.Array, x: jax.Array, y: jax.Array, *, beta: Any = 1, alpha: Any = 1, result: Any
) -> jax.Array:
    x, y, bias = (v.astype(result.dtype) for v in (x, y, bias))
    if result.dtype == bool:
        outer = x[:, None] & y if alpha else jnp.zeros(result.shape, bool)
        return outer | bias if beta else outer
    return _sum(bias, jnp.outer(x, y), beta, alpha)


@lowering("aten::einsum")
def einsum(equation: str, tensors: Sequence[jax.Array]) -> jax.Array:
    return jnp.einsum(equation, *tensors, precision=precision())


@lowering("aten::_trilinear")
def trilinear(
    a: jax.Array,
    b: jax.Array,
    c: jax.Array,
    expand1: Sequence[int],
    expand2: Sequence[int],
    expand3: Sequence[int],
    sumdim: Sequence[int],
    unroll_dim: int = 1,
) -> jax.Array:
    factors = zip((a, b, c), (expand1, expand2, expand3), strict=True)
    a, b, c = (jnp.expand_dims(x, tuple(dims)) for x, dims in factors)
    wide = working(a.dtype)
    product = a.astype(wide) * b.astype(wide) * c.astype(wide)
    return jnp.sum(product, tuple(sumdim)).astype(a.dtype)


@lowering("aten::_cdist_forward")
def cdist(x: jax.Array, y: jax.Array, p: float, mode: int | None = None) -> jax.Array:
    gap = jnp.abs(x[..., :, None, :] - y[..., None, :, :])
    if p == 0:
        return jnp.sum(gap != 0, -1).astype(x.dtype)
    if p == float("inf"):
        return jnp.max(gap, -1, initial=0)
    if p == 1:
        return jnp.sum(gap, -1)
    zero = gap == 0
    total = jnp.sum(jnp.where(zero, 0, jnp.where(zero, 1, gap) ** p), -1)
    none = total == 0
    return jnp.where(none, 0, jnp.where(none, 1, total) ** (1 / p))


@lowering("aten::linalg_cross", "aten::cross")
def cross(x: jax.Array, y: jax.Array, dim: int = -1) -> jax.Array:
    x, y = jnp.broadcast_arrays(x, y)
    return jnp.cross(x, y, axis=dim)
