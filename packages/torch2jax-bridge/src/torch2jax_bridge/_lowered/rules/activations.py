"""Activation functions; their derivatives at corners are PyTorch's."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy import special

from torch2jax_bridge._lowered.registry import lowering
from torch2jax_bridge._lowered.rules.numbers import in_float32, working


@lowering("aten::relu")
@jax.custom_jvp
def relu(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0)


@relu.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    return relu(x), jnp.where(x <= 0, 0, dx)


@lowering("aten::relu6")
def relu6(x: jax.Array) -> jax.Array:
    return hardtanh(x, 0, 6)


@lowering("aten::hardtanh")
def hardtanh(x: jax.Array, low: float = -1, high: float = 1) -> jax.Array:
    return jnp.where(x <= low, low, jnp.where(x >= high, high, x)).astype(x.dtype)


@lowering("aten::threshold")
def threshold(x: jax.Array, limit: float, value: float) -> jax.Array:
    return jnp.where(x <= limit, jnp.asarray(value).astype(x.dtype), x)


@lowering("aten::leaky_relu")
@in_float32
def leaky_relu(x: jax.Array, slope: float = 0.01) -> jax.Array:
    return jnp.where(x > 0, x, x * slope)


@lowering("aten::_prelu_kernel")
def prelu(x: jax.Array, weight: jax.Array) -> jax.Array:
    return jnp.where(x > 0, x, weight * x)


@lowering("aten::sigmoid")
def sigmoid(x: jax.Array, *, result: Any) -> jax.Array:
    return jax.nn.sigmoid(x.astype(working(result.dtype)))


@lowering("aten::log_sigmoid_forward")
@in_float32
def _log_sigmoid(x: jax.Array) -> jax.Array:
    return jnp.where(x < 0, x, 0) - jnp.log1p(jnp.exp(-jnp.abs(x)))


@lowering("aten::log_sigmoid_forward")
def log_sigmoid(x: jax.Array, *, result: Any) -> tuple[jax.Array, jax.Array]:
    return _log_sigmoid(x), jnp.zeros(result[1].shape, x.dtype)


@lowering("aten::hardsigmoid")
@in_float32
def hardsigmoid(x: jax.Array) -> jax.Array:
    return hardtanh(x, -3, 3) / 6 + 0.5


@lowering("aten::hardswish")
@in_float32
def hardswish(x: jax.Array) -> jax.Array:
    return jnp.where(x <= -3, 0, jnp.where(x >= 3, x, x * (x + 3) / 6))


@lowering("aten::silu")
@in_float32
def silu(x: jax.Array) -> jax.Array:
    return x * jax.nn.sigmoid(x)


@lowering("aten::mish")
@in_float32
def mish(x: jax.Array) -> jax.Array:
    return x * jnp.tanh(jax.nn.softplus(x))


@lowering("aten::gelu")
@in_float32
def gelu(x: jax.Array, *, approximate: str = "none") -> jax.Array:
    if approximate == "none":
        return 0.5 * x * (1 + special.erf(x * 0.5**0.5))
    return jax.nn.gelu(x, approximate=True)


@lowering("aten::elu")
@in_float32
def elu(x: jax.Array, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> jax.Array:
    below = jnp.where(x > 0, 0, x)
    return jnp.where(x > 0, x * scale, jnp.expm1(below * input_scale) * (alpha * scale))


@lowering("aten::celu")
def celu(x: jax.Array, alpha: float = 1.0) -> jax.Array:
    return elu(x, alpha, 1, 1 / alpha)


@lowering("aten::softplus")
@in_float32
def softplus(x: jax.Array, beta: float = 1, limit: float = 20) -> jax.Array:
    is_far = x * beta > limit
    return jnp.where(is_far, x, jnp.log1p(jnp.exp(jnp.where(is_far, 0, x) * beta)) / beta)


@lowering("aten::softshrink")
@in_float32
def softshrink(x: jax.Array, limit: float = 0.5) -> jax.Array:
    found = jnp.where(x > limit, x - limit, jnp.where(x < -limit, x + limit, 0))
    return jnp.where(jnp.isnan(x), x, found)


@lowering("aten::hardshrink")
def hardshrink(x: jax.Array, limit: float = 0.5) -> jax.Array:
    return jnp.where((x >= -limit) & (x <= limit), 0, x)


@lowering("aten::glu")
def glu(x: jax.Array, dim: int = -1) -> jax.Array:
    left, right = jnp.split(x, 2, dim)
    return left * sigmoid(right, result=right)


@lowering("aten::rrelu_with_noise_functional", "aten::rrelu_with_noise")
def rrelu(
    x: jax.Array,
    noise: jax.Array,
    low: float = 1 / 8,
    high: float = 1 / 3,
    training: bool = False,
    *,
    key: Any = None,
) -> tuple[jax.Array, jax.Array]:
    if not training:
        return jnp.where(x <= 0, x * ((low + high) / 2), x), noise
    slope = jax.random.uniform(key, x.shape, x.dtype, low, high)
    slope = jnp.where(x <= 0, slope, 1)
    return x * slope, slope


@lowering("aten::_softmax")
def softmax(x: jax.Array, dim: int, half_to_float: bool = False) -> jax.Array:
    x = x.astype(working(x.dtype))
    if x.ndim == 0:
        return jnp.exp(x - x)
    top = lax.stop_gradient(jnp.max(x, dim, keepdims=True, initial=-jnp.inf))
    exponential = jnp.exp(x - top)
    return exponential / jnp.sum(exponential, dim, keepdims=True)


@lowering("aten::_safe_softmax")
def safe_softmax(x: jax.Array, dim: int, dtype: Any = None, *, result: Any) -> jax.Array:
    """Return the softmax; zeros where all scores are minus infinity."""
    x = x.astype(working(result.dtype))
    nothing = jnp.all(x == -jnp.inf, dim, keepdims=True) if x.ndim else x == -jnp.inf
    return jnp.where(nothing, 0, softmax(jnp.where(nothing, 0, x), dim))


@lowering("aten::_log_softmax")
def log_softmax(x: jax.Array, dim: int, half_to_float: bool = False) -> jax.Array:
    wide = x.astype(working(x.dtype))
    if x.ndim == 0:
        return wide - wide
    top = lax.stop_gradient(jnp.max(wide, dim, keepdims=True, initial=-jnp.inf))
    shifted = wide - top
    return shifted - jnp.log(jnp.sum(jnp.exp(shifted), dim, keepdims=True))
