"""Operators that draw random numbers: from a key of JAX's, which each call in a program has of its own."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from torch2jax_bridge._lowered.registry import lowering
from torch2jax_bridge._lowered.rules.numbers import as_dtype, working

Array = jax.Array


def _uniform(key: Any, result: Any, low: Any = 0, high: Any = 1) -> Array:
    return jax.random.uniform(key, result.shape, working(result.dtype), low, high)


@lowering("aten::native_dropout")
def dropout(x: Array, p: float, train: bool | None = True, *, key: Any = None) -> Any:
    if train is False:
        return x, jnp.ones(x.shape, bool)
    kept = jax.random.bernoulli(key, 1 - p, x.shape)
    return jnp.where(kept, x * (0 if p == 1 else 1 / (1 - p)), 0), kept


@lowering("aten::bernoulli", "aten::bernoulli.p", "aten::bernoulli.Tensor")
def bernoulli(x: Array, p: Any = None, *, key: Any, result: Any) -> Array:
    return jax.random.bernoulli(key, x if p is None else p, result.shape)


@lowering("aten::rand", "aten::rand_like")
def rand(*args: Any, key: Any, result: Any, **kwargs: Any) -> Array:
    return _uniform(key, result)


@lowering("aten::uniform")
def uniform(x: Array, low: float = 0.0, high: float = 1.0, *, key: Any, result: Any) -> Array:
    return _uniform(key, result, low, high)


@lowering("aten::randn", "aten::randn_like")
def randn(*args: Any, key: Any, result: Any, **kwargs: Any) -> Array:
    if jnp.issubdtype(result.dtype, jnp.complexfloating):
        return jax.random.normal(key, result.shape, result.dtype)
    return jax.random.normal(key, result.shape, working(result.dtype))


@lowering("aten::normal_functional")
@lowering("aten::normal.Tensor_float", "aten::normal.float_Tensor", "aten::normal.Tensor_Tensor")
def normal(mean: Any, *args: Any, key: Any, result: Any) -> Array:
    if len(args) == 2:  # of a tensor whose elements do not count
        mean, std = args
    else:
        std = args[0] if args else 1.0
    dtype = working(result.dtype)
    drawn = jax.random.normal(key, result.shape, dtype)
    return as_dtype(mean, dtype) + as_dtype(std, dtype) * drawn


@lowering("aten::normal.float_float")
def normal_of_numbers(
    mean: float, std: float, *args: Any, key: Any, result: Any, **kwargs: Any
) -> Array:
    return mean + std * jax.random.normal(key, result.shape, working(result.dtype))


@lowering("aten::exponential")
def exponential(x: Array, rate: float = 1.0, *, key: Any, result: Any) -> Array:
    return jax.random.exponential(key, result.shape, working(result.dtype)) / rate


@lowering("aten::randint", "aten::randint_like")
def randint(*args: Any, key: Any, result: Any, **kwargs: Any) -> Array:
    numbers = [a for a in args if isinstance(a, int)]
    low, high = numbers if len(numbers) == 2 else (0, numbers[0])
    drawn = jax.random.randint(key, result.shape, low, high)
    return drawn.astype(result.dtype)


@lowering("aten::randperm")
def randperm(n: int, *, key: Any, result: Any, **kwargs: Any) -> Array:
    return jax.random.permutation(key, n).astype(result.dtype)


@lowering("aten::multinomial")
def multinomial(x: Array, count: int, replacement: bool = False, *, key: Any, result: Any) -> Array:
    logits = jnp.log(x.astype(working(x.dtype)))
    if replacement:
        shape = (count, *x.shape[:-1])
        return jnp.moveaxis(jax.random.categorical(key, logits, -1, shape), 0, -1)
    noise = jax.random.gumbel(key, x.shape, logits.dtype)
    return jax.lax.top_k(logits + noise, count)[1]


@lowering("aten::cauchy")
def cauchy(x: Array, median: float = 0.0, sigma: float = 1.0, *, key: Any, result: Any) -> Array:
    return median + sigma * jax.random.cauchy(key, result.shape, working(result.dtype))


@lowering("aten::log_normal")
def log_normal(x: Array, mean: float = 1.0, std: float = 2.0, *, key: Any, result: Any) -> Array:
    return jnp.exp(mean + std * jax.random.normal(key, result.shape, working(result.dtype)))


@lowering("aten::geometric")
def geometric(x: Array, p: float, *, key: Any, result: Any) -> Array:
    return jax.random.geometric(key, p, result.shape).astype(result.dtype)


@lowering("aten::poisson")
def poisson(rate: Array, *, key: Any, result: Any) -> Array:
    return jax.random.poisson(key, rate.astype(working(rate.dtype)), result.shape)
