"""Forward mode: `jvp` and `linearize`, the derivative of a function along a direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._autodiff.flatten_fun import NonEmptyOutput, Selection, flatten_fun
from pax_torch._autodiff.grad import pull_back_by_func, run
from pax_torch._autodiff.linear_function import Like, PushForward, Side
from pax_torch._autodiff.number_tangents import typed_numbers
from pax_torch._autodiff.zero_tangents import ordinary_zeros
from pax_torch._compat import load_forward_mode
from pax_torch._errors import describe
from pax_torch._placements import all_plain, is_distributed
from pax_tree._forward_level import forward_level


def jvp(
    fun: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    has_aux: bool = False,
    *,
    create_graph: bool = False,
) -> tuple[Any, ...]:
    """Return the value of `fun` and its derivative along `tangents`, by forward mode.

    Args:
        fun: takes as many positional arguments as there are primals, and returns a pytree of
            tensors; with `has_aux`, a pair of that and any pytree.
        primals: a tuple or list of the arguments, pytrees of tensors, NumPy arrays and numbers.
        tangents: a tuple or list of directions, trees like the primals with leaves of the same
            shapes and dtypes. None stands for the direction of an integer leaf, and for zeros.
        has_aux: `fun` returns `(out, aux)`, and aux is not differentiated.
        create_graph: keep the graph of the results, as in `grad`.

    Returns:
        `(out, tangent_out)`, or `(out, tangent_out, aux)`. The tangent has the structure of
        the result, with None for a tensor of an integer dtype.

    Raises:
        TypeError: the arguments are no tuples or lists, a tangent has another dtype than its
            primal, or the result is not of tensors.
        ValueError: a tangent has another shape, or the structures differ.

    Example:
        >>> import pax_torch
        >>> pax_torch.jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 0.5))
        (tensor(6.), tensor(4.))

    The API is that of `jax.jvp`.
    """
    _check_sequences(primals, tangents)
    selection, flat = flatten_fun(fun, primals, has_aux, "jvp")
    given = selection.directions(tangents, "tangents")

    refuse_distributed(selection)

    def push(tensors: list[Tensor]) -> tuple[Any, ...]:
        size = len(given)
        out, tangents_out, rest = forward_derivative(flat, tensors[:size], tensors[size:])
        pair = flat.result(out, rest), flat.result(tangents_out)
        return (*pair, flat.aux(rest)) if has_aux else pair

    return run(push, [*selection.variables, *given], create_graph)


def linearize(
    fun: Callable[..., Any], *primals: Any, has_aux: bool = False, create_graph: bool = False
) -> tuple[Any, ...]:
    """Return the value of `fun` and its linear approximation, without evaluating `fun` again.

    Args:
        fun: as for `jvp`.
        *primals: the arguments of `fun`, as for `jvp`.
        has_aux: `fun` returns `(out, aux)`, and aux is not differentiated.
        create_graph: keep the graph of the results, as in `grad`.

    Returns:
        `(out, push)`, or `(out, push, aux)`. `push(*tangents)` gives what `jvp` gives as its
        second result; it may be called any number of times, and mapped by `vmap`. It is a pytree of
        its residuals, as what `vjp` returns.

    Raises:
        TypeError, ValueError: as for `jvp`.

    Example:
        >>> import pax_torch
        >>> out, push = pax_torch.linearize(lambda x: x**3, 2.0)
        >>> out, push(1.0), push(0.5)
        (tensor(8.), tensor(12.), tensor(6.))

    The API is that of `jax.linearize`. The linear map is the transpose of the transposed one, so
    that what `fun` computes must be twice differentiable by reverse mode.
    """
    selection, flat = flatten_fun(fun, primals, has_aux, "linearize")

    def forward(tensors: list[Tensor]) -> tuple[Any, Any, Any]:
        out, pull_back, rest = pull_back_by_func(flat, tensors)
        transpose: Any = lambda tangents: ()  # noqa: E731
        if not tensors:
            derivative = tuple(map(torch.zeros_like, out))
            transpose = lambda tangents: derivative  # noqa: E731
        elif out:
            zeros = map(torch.zeros_like, out)
            transpose = torch.func.vjp(lambda *cotangents: pull_back(cotangents), *zeros)[1]
        return flat.result(out, rest), flat.aux(rest), transpose

    out, aux, transpose = run(forward, selection.variables, create_graph)

    sides = Side(selection.treedef, tuple(map(Like.of, selection.tensors))), Side.of(out)
    push = PushForward(*sides, create_graph, transpose)
    return (out, push, aux) if has_aux else (out, push)


def refuse_distributed(selection: Selection) -> None:
    """Raise TypeError where one of the variables of a forward derivative is a `DTensor`."""
    for i, tensor in enumerate(selection.tensors):
        if not all_plain([tensor]) and is_distributed(tensor):
            raise TypeError(
                f"{selection.place(i)} is a DTensor, which PyTorch has no forward mode for; take the "
                "derivative by reverse mode (grad, vjp, or linearize, which is made of it)."
            )


def _check_sequences(primals: Any, tangents: Any) -> None:
    for name, value in (("primals", primals), ("tangents", tangents)):
        if not isinstance(value, tuple | list):
            raise TypeError(
                f"jvp takes primals and tangents as tuples or lists, got {describe(value)} "
                f"as {name}."
            )
    if len(primals) != len(tangents):
        raise TypeError(
            f"jvp takes one tangent for each primal, got {len(primals)} primals and "
            f"{len(tangents)} tangents."
        )


def forward_derivative(
    function: Callable[..., Any], points: Sequence[Tensor], tangents: Sequence[Tensor]
) -> Any:
    """Return `(out, tangents_out, aux)` of a function that returns a tuple of tensors and aux tensors.

    It is `torch.func.jvp`, also for a function that takes nothing or returns the empty tuple.
    """
    if not points:
        out, aux = function()
        return out, tuple(map(torch.zeros_like, out)), aux
    filled = NonEmptyOutput(function)
    given = tuple(points), tuple(tangents)
    if torch.compiler.is_compiling():  # which has no threads, and zeros that are ordinary
        result: Any = torch.func.jvp(filled, *given, has_aux=True)
    else:
        load_forward_mode()
        with forward_level(), ordinary_zeros(), typed_numbers():
            result = torch.func.jvp(filled, *given, has_aux=True)
    if filled.empty:
        return (), (), result[2]
    out, tangents_out, aux = result
    pairs = zip(out, tangents_out, strict=True)
    return out, tuple([t if t.dtype is x.dtype else t.to(x.dtype) for x, t in pairs]), aux
