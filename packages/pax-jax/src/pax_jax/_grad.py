"""Derivatives with respect to the parameters of modules."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax

from pax_jax._trees import select_parameters, update_parameters


def value_and_grad(
    fun: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """Make a function that evaluates `fun` and its gradient with respect to parameters.

    As `jax.value_and_grad`, but only the parameters of the modules in the arguments `argnums` are
    differentiated. `fun` is given copies of these arguments, which it may change and return.

    Args:
        fun: returns a scalar, or with `has_aux` a pair of a scalar and any pytree.
        argnums: which arguments to differentiate: modules, or any pytrees.
        has_aux: whether `fun` returns such a pair.

    Returns:
        A function that returns the value of `fun` and the gradient: for each argument the shape of
        its `parameters()`.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> def loss_fn(net, x):
        ...     return jnp.sum(net(x))
        >>> loss, grads = pax.value_and_grad(loss_fn)(pax.Linear(2, 1), jnp.ones((4, 2)))
        >>> grads.bias
        Array([4.], dtype=float32)
    """
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def on_parameters(params: tuple[Any, ...], args: tuple[Any, ...], kwargs: Any) -> Any:
        full = list(args)
        for position, new in zip(positions, params, strict=True):
            full[position] = update_parameters(args[position], new)
        return fun(*full, **kwargs)

    @functools.wraps(fun, updated=())
    def wrapper(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        params = tuple(select_parameters(args[position]) for position in positions)
        evaluate = jax.value_and_grad(on_parameters, has_aux=has_aux)
        value, grads = evaluate(params, args, kwargs)
        return value, grads[0] if isinstance(argnums, int) else grads

    return wrapper


def grad(
    fun: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """Make a function that evaluates the gradient of `fun` with respect to parameters.

    Arguments as in `value_and_grad`.

    Returns:
        A function that returns the gradient, or with `has_aux` the gradient and the second result.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> grads = pax.grad(lambda net, x: jnp.sum(net(x)))(pax.Linear(2, 1), jnp.ones((4, 2)))
        >>> grads.bias
        Array([4.], dtype=float32)
    """
    evaluate = value_and_grad(fun, argnums, has_aux)

    @functools.wraps(fun, updated=())
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        value, grads = evaluate(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return wrapper
