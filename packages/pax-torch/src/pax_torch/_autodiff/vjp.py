"""`vjp`: the transposed derivative of a function as a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from pax_torch._autodiff.flatten_fun import FlatFunction, Selection, directions
from pax_torch._autodiff.nesting import run
from pax_torch._autodiff.reverse import pull_back_by_func
from pax_torch._errors import check_callable, leaf_place
from pax_tree import tree_leaves


def vjp(
    fun: Callable[..., Any], *primals: Any, has_aux: bool = False, create_graph: bool = False
) -> tuple[Any, ...]:
    """Return the value of `fun` and the function that pulls cotangents back, by reverse mode.

    Args:
        fun: takes the primals and returns a pytree of tensors; with `has_aux`, a pair of that
            and any pytree.
        *primals: pytrees of tensors, NumPy arrays and numbers.
        has_aux: `fun` returns `(out, aux)`, and aux is not differentiated.
        create_graph: keep the graph of the results, as in `grad`.

    Returns:
        `(out, pull_back)`, or `(out, pull_back, aux)`. `pull_back(cotangent)` takes a tree like
        `out`, with None for a tensor of an integer dtype and for zeros, and returns a tuple of
        trees like the primals, with None for a leaf of an integer dtype. It may be called any
        number of times, and mapped by `vmap`. For complex leaves it is PyTorch's, the adjoint.

    Raises:
        TypeError: there is nothing to differentiate, the result is not of tensors, or a
            cotangent has another dtype than its result.
        ValueError: a cotangent has another shape or structure.

    Example:
        >>> import pax_torch
        >>> out, pull_back = pax_torch.vjp(lambda x, y: x * y, 2.0, 3.0)
        >>> out, pull_back(1.0)
        (tensor(6.), (tensor(3.), tensor(2.)))

    The API is that of `jax.vjp`.
    """
    check_callable(fun, "vjp")
    selection = Selection(primals, tuple(range(len(primals))))
    selection.check("vjp", allow_int=True)
    flat = FlatFunction(lambda variables: fun(*selection.arguments(variables)), has_aux, "vjp")

    def forward(tensors: list[Tensor]) -> tuple[Any, ...]:
        out, pull, rest = pull_back_by_func(flat, tensors)
        result = flat.result(out, rest)
        return result, [x.detach() for x in tree_leaves(result)], pull, flat.aux(rest)

    out, points, pull, aux = run(forward, selection.variables, create_graph)

    def pull_back(cotangent: Any) -> tuple[Any, ...]:
        parts = flat.up_to(cotangent, "the cotangent")
        given = directions(parts, points, lambda i: leaf_place(out, i, "the cotangent"))
        return run(lambda tensors: selection.gradients(pull(tuple(tensors))), given, create_graph)

    return (out, pull_back, aux) if has_aux else (out, pull_back)
