"""`grad` and `value_and_grad`: derivatives as functions, with the API of JAX."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any

import torch
from torch import Tensor

from pax_torch._autodiff.flatten_fun import (
    Argnums,
    Selection,
    check_argnums,
    check_output,
    split_aux,
)
from pax_torch._autodiff.reverse import reverse
from pax_torch._errors import check_callable, describe


def value_and_grad(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    allow_unused: bool = True,
    create_graph: bool = False,
) -> Callable[..., Any]:
    """Return a function that evaluates both `fun` and its gradient.

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
        holomorphic: `fun` is a holomorphic function of complex leaves with a complex value, and
            the gradient its complex derivative.
        allow_int: accept leaves of an integer or boolean dtype; None stands for their gradient.
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
        selection = Selection(args, numbers)
        selection.check("grad", allow_int=allow_int, holomorphic=holomorphic)

        def call(variables: Sequence[Tensor]) -> tuple[Tensor, Any]:
            result = fun(*selection.arguments(variables), **kwargs)
            value, aux = split_aux(result) if has_aux else (result, None)
            return _check_value(value, holomorphic), aux

        variables = selection.variables
        value, aux, grads = reverse(
            call, variables, create_graph=create_graph, find_unused=not allow_unused
        )
        if not allow_unused:
            _check_used(grads, selection)
        filled = [_zeros(v) if g is None else g for v, g in zip(variables, grads, strict=True)]
        if holomorphic:
            filled = [gradient.conj().resolve_conj() for gradient in filled]
        result = (value, aux) if has_aux else value
        return result, selection.gradients(filled)

    return value_and_grad_fun


def grad(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    allow_unused: bool = True,
    create_graph: bool = False,
) -> Callable[..., Any]:
    """Return a function that evaluates the gradient of `fun`.

    Args:
        fun: as in `value_and_grad`, as are all the other arguments.
        argnums: the positional argument or arguments to differentiate.
        has_aux: `fun` returns `(value, aux)`, and the gradient function `(grads, aux)`.
        holomorphic: `fun` is a holomorphic function of complex leaves.
        allow_int: accept leaves of an integer or boolean dtype, with None for their gradient.
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
        fun,
        argnums,
        has_aux,
        holomorphic,
        allow_int,
        allow_unused=allow_unused,
        create_graph=create_graph,
    )

    @functools.wraps(fun, updated=())
    def grad_fun(*args: Any, **kwargs: Any) -> Any:
        result, grads = value_and_grad_fun(*args, **kwargs)
        return (grads, result[1]) if has_aux else grads

    return grad_fun


def _check_value(value: Any, holomorphic: bool) -> Tensor:
    if not isinstance(value, Tensor) or value.shape != ():
        raise TypeError(
            "Gradient only defined for scalar-output functions, that is for a tensor of shape (). "
            f"The function returned {describe(value)}."
        )
    check_output(value, "grad", holomorphic)
    return value


def _zeros(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor, requires_grad=False)


def _check_used(grads: Sequence[Tensor | None], selection: Selection) -> None:
    places = compress(range(len(selection.tensors)), selection.chosen)
    for leaf, gradient in zip(places, grads, strict=True):
        if gradient is None:
            raise ValueError(
                f"the value does not depend on {selection.place(leaf)}, and allow_unused=False; "
                "use that leaf, or pass allow_unused=True to get zeros for it."
            )
