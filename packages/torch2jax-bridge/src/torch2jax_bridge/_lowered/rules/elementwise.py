"""Arithmetic, comparisons, and functions of one or two numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy import special

from torch2jax_bridge._lowered.registry import lowering
from torch2jax_bridge._lowered.rules.numbers import (
    as_dtype,
    is_complex,
    is_float,
    result_type,
    working,
)

Function = Callable[..., Any]


def _unary(function: Function) -> Function:
    """Make the rule of a function of one floating number; integers are converted first."""

    def rule(x: jax.Array, *, result: Any) -> Any:
        return function(x.astype(working(result.dtype)))

    return rule


def _binary(function: Function) -> Function:
    """Make the rule of a function of two numbers of the same dtype as the result."""

    def rule(x: Any, y: Any, *, result: Any) -> Any:
        dtype = working(result.dtype)
        return function(as_dtype(x, dtype), as_dtype(y, dtype))

    return rule


def _comparison(function: Function) -> Function:
    """Make the rule of a comparison of two numbers, in the dtype that PyTorch gives both."""

    def rule(x: Any, y: Any) -> Any:
        dtype = result_type(x, y)
        return function(as_dtype(x, dtype), as_dtype(y, dtype))

    return rule


def _register(functions: dict[str, Function], make: Callable[[Function], Function]) -> None:
    for names, function in functions.items():
        lowering(*(f"aten::{name}" for name in names.split()))(make(function))


def _rsqrt(x: jax.Array) -> jax.Array:
    return 1 / jnp.sqrt(x) if is_complex(x) else lax.rsqrt(x)


@jax.custom_jvp
def _digamma(x: jax.Array) -> jax.Array:
    pole = x == 0
    return jnp.where(pole, -jnp.copysign(jnp.inf, x), special.digamma(jnp.where(pole, 1, x)))


@_digamma.defjvp
def _(primals: Any, tangents: Any) -> Any:
    """JAX's derivative is that for positive numbers; others are reflected."""
    (x,), (dx,) = primals, tangents
    below = x <= 0
    positive = special.polygamma(1, jnp.where(below, 1 - x, x))
    wave = jnp.sin(math.pi * jnp.where(below, x, 0.5))
    return _digamma(x), jnp.where(below, (math.pi / wave) ** 2 - positive, positive) * dx


def _absolute(x: jax.Array) -> jax.Array:
    if not is_complex(x):
        return jnp.abs(x)
    zero = x == 0  # where the derivative is 0
    return jnp.where(zero, 0, jnp.abs(jnp.where(zero, 1, x)))


_register(
    {
        "exp": jnp.exp,
        "exp2 special_exp2": jnp.exp2,
        "expm1 special_expm1": jnp.expm1,
        "log": jnp.log,
        "log2": jnp.log2,
        "log10": jnp.log10,
        "log1p special_log1p": jnp.log1p,
        "sqrt": jnp.sqrt,
        "rsqrt": _rsqrt,
        "sin": jnp.sin,
        "cos": jnp.cos,
        "tan": jnp.tan,
        "asin": jnp.arcsin,
        "acos": jnp.arccos,
        "atan": jnp.arctan,
        "sinh": jnp.sinh,
        "cosh": jnp.cosh,
        "tanh": jnp.tanh,
        "asinh": jnp.arcsinh,
        "acosh": jnp.arccosh,
        "atanh": jnp.arctanh,
        "sinc special_sinc": jnp.sinc,
        "reciprocal": lambda x: 1 / x,
        "erf special_erf": special.erf,
        "erfc special_erfc": special.erfc,
        "erfinv special_erfinv": special.erfinv,
        "lgamma special_gammaln": special.gammaln,
        "digamma special_psi": _digamma,
        "i0 special_i0": special.i0,
        "special_i0e": special.i0e,
        "special_i1": special.i1,
        "special_i1e": special.i1e,
        "special_ndtri": special.ndtri,
        "special_log_ndtr": special.log_ndtr,
        "deg2rad": jnp.deg2rad,
        "rad2deg": jnp.rad2deg,
    },
    _unary,
)


