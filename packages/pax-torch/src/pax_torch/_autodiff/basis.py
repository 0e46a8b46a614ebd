"""All rows or all columns of a Jacobian at once, by mapping over a basis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from pax_torch._autodiff.forward import forward_derivative
from pax_torch._autodiff.reverse import pull_back_by_func

Tensors = Sequence[Tensor]


def columns(function: Callable[..., Any], variables: Tensors) -> tuple[list[list[Tensor]], Any]:
    """Return the Jacobian of a function by forward mode, and what else it returned.

    Args:
        function: takes the variables and returns a tuple of tensors and a tuple of other ones.
        variables: floating-point or complex tensors.

    Returns:
        For each result and each variable a tensor of their shapes joined; and the second part of
        what the function returned.
    """
    if not sum(variable.numel() for variable in variables):
        out, rest = function(*variables)
        return [[_empty(tensor, v) for v in variables] for tensor in out], rest

    def push(*tangents: Tensor) -> Any:
        return forward_derivative(function, variables, tangents)[1:]

    # Random numbers are those of one evaluation, whichever column is computed.
    mapped = torch.func.vmap(push, randomness="same")
    derivatives, rest = mapped(*_basis(variables))
    blocks = [_blocks(derivative, variables) for derivative in derivatives]
    joined = [
        [
            block.movedim(0, -1).reshape(block.shape[1:] + v.shape)
            for block, v in zip(row, variables, strict=True)
        ]
        for row in blocks
    ]
    return joined, [tensor[0] for tensor in rest]


def rows(function: Callable[..., Any], variables: Tensors) -> tuple[list[list[Tensor]], Any]:
    """Return the Jacobian of a function by reverse mode, and what else it returned."""
    out, pull, rest = pull_back_by_func(function, variables)
    if not sum(tensor.numel() for tensor in out):
        return [[_empty(tensor, v) for v in variables] for tensor in out], rest
    derivatives = torch.func.vmap(lambda *cotangents: pull(cotangents))(*_basis(out))
    blocks = [_blocks(derivative, out) for derivative in derivatives]
    joined = [
        [
            column[i].reshape(tensor.shape + v.shape)
            for column, v in zip(blocks, variables, strict=True)
        ]
        for i, tensor in enumerate(out)
    ]
    return joined, rest


def _basis(tensors: Tensors) -> list[Tensor]:
    """Return the unit vectors of the space of all `tensors`, along a new first axis."""
    sizes = [tensor.numel() for tensor in tensors]
    basis, start = [], 0
    for tensor, size in zip(tensors, sizes, strict=True):
        ones = torch.eye(size, dtype=tensor.dtype, device=tensor.device)
        part = pad(ones, (0, 0, start, sum(sizes) - start - size))
        basis.append(part.reshape(sum(sizes), *tensor.shape))
        start += size
    return basis


def _blocks(derivative: Tensor, tensors: Tensors) -> Sequence[Tensor]:
    """Split the first axis into the parts of the basis that belong to each tensor."""
    return derivative.split([tensor.numel() for tensor in tensors])


def _empty(tensor: Tensor, variable: Tensor) -> Tensor:
    return torch.zeros(tensor.shape + variable.shape, dtype=variable.dtype, device=variable.device)
