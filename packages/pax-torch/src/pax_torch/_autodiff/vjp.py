"""Reverse mode: `vjp`, a function and its transposed derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from pax_torch._autodiff.flatten_fun import flatten_fun
from pax_torch._autodiff.grad import pull_back_by_func, run
from pax_torch._autodiff.linear_function import Like, PullBack, Side


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
        number of times, and mapped by `vmap`. It is a pytree of its residuals, so that `jit` takes and
        returns it; to ask for its leaves inside of `vmap` is an error. For complex leaves it is
        PyTorch's, the adjoint.

    Raises:
        TypeError: the result is not of tensors, or a cotangent has another dtype than its result.
        ValueError: a cotangent has another shape or structure.

    Example:
        >>> import pax_torch
        >>> out, pull_back = pax_torch.vjp(lambda x, y: x * y, 2.0, 3.0)
        >>> out, pull_back(1.0)
        (tensor(6.), (tensor(3.), tensor(2.)))

    The API is that of `jax.vjp`.
    """
    selection, flat = flatten_fun(fun, primals, has_aux, "vjp")

    def forward(tensors: list[Tensor]) -> tuple[Any, ...]:
        out, pull, rest = pull_back_by_func(flat, tensors)
        return flat.result(out, rest), pull, flat.aux(rest)

    out, pull, aux = run(forward, selection.variables, create_graph)
    sides = Side.of(out), Side(selection.treedef, tuple(map(Like.of, selection.tensors)))
    pull_back = PullBack(*sides, create_graph, pull)
    return (out, pull_back, aux) if has_aux else (out, pull_back)