def _kept(function: Function) -> Function:
    """Make the rule of a function whose result has the dtype of its argument."""

    def rule(x: jax.Array) -> Any:
        return function(x) if is_float(x) else x

    return rule


_register({"ceil": jnp.ceil, "floor": jnp.floor, "trunc fix": jnp.trunc}, _kept)


@lowering("aten::abs")
def absolute(x: jax.Array) -> jax.Array:
    return x if x.dtype == bool else _absolute(x)


@lowering("aten::neg")
def negative(x: jax.Array) -> jax.Array:
    return -x


@lowering("aten::positive", "aten::resolve_conj", "aten::resolve_neg")
def same(x: jax.Array) -> jax.Array:
    return x


@lowering("aten::conj_physical", "aten::_conj", "aten::_conj_physical", "aten::conj")
def conjugate(x: jax.Array) -> jax.Array:
    return jnp.conj(x) if is_complex(x) else x


@lowering("aten::_neg_view")
def negative_view(x: jax.Array) -> jax.Array:
    return -x


@lowering("aten::angle")
def angle(x: jax.Array) -> jax.Array:
    if is_complex(x):
        return jnp.angle(x)
    x = x if is_float(x) else x.astype(jnp.float32)
    return jnp.where(jnp.isnan(x), x, jnp.where(x < 0, math.pi, 0).astype(x.dtype))


@lowering("aten::sign")
def sign(x: jax.Array) -> jax.Array:
    if x.dtype == bool:
        return x
    return jnp.where(x > 0, 1, jnp.where(x < 0, -1, 0)).astype(x.dtype)


@lowering("aten::sgn")
def complex_sign(x: jax.Array) -> jax.Array:
    if not is_complex(x):
        return sign(x)
    zero = x == 0
    return jnp.where(zero, 0, x / jnp.abs(jnp.where(zero, 1, x)))


@lowering("aten::signbit")
def signbit(x: jax.Array) -> jax.Array:
    return jnp.signbit(x) if is_float(x) else x < 0


@lowering("aten::frac")
def fraction(x: jax.Array) -> jax.Array:
    return x - jnp.trunc(x)


@lowering("aten::round", "aten::round.decimals")
def rounded(x: jax.Array, *, decimals: int = 0) -> jax.Array:
    if not is_float(x):
        return x
    wide = x.astype(working(x.dtype))
    if decimals == 0:
        return jnp.round(wide)
    scale = 10.0 ** abs(decimals)
    return jnp.round(wide * scale) / scale if decimals > 0 else jnp.round(wide / scale) * scale


@lowering("aten::logit", "aten::special_logit")
def logit(x: jax.Array, eps: float | None = None, *, result: Any) -> jax.Array:
    x = x.astype(working(result.dtype))
    if eps is None:
        return jnp.log(x / (1 - x))
    inside = (x >= eps) & (x <= 1 - eps)
    held = jnp.where(inside, x, jnp.where(x < eps, eps, 1 - eps))
    held = jnp.where(jnp.isnan(x), x, held)
    return jnp.log(held / (1 - held))


@lowering("aten::mvlgamma", "aten::special_multigammaln")
def multigammaln(x: jax.Array, p: int, *, result: Any) -> jax.Array:
    x = x.astype(working(result.dtype))
    shifted = x[..., None] - jnp.arange(p, dtype=x.dtype) / 2
    return jnp.sum(special.gammaln(shifted), -1) + p * (p - 1) / 4 * math.log(math.pi)


# Of two numbers ----------------------------------------------------------------------------------


def _floor_divide(x: jax.Array, y: jax.Array) -> jax.Array:
    """PyTorch's floor division: by the remainder, so that it agrees with it."""
    if not is_float(x):
        return jnp.floor_divide(x, y)
    x, y = _same_shape(x, y)
    remainder = lax.rem(x, y)
    quotient = (x - remainder) / y
    quotient = jnp.where((remainder != 0) & ((y < 0) != (remainder < 0)), quotient - 1, quotient)
    floored = jnp.floor(quotient)
    floored = jnp.where(quotient - floored > 0.5, floored + 1, floored)
    floored = jnp.where(quotient == 0, jnp.copysign(jnp.zeros_like(x), x / y), floored)
    return jnp.where(y == 0, x / y, floored)


