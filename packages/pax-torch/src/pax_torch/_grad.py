"""`grad` and `value_and_grad`: derivatives as functions, with the API of JAX."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._args import (
    Argnums,
    check_argnums,
    check_callable,
    leaf_place,
    positions,
    to_tensors,
)
from pax_torch._reverse import reverse
from pax_tree import tree_flatten, tree_unflatten


def value_and_grad(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    allow_unused: bool = True,
    create_graph: bool = False,
) -> Callable[..., Any]:
    """Returns a function that evaluates both `fun` and its gradient.

    The function may be nested for higher derivatives, and used inside and around the transforms
    of `torch.func`. It changes none of its arguments and accumulates into no `.grad`. Its results
    carry no graph, unless it is called inside another differentiation or `create_graph` is set.

    Args:
        fun: returns a real scalar tensor of shape (); with `has_aux`, a pair of that and any
            pytree. The arguments at `argnums` are pytrees of floating-point or complex tensors,
            NumPy arrays and Python floats, and reach `fun` as tensors; the others are passed on
            as they are, and so are keyword arguments.
        argnums: the positional argument or arguments to differentiate; negative counts from the
            last.
        has_aux: `fun` returns `(value, aux)`, and aux is not differentiated.
        allow_unused: give zeros, as JAX does, for a leaf that the value does not depend on;
            False makes that an error.
        create_graph: keep the graph of the results, so that `torch.autograd` can differentiate
            them with respect to tensors that require grad.

    Returns:
        A function with the arguments of `fun` that returns `(value, grads)`, or
        `((value, aux), grads)` with `has_aux`. `grads` has the structure of the argument at
        `argnums`, or is a tuple of such when `argnums` is a sequence; each leaf has the shape and
        the dtype of the argument's leaf. For a complex leaf it is the direction of steepest
        ascent, PyTorch's convention and the conjugate of JAX's.

    Raises:
        TypeError: `fun` is no function, `argnums` is out of range, a leaf or the result has the
            wrong type, or there is no leaf to differentiate.
        ValueError: `argnums` names an argument twice, or `allow_unused=False` found an unused
            leaf.

    Example:
        >>> import pax_torch
        >>> pax_torch.value_and_grad(lambda x: x["a"] * x["b"])({"a": 2.0, "b": -1.5})
        (tensor(-3.), {'a': tensor(-1.5000), 'b': tensor(2.)})

    The API is that of `jax.value_and_grad`.

    """
    check_callable(fun, "value_and_grad")
    numbers = check_argnums(argnums, "value_and_grad")

    @functools.wraps(fun, updated=())
    def value_and_grad_fun(*args: Any, **kwargs: Any) -> Any:
        indices = positions(numbers, len(args))
        selected = tuple(args[i] for i in indices)
        leaves, treedef = tree_flatten(selected)
        tensors = to_tensors(leaves, lambda i: _place(selected, indices, i))
        _check_leaves(tensors, selected, indices)

        def call(variables: Sequence[Tensor]) -> tuple[Tensor, Any]:
            arguments = list(args)
            new = tree_unflatten(treedef, variables)
            for index, argument in zip(indices, new, strict=True):
                arguments[index] = argument
            return _check_result(fun(*arguments, **kwargs), has_aux)

        value, aux, grads = reverse(
            call, tensors, create_graph=create_graph, find_unused=not allow_unused
        )
        if not allow_unused:
            _check_used(grads, lambda i: _place(selected, indices, i))
        filled = [_zeros(t) if g is None else g for t, g in zip(tensors, grads, strict=True)]
        grad_args = tree_unflatten(treedef, filled)
        result = (value, aux) if has_aux else value
        return result, grad_args[0] if isinstance(numbers, int) else grad_args

    return value_and_grad_fun


def grad(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    allow_unused: bool = True,
    create_graph: bool = False,
) -> Callable[..., Any]:
    """Returns a function that evaluates the gradient of `fun`.

    Args:
        fun: as in `value_and_grad`, as are all the other arguments.
        argnums: the positional argument or arguments to differentiate.
        has_aux: `fun` returns `(value, aux)`, and the gradient function `(grads, aux)`.
        allow_unused: give zeros for a leaf that the value does not depend on.
        create_graph: keep the graph of the results.

    Returns:
        A function with the arguments of `fun` that returns the gradient, in the structure of the
        argument at `argnums`, or a tuple of such when `argnums` is a sequence.

    Raises:
        TypeError, ValueError: as in `value_and_grad`.

    Example:
        >>> import pax_torch
        >>> pax_torch.grad(lambda x: x**2)(2.0)
        tensor(4.)
        >>> pax_torch.grad(pax_torch.grad(lambda x: 1 / 6 * x**3))(3.0)
        tensor(3.)

    The API is that of `jax.grad`.

    """
    check_callable(fun, "grad")
    check_argnums(argnums, "grad")
    value_and_grad_fun = value_and_grad(
        fun, argnums, has_aux, allow_unused=allow_unused, create_graph=create_graph
    )

    @functools.wraps(fun, updated=())
    def grad_fun(*args: Any, **kwargs: Any) -> Any:
        result, grads = value_and_grad_fun(*args, **kwargs)
        return (grads, result[1]) if has_aux else grads

    return grad_fun


def _place(selected: tuple[Any, ...], indices: list[int], leaf: int) -> str:
    """Names a leaf of the differentiated arguments, as in `argument 0['weight']`."""
    for argument, index in zip(selected, indices, strict=True):
        size = len(tree_flatten(argument)[0])
        if leaf < size:
            return leaf_place(argument, leaf, f"argument {index}")
        leaf -= size
    raise IndexError(leaf)


def _check_leaves(tensors: list[Tensor], selected: tuple[Any, ...], indices: list[int]) -> None:
    for i, tensor in enumerate(tensors):
        if not (tensor.is_floating_point() or tensor.is_complex()):
            raise TypeError(
                "grad requires real- or complex-valued inputs (a floating-point or complex "
                f"dtype), but {_place(selected, indices, i)} has dtype {tensor.dtype}; convert "
                "it to a float, or leave the argument out of argnums."
            )
    if not tensors:
        names = ", ".join(f"argument {i}" for i in indices)
        raise TypeError(f"grad requires something to differentiate, but {names} has no leaves.")


def _check_result(result: Any, has_aux: bool) -> tuple[Tensor, Any]:
    aux = None
    if has_aux:
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise TypeError(
                "with has_aux=True the function must return a pair (value, aux), "
                f"but it returned {_describe(result)}."
            )
        result, aux = result
    if not isinstance(result, Tensor) or result.shape != ():
        raise TypeError(
            "Gradient only defined for scalar-output functions, that is for a tensor of shape (). "
            f"The function returned {_describe(result)}."
        )
    if not result.is_floating_point():
        raise TypeError(
            f"grad requires real-valued outputs, but the function returned {_describe(result)}."
        )
    return result, aux


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and dtype {value.dtype}"
    return f"{value!r} of type {type(value).__qualname__}"


def _zeros(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor, requires_grad=False)


def _check_used(grads: Sequence[Tensor | None], place: Callable[[int], str]) -> None:
    for i, gradient in enumerate(grads):
        if gradient is None:
            raise ValueError(
                f"the value does not depend on {place(i)}, and allow_unused=False; "
                "use that leaf, or pass allow_unused=True to get zeros for it."
            )
