"""Derivatives with respect to the parameters of modules, and the training step made of them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax

from pax_jax._module.calls import pure
from pax_jax._module.kinds import is_module
from pax_jax._module.trees import copy_tree, select_parameters, update_parameters
from pax_jax._transforms.changes import Watched, carry_out
from pax_jax._transforms.functions import closed, opened


def value_and_grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """Make a function that evaluates `fun` and its gradient with respect to parameters.

    As `jax.value_and_grad`, but only the parameters of the modules in the arguments `argnums` are
    differentiated. What `fun` changes in the modules that it is given, such as averages and random keys,
    is assigned to the caller's modules, unless they come back in the second result.

    Args:
        fun: returns a scalar, or with `has_aux` a pair of a scalar and any pytree; a function, a module
            or one of its methods.
        argnums: which arguments to differentiate: modules, or any pytrees.
        has_aux: whether `fun` returns such a pair.
        holomorphic: whether `fun` is holomorphic; what is differentiated is complex then.
        allow_int: whether integers may be among what is differentiated; their gradients are of dtype
            `float0`.

    Returns:
        A function that returns the value of `fun` and the gradient: for each argument the shape of
        its `parameters()`.

    Raises:
        TypeError: at a call, there are not as many positional arguments as `argnums` says; or as
            `jax.value_and_grad`.
        RuntimeError: at a call, a module that changes was not made in the current scope.
        ValueError: `argnums` is empty or says an argument twice; at a call, a module that changes is
            given twice.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> def loss_fn(net, x):
        ...     return jnp.sum(net(x))
        >>> loss, grads = pax.value_and_grad(loss_fn)(pax.Linear(2, 1), jnp.ones((4, 2)))
        >>> grads.bias
        Array([4.], dtype=float32)
    """
    function, owners = opened(fun)
    single, positions = _positions(argnums)

    def on_parameters(params: tuple[Any, ...], *given: Any) -> Any:
        args, kwargs, own = copy_tree(given)
        full = list(args)
        for position, new in zip(positions, params, strict=True):
            full[position] = update_parameters(args[position], new)
        watched = Watched((full, kwargs, own))
        result = function(own, tuple(full), kwargs)
        if not has_aux:
            return result, (None, watched.changes(result))
        if not (isinstance(result, (tuple, list)) and len(result) == 2):
            return result  # an error of JAX's
        return result[0], (result[1], watched.changes(result))

    evaluate = jax.value_and_grad(
        on_parameters, has_aux=True, holomorphic=holomorphic, allow_int=allow_int
    )

    def call(owners: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        _check_count(argnums, positions, len(args))
        params = tuple(select_parameters(args[position]) for position in positions)
        (value, (aux, changes)), grads = evaluate(params, args, kwargs, owners)
        carry_out((args, kwargs, owners), changes)
        return ((value, aux) if has_aux else value), (grads[0] if single else grads)

    return closed(fun, call, owners)


def grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """Make a function that evaluates the gradient of `fun` with respect to parameters.

    Errors are those of `value_and_grad`.

    Args:
        fun: returns a scalar, or with `has_aux` a pair of a scalar and any pytree; a function, a module
            or one of its methods.
        argnums: which arguments to differentiate: modules, or any pytrees.
        has_aux: whether `fun` returns such a pair.
        holomorphic: whether `fun` is holomorphic; what is differentiated is complex then.
        allow_int: whether integers may be among what is differentiated; their gradients are of dtype
            `float0`.

    Returns:
        A function that returns the gradient, or with `has_aux` the gradient and the second result.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> grads = pax.grad(lambda net, x: jnp.sum(net(x)))(pax.Linear(2, 1), jnp.ones((4, 2)))
        >>> grads.bias
        Array([4.], dtype=float32)
    """
    evaluate, owners = opened(value_and_grad(fun, argnums, has_aux, holomorphic, allow_int))

    def call(owners: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        value, grads = evaluate(owners, args, kwargs)
        return (grads, value[1]) if has_aux else grads

    return closed(fun, call, owners)


def _positions(argnums: Any) -> tuple[bool, tuple[int, ...]]:
    """Return whether one argument is meant, and the numbers of all."""
    try:
        return True, (operator.index(argnums),)
    except TypeError:
        positions = tuple(map(operator.index, argnums))
    if not positions:
        raise ValueError("argnums is empty: give the number of at least one argument.")
    return False, positions


def _check_count(argnums: Any, positions: tuple[int, ...], count: int) -> None:
    needed = max((n + 1 if n >= 0 else -n for n in positions), default=0)
    if needed > count:
        raise TypeError(
            f"differentiating with respect to argnums={argnums!r} requires at least {needed} "
            f"positional arguments to be passed by the caller, but got only {count} positional "
            "arguments."
        )
    if len({n % count for n in positions}) != len(positions):
        raise ValueError(
            f"argnums={argnums!r} says the same one of {count} positional arguments twice: the derivative "
            "would be that of one of its copies. Give each argument once."
        )


def build_update_fn(loss_fn: Callable[..., Any], *, scan_mode: bool = False) -> Callable[..., Any]:
    """Make a function that takes one step of an optimizer down the gradient of a loss.

    Args:
        loss_fn: from a model and a batch to `(loss, (aux, model))`, with the changed model.
        scan_mode: whether the function takes and returns `(model, optimizer)` as one argument, as
            `jax.lax.scan` and `pax_jax.scan` want it.

    Returns:
        `update(model, optimizer, *inputs) -> (model, optimizer, aux)`, or with `scan_mode`
        `update((model, optimizer), *inputs) -> ((model, optimizer), aux)`. Its arguments stay as they are.
        An optimizer is a module with `step(grads, model)`, such as those of opax.

    Raises:
        TypeError: at a call, the model or the optimizer is no module.
        ValueError: at a call, `loss_fn` does not return `(loss, (aux, model))`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> class Descent(pax.Optimizer):
        ...     def step(self, grads, model):
        ...         return model | jax.tree.map(lambda p, g: p - 0.1 * g, ~model, grads)
        >>> def loss_fn(model, x, y):
        ...     loss = jnp.mean((model(x) - y) ** 2)
        ...     return loss, (loss, model)
        >>> update = jax.jit(pax.build_update_fn(loss_fn))
        >>> net, optimizer = pax.Linear(1, 1), Descent()
        >>> for _ in range(200):
        ...     net, optimizer, loss = update(net, optimizer, jnp.ones((4, 1)), jnp.ones((4, 1)))
        >>> bool(loss < 1e-6)
        True
    """
    gradients = grad(loss_fn, has_aux=True)

    @pure
    def update(model: Any, optimizer: Any, *inputs: Any, **kwinputs: Any) -> tuple[Any, Any, Any]:
        _check_modules(model, optimizer)
        grads, results = gradients(model, *inputs, **kwinputs)
        aux, changed = _checked_results(results, model)
        changed = optimizer.step(grads, changed)
        return changed, optimizer, aux

    def update_pair(pair: tuple[Any, Any], *inputs: Any, **kwinputs: Any) -> tuple[Any, Any]:
        model, optimizer, aux = update(*pair, *inputs, **kwinputs)
        return (model, optimizer), aux

    return update_pair if scan_mode else update


def _check_modules(model: Any, optimizer: Any) -> None:
    if not is_module(model):
        raise TypeError(f"update expects a module as model, got {type(model).__name__}.")
    if not (is_module(optimizer) and hasattr(optimizer, "step")):
        raise TypeError(
            "update expects an optimizer that is a module with `step(grads, model)`, such as "
            f"`opax.adam(1e-3)(model.parameters())`, got {type(optimizer).__name__}."
        )


def _checked_results(results: Any, model: Any) -> tuple[Any, Any]:
    if isinstance(results, tuple) and len(results) == 2:
        aux, changed = results
        if jax.tree.structure(changed) == jax.tree.structure(model):
            return aux, changed
    raise ValueError(
        "build_update_fn expects a loss function that returns (loss, (aux, model)) with the model it "
        f"was given, changed or not; the second part was {jax.tree.structure(results)}."
    )