def _remainder(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the rest of a division; its sign is the divisor's."""
    if not is_float(x):
        return jnp.remainder(x, y)
    x, y = _same_shape(x, y)
    found = lax.rem(x, y)
    return jnp.where((found != 0) & ((found < 0) != (y < 0)), found + y, found)


def _xlogy(x: jax.Array, y: jax.Array) -> jax.Array:
    zero = x == 0
    safe = jnp.where(zero & ~jnp.isnan(y), 1, y)
    return jnp.where(jnp.isnan(y), jnp.nan, jnp.where(zero, 0, x * jnp.log(safe)))


def _xlog1py(x: jax.Array, y: jax.Array) -> jax.Array:
    zero = x == 0
    safe = jnp.where(zero & ~jnp.isnan(y), 0, y)
    return jnp.where(jnp.isnan(y), jnp.nan, jnp.where(zero, 0, x * jnp.log1p(safe)))


def _logaddexp(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the logarithm of a sum; a complex one has the angle of the larger number, not wrapped."""
    if not jnp.issubdtype(x.dtype, jnp.complexfloating):
        return jnp.logaddexp(x, y)
    x, y = _same_shape(x, y)
    swapped = x.real < y.real
    large, small = jnp.where(swapped, y, x), jnp.where(swapped, x, y)
    return large + jnp.log1p(jnp.exp(small - large))


def _heaviside(x: jax.Array, values: jax.Array) -> jax.Array:
    found = jnp.where(x == 0, values, (x > 0).astype(x.dtype))
    return jnp.where(jnp.isnan(x), x, found) if is_float(x) else found


_register(
    {
        "mul": lambda x, y: x & y if x.dtype == bool else x * y,
        "atan2": jnp.arctan2,
        "hypot": jnp.hypot,
        "copysign": jnp.copysign,
        "logaddexp": _logaddexp,
        "logaddexp2": jnp.logaddexp2,
        "maximum max.other": jnp.maximum,
        "minimum min.other": jnp.minimum,
        "fmax": lambda x, y: jnp.where((x >= y) | jnp.isnan(y), x, y),  # of equals, the first moves
        "fmin": lambda x, y: jnp.where((x <= y) | jnp.isnan(y), x, y),
        "fmod": lambda x, y: lax.rem(*_same_shape(x, y)),
        "remainder": _remainder,
        "floor_divide": _floor_divide,
        "xlogy special_xlogy": _xlogy,
        "special_xlog1py": _xlog1py,
        "heaviside": _heaviside,
        "gcd": jnp.gcd,
        "lcm": jnp.lcm,
        "igamma special_gammainc": special.gammainc,
        "igammac special_gammaincc": special.gammaincc,
        "bitwise_and __and__": jnp.bitwise_and,
        "bitwise_or __or__": jnp.bitwise_or,
        "bitwise_xor __xor__": jnp.bitwise_xor,
    },
    _binary,
)
_register(
    {
        "eq": jnp.equal,
        "ne": jnp.not_equal,
        "lt": jnp.less,
        "le": jnp.less_equal,
        "gt": jnp.greater,
        "ge": jnp.greater_equal,
    },
    _comparison,
)


@lowering("aten::nextafter")
def nextafter(x: jax.Array, y: jax.Array) -> jax.Array:
    return _next(*_same_shape(x, y))


@jax.custom_jvp
def _next(x: jax.Array, y: jax.Array) -> jax.Array:
    return lax.nextafter(x, y)


@_next.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return _next(*primals), tangents[0]


@lowering("aten::add")
def add(x: Any, y: Any, alpha: Any = 1, *, result: Any) -> jax.Array:
    dtype = working(result.dtype)
    x, y = as_dtype(x, dtype), as_dtype(y, dtype)
    return x | (y & bool(alpha)) if dtype == jnp.bool_ else x + (y if alpha == 1 else y * alpha)


@lowering("aten::sub")
def subtract(x: Any, y: Any, alpha: Any = 1, *, result: Any) -> jax.Array:
    dtype = working(result.dtype)
    x, y = as_dtype(x, dtype), as_dtype(y, dtype)
    return x - (y if alpha == 1 else y * alpha)


@lowering("aten::rsub")
def subtract_from(x: Any, y: Any, alpha: Any = 1, *, result: Any) -> jax.Array:
    return subtract(y, x, alpha, result=result)


@lowering("aten::div")
def divide(x: Any, y: Any, *, rounding_mode: str | None = None, result: Any) -> jax.Array:
    dtype = working(result.dtype)
    x, y = as_dtype(x, dtype), as_dtype(y, dtype)
    if rounding_mode is None:
        return x / y
    if rounding_mode == "floor":
        return lax.stop_gradient(_floor_divide(x, y))
    if not is_float(x):
        return lax.div(*_same_shape(x, y))
    kind = jnp.finfo(result.dtype)  # the quotient is rounded before it is cut
    quotient = lax.reduce_precision(x / y, kind.nexp, kind.nmant)
    return lax.stop_gradient(jnp.trunc(quotient))


def _same_shape(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, y = jnp.broadcast_arrays(x, y)
    return x, y


@lowering("aten::pow")
def power(x: Any, y: Any, *, result: Any) -> jax.Array:
    dtype = working(result.dtype)
    is_whole = isinstance(y, int | float) and float(y).is_integer() and abs(y) < 64
    if is_whole and not isinstance(y, bool):
        whole = int(y)
        x = as_dtype(x, dtype)
        if whole >= 0 or is_float(x):
            return lax.integer_pow(x, whole)
    x, y = as_dtype(x, dtype), as_dtype(y, dtype)
    return _power(x, y) if is_float(x) else _whole_power(x, y)


def _whole_power(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return a power of integers; 1 over a number is 0, but for 1 and -1."""
    x, y = _same_shape(x, y)
    found = jnp.power(x.reshape(-1), jnp.maximum(y, 0).reshape(-1)).reshape(x.shape)
    inverse = jnp.where(x == 1, 1, jnp.where(x == -1, 1 - 2 * (y % 2), 0))
    return jnp.where(y < 0, inverse, found).astype(x.dtype)


def _power(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return a power; its derivative for the exponent is 0 where the base is 0, as in PyTorch."""
    zero = (x == 0) & (jnp.real(y) >= 0)
    exponent = jnp.where(zero, lax.stop_gradient(y), y)
    return jnp.power(x, exponent)


def _logical(function: Function) -> Function:
    def rule(x: Any, y: Any) -> Any:
        return function(jnp.asarray(x).astype(bool), jnp.asarray(y).astype(bool))

    return rule


_register(
    {"logical_and": jnp.logical_and, "logical_or": jnp.logical_or, "logical_xor": jnp.logical_xor},
    _logical,
)


@lowering("aten::logical_not")
def logical_not(x: jax.Array) -> jax.Array:
    return x == 0


@lowering("aten::bitwise_not")
def bitwise_not(x: jax.Array) -> jax.Array:
    return ~x


@lowering("aten::bitwise_left_shift", "aten::__lshift__")
def shift_left(x: Any, y: Any, *, result: Any) -> jax.Array:
    x, y = as_dtype(x, result.dtype), as_dtype(y, result.dtype)
    if is_float(x):
        return x * jnp.exp2(y)
    bits = jnp.iinfo(x.dtype).bits
    return jnp.where((y < 0) | (y >= bits), 0, jnp.left_shift(x, jnp.clip(y, 0, bits - 1)))


@lowering("aten::bitwise_right_shift", "aten::__rshift__")
def shift_right(x: Any, y: Any, *, result: Any) -> jax.Array:
    x, y = as_dtype(x, result.dtype), as_dtype(y, result.dtype)
    if is_float(x):
        return x / jnp.exp2(y)
    bits = jnp.iinfo(x.dtype).bits
    is_far = (y < 0) | (y >= bits)
    return jnp.right_shift(x, jnp.where(is_far, bits - 1, y))


# Tests of numbers --------------------------------------------------------------------------------


@lowering("aten::isnan")
def isnan(x: jax.Array) -> jax.Array:
    return jnp.isnan(x) if is_float(x) else jnp.zeros(x.shape, bool)


@lowering("aten::isinf")
def isinf(x: jax.Array) -> jax.Array:
    return jnp.isinf(x) if is_float(x) else jnp.zeros(x.shape, bool)


@lowering("aten::isposinf")
def isposinf(x: jax.Array) -> jax.Array:
    return x == jnp.inf if is_float(x) else jnp.zeros(x.shape, bool)


@lowering("aten::isneginf")
def isneginf(x: jax.Array) -> jax.Array:
    return x == -jnp.inf if is_float(x) else jnp.zeros(x.shape, bool)


@lowering("aten::isfinite")
def isfinite(x: jax.Array) -> jax.Array:
    return jnp.isfinite(x) if is_float(x) else jnp.ones(x.shape, bool)


# Choices and mixtures ----------------------------------------------------------------------------


@lowering("aten::where.self", "aten::where.ScalarOther", "aten::where.ScalarSelf")
def where(condition: jax.Array, x: Any, y: Any, *, result: Any) -> jax.Array:
    return jnp.where(condition, as_dtype(x, result.dtype), as_dtype(y, result.dtype))


@lowering("aten::masked_fill")
def masked_fill(x: jax.Array, mask: jax.Array, value: Any) -> jax.Array:
    return jnp.where(mask, as_dtype(value, x.dtype), x)


@lowering("aten::clamp")
def clamp(x: jax.Array, low: Any = None, high: Any = None, *, result: Any) -> jax.Array:
    x = x.astype(result.dtype)
    if low is not None:
        low = as_dtype(low, result.dtype)
        x = jnp.where((x < low) | (low != low), low, x)
    if high is not None:
        high = as_dtype(high, result.dtype)
        x = jnp.where((x > high) | (high != high), high, x)
    return x


@lowering("aten::clamp_min")
def clamp_min(x: jax.Array, low: Any, *, result: Any) -> jax.Array:
    return clamp(x, low, result=result)


@lowering("aten::clamp_max")
def clamp_max(x: jax.Array, high: Any, *, result: Any) -> jax.Array:
    return clamp(x, None, high, result=result)


@lowering("aten::nan_to_num")
def nan_to_num(
    x: jax.Array, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> jax.Array:
    if not is_float(x):
        return x
    found = jnp.nan_to_num(
        lax.stop_gradient(x), nan=0.0 if nan is None else nan, posinf=posinf, neginf=neginf
    )
    return jnp.where(jnp.isfinite(x), x, found)


@lowering("aten::lerp")
def lerp(start: jax.Array, end: jax.Array, weight: Any, *, result: Any) -> jax.Array:
    dtype = working(result.dtype)
    start, end, weight = (as_dtype(x, dtype) for x in (start, end, weight))
    near = start + weight * (end - start)
    return jnp.where(jnp.abs(weight) < 0.5, near, end - (end - start) * (1 - weight))


@lowering("aten::addcmul")
def addcmul(x: Any, a: Any, b: Any, *, value: Any = 1, result: Any) -> jax.Array:
    x, a, b = (as_dtype(v, working(result.dtype)) for v in (x, a, b))
    return x + value * a * b


@lowering("aten::addcdiv")
def addcdiv(x: Any, a: Any, b: Any, *, value: Any = 1, result: Any) -> jax.Array:
    x, a, b = (as_dtype(v, working(result.dtype)) for v in (x, a, b))
    return x + value * (a / b)


@lowering("aten::complex")
def complex_of(real: jax.Array, imaginary: jax.Array) -> jax.Array:
    return lax.complex(*_same_shape(real, imaginary))


@lowering("aten::polar")
def polar(length: jax.Array, direction: jax.Array) -> jax.Array:
    return lax.complex(*_same_shape(length * jnp.cos(direction), length * jnp.sin(direction)))


@lowering("aten::real")
def real(x: jax.Array) -> jax.Array:
    return jnp.real(x)


@lowering("aten::imag")
def imag(x: jax.Array) -> jax.Array:
    return jnp.imag(x)


@lowering("aten::view_as_real")
def view_as_real(x: jax.Array) -> jax.Array:
    return jnp.stack([x.real, x.imag], -1)


@lowering("aten::view_as_complex")
def view_as_complex(x: jax.Array) -> jax.Array:
    return lax.complex(x[..., 0], x[..., 1])
