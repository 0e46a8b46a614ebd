"""`jacfwd`, `jacrev`, `hessian` and `hvp`: all first or second derivatives, or a product."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from pax_torch._autodiff.constants import call_with_constants
from pax_torch._autodiff.flatten_fun import (
    Argnums,
    FlatFunction,
    Selection,
    check_argnums,
    check_output,
)
from pax_torch._autodiff.grad import grad, pull_back_by_func, run
from pax_torch._autodiff.jvp import forward_derivative, jvp, refuse_distributed
from pax_torch._errors import check_callable, check_count
from pax_tree import tree_map


def jacfwd(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    create_graph: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """Return a function that evaluates the Jacobian of `fun` by forward mode, column by column.

    All columns are computed at once, mapped over. Forward mode costs less than `jacrev` where the
    arguments have fewer elements than the results.

    Args:
        fun: returns a pytree of tensors; with `has_aux`, a pair of that and any pytree.
        argnums: the positional argument or arguments to differentiate; negative counts from the
            last. Their leaves are real, or complex with `holomorphic`.
        has_aux: `fun` returns `(out, aux)`, and aux is not differentiated.
        holomorphic: `fun` is holomorphic, its arguments and results are complex.
        create_graph: keep the graph of the results, as in `grad`.
        chunk_size: how many columns are computed at a time, to save memory; by default all.

    Returns:
        A function with the arguments of `fun` that returns the Jacobian, or `(jacobian, aux)`:
        the tree of the result with, for each leaf, the tree of the argument at `argnums` (a tuple
        of such when `argnums` is a sequence), whose leaves have the shape of the result's leaf
        followed by that of the argument's leaf.

    Raises:
        TypeError: `argnums` is out of range, or a leaf has the wrong type.
        ValueError: `argnums` names an argument twice.

    Example:
        >>> import torch, pax_torch
        >>> pax_torch.jacfwd(lambda x: x**2)(torch.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 4.]])

    The API is that of `jax.jacfwd`.
    """
    return _jacobian(
        "jacfwd", fun, _Options(argnums, has_aux, holomorphic, create_graph, chunk_size)
    )


def jacrev(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    create_graph: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """Return a function that evaluates the Jacobian of `fun` by reverse mode, row by row.

    All rows are computed at once, mapped over. Reverse mode costs less than `jacfwd` where the
    results have fewer elements than the arguments.

    Args:
        fun: as for `jacfwd`, with real results unless `holomorphic`.
        argnums: as for `jacfwd`.
        has_aux: `fun` returns `(out, aux)`, and aux is not differentiated.
        holomorphic: `fun` is holomorphic, its arguments and results are complex.
        allow_int: accept leaves of an integer or boolean dtype, with None for their Jacobian.
        create_graph: keep the graph of the results, as in `grad`.
        chunk_size: how many rows are computed at a time, to save memory; by default all.

    Returns:
        As for `jacfwd`.

    Raises:
        TypeError, ValueError: as for `jacfwd`.

    Example:
        >>> import torch, pax_torch
        >>> pax_torch.jacrev(lambda x: {"out": x["a"] * 3})({"a": torch.tensor([1.0, 2.0])})
        {'out': {'a': tensor([[3., 0.],
                [0., 3.]])}}

    The API is that of `jax.jacrev`.
    """
    options = _Options(argnums, has_aux, holomorphic, create_graph, chunk_size, allow_int)
    return _jacobian("jacrev", fun, options)


jacobian = jacrev
"""`jacrev` under a shorter name."""


class _Options(NamedTuple):
    argnums: Argnums
    has_aux: bool
    holomorphic: bool
    create_graph: bool
    chunk_size: int | None
    allow_int: bool = False


def _jacobian(name: str, fun: Callable[..., Any], options: _Options) -> Callable[..., Any]:
    check_callable(fun, name)
    argnums, has_aux, holomorphic, create_graph, chunk_size, allow_int = options
    check_count(chunk_size, name, "chunk_size", 1)
    numbers = check_argnums(argnums, name)
    reverse = name == "jacrev"

    @functools.wraps(fun, updated=())
    def jacobian_fun(*args: Any, **kwargs: Any) -> Any:
        selection = Selection(args, numbers)
        selection.check(name, allow_int=allow_int, holomorphic=holomorphic, real=not reverse)
        if not reverse:
            refuse_distributed(selection)
        flat = FlatFunction(
            lambda xs: call_with_constants(fun, selection.arguments(xs), kwargs, xs), has_aux, name
        )

        def checked(*variables: Tensor) -> Any:
            out, rest = flat(*variables)
            for tensor in out if reverse or holomorphic else ():
                check_output(tensor, name, holomorphic)
            return out, rest

        def blocks(variables: list[Tensor]) -> Any:
            found, rest = (_rows if reverse else _columns)(checked, variables, chunk_size)
            if reverse and holomorphic:
                found = [[block.conj().resolve_conj() for block in row] for row in found]
            jacobian = flat.result([selection.gradients(row) for row in found])
            return (jacobian, flat.aux(rest)) if has_aux else jacobian

        return run(blocks, selection.variables, create_graph)

    return jacobian_fun


def hessian(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    create_graph: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """Return a function that evaluates the Hessian of `fun`, forward over reverse.

    Args:
        fun: as for `jacrev`; twice differentiable.
        argnums: as for `jacrev`.
        has_aux: `fun` returns `(out, aux)`, and aux is not differentiated.
        holomorphic: `fun` is holomorphic, its arguments and results are complex.
        create_graph: keep the graph of the results, as in `grad`.
        chunk_size: how many rows and columns are computed at a time, to save memory; by default all.

    Returns:
        A function with the arguments of `fun` that returns the Hessian, or `(hessian, aux)`: the
        tree of the result, for each leaf the tree of the argument, and for each leaf of that the
        tree of the argument again. The shapes of leaves are joined in this order.

    Raises:
        TypeError, ValueError: as for `jacfwd`.

    Example:
        >>> import torch, pax_torch
        >>> pax_torch.hessian(lambda x: (x**3).sum())(torch.tensor([1.0, 2.0]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])

    The API is that of `jax.hessian`.
    """
    both = _Options(argnums, has_aux, holomorphic, create_graph, chunk_size)
    return _jacobian("jacfwd", _jacobian("jacrev", fun, both), both)


def hvp(
    fun: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    argnums: Argnums = 0,
    *,
    create_graph: bool = False,
) -> Any:
    """Return the product of the Hessian of a scalar function with a vector, without the Hessian.

    Args:
        fun: takes as many positional arguments as there are primals and returns a real scalar
            tensor of shape (); twice differentiable.
        primals: a tuple or list of the arguments, as for `jvp`.
        tangents: a tuple or list of directions, as for `jvp`.
        argnums: the argument or arguments whose gradient is differentiated along `tangents`.
        create_graph: keep the graph of the result, as in `grad`.

    Returns:
        A tree like the argument at `argnums`, or a tuple of such when `argnums` is a sequence.

    Raises:
        TypeError, ValueError: as for `grad` and `jvp`.

    Example:
        >>> import torch, pax_torch
        >>> x, v = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0])
        >>> pax_torch.hvp(lambda x: (x**3).sum(), (x,), (v,))
        tensor([ 6., 12.])

    It is `jvp(grad(fun), primals, tangents)`, as in the autodiff cookbook of JAX.
    """
    check_callable(fun, "hvp")
    _, product = jvp(grad(fun, argnums), primals, tangents, create_graph=create_graph)
    return product


def _columns(
    function: Callable[..., Any], variables: Sequence[Tensor], chunk_size: int | None
) -> tuple[list[list[Tensor]], Any]:
    """Return the Jacobian of a function by forward mode, and what else it returned.

    Args:
        function: takes the variables and returns a tuple of tensors and a tuple of other ones.
        variables: floating-point or complex tensors.
        chunk_size: how many columns are computed at a time.

    Returns:
        For each result and each variable a tensor of their shapes joined; and the second part of
        what the function returned.
    """
    if not sum(variable.numel() for variable in variables):
        out, rest = function(*variables)
        return [[_empty(tensor, v) for v in variables] for tensor in out], rest

    def push(*tangents: Tensor) -> Any:
        return forward_derivative(function, variables, tangents)[1:]

    derivatives, rest = _mapped(push, _basis(variables), chunk_size)
    blocks = [_blocks(derivative, variables) for derivative in derivatives]
    joined = [
        [
            block.movedim(0, -1).reshape(block.shape[1:] + v.shape)
            for block, v in zip(row, variables, strict=True)
        ]
        for row in blocks
    ]
    return joined, [tensor[0] for tensor in rest]


def _rows(
    function: Callable[..., Any], variables: Sequence[Tensor], chunk_size: int | None
) -> tuple[list[list[Tensor]], Any]:
    """Return the Jacobian of a function by reverse mode, and what else it returned."""
    out, pull, rest = pull_back_by_func(function, variables)
    if not variables or not sum(tensor.numel() for tensor in out):
        return [[_empty(tensor, v) for v in variables] for tensor in out], rest
    derivatives = _mapped(lambda *cotangents: pull(cotangents), _basis(out), chunk_size)
    blocks = [_blocks(derivative, out) for derivative in derivatives]
    joined = [
        [
            column[i].reshape(tensor.shape + v.shape)
            for column, v in zip(blocks, variables, strict=True)
        ]
        for i, tensor in enumerate(out)
    ]
    return joined, rest


def _mapped(function: Callable[..., Any], basis: Sequence[Tensor], chunk_size: int | None) -> Any:
    """Apply a function to the unit vectors, with the random numbers of one evaluation for all."""
    if chunk_size is None or not torch.compiler.is_compiling():
        return torch.func.vmap(function, randomness="same", chunk_size=chunk_size)(*basis)
    # The compiler cannot draw again what it drew for the chunk before: random numbers are an error.
    mapped = torch.func.vmap(function)
    chunks = zip(*[vectors.split(chunk_size) for vectors in basis], strict=True)
    parts = [mapped(*chunk) for chunk in chunks]
    return tree_map(lambda *tensors: torch.cat(tensors), parts[0], *parts[1:])


def _basis(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the unit vectors of the space of all `tensors`, along a new first axis."""
    sizes = [tensor.numel() for tensor in tensors]
    basis, start = [], 0
    for tensor, size in zip(tensors, sizes, strict=True):
        ones = torch.eye(size, dtype=tensor.dtype, device=tensor.device)
        part = pad(ones, (0, 0, start, sum(sizes) - start - size))
        basis.append(part.reshape(sum(sizes), *tensor.shape))
        start += size
    return basis


def _blocks(derivative: Tensor, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """Split the first axis into the parts of the basis that belong to each tensor."""
    return derivative.split([tensor.numel() for tensor in tensors])


def _empty(tensor: Tensor, variable: Tensor) -> Tensor:
    return torch.zeros(tensor.shape + variable.shape, dtype=variable.dtype, device=variable.device)
