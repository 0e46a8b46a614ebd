"""Calls of Python functions on tensors with values, from within transforms and compiled programs.

A transform sees a `torch.autograd.Function`, whose rules say how a mapped call is made; a program has
an operator of PyTorch in its place, with a number for the function.
"""

from __future__ import annotations

import functools
import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._compat import is_traced, keep_in_order

# By its number a compiled program knows a function, which lives as long as any program may.
_numbers = itertools.count()
_functions: dict[int, Callback] = {}


class Callback(ABC):
    """A function to be called on tensors with values."""

    # Whether it is called for what it does, each time that a program runs, and in order.
    has_effect = False

    @abstractmethod
    def run(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Call the function, and return its results."""

    @abstractmethod
    def results(self) -> list[Tensor]:
        """Return tensors like the results."""

    @abstractmethod
    def run_mapped(self, size: int, axes: Sequence[int | None], tensors: Sequence[Tensor]) -> Any:
        """Return the results for all examples of a `vmap`, and their axes."""

    @abstractmethod
    def refuse_derivative(self) -> Any:
        """Raise an error, or return nothing where there are no results."""


def call(callback: Callback, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the results of a callback, now or when the program runs."""
    return _Call.apply(callback, *tensors)  # pyright: ignore[reportReturnType]


class _Call(torch.autograd.Function):
    @staticmethod
    def forward(callback: Callback, *tensors: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not is_traced():
            return tuple(callback.run([tensor.detach() for tensor in tensors]))
        number = next(_numbers)
        _functions[number] = callback
        # One without values beside them: a trace calls operators itself where it knows all values.
        given = [*tensors, torch.empty(0)]
        if callback.has_effect:
            _action()(given, number)
            return ()
        return tuple(_operator()(given, number))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.callback = inputs[0]
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> Any:
        if any(cotangent is not None for cotangent in cotangents):
            ctx.callback.refuse_derivative()
        return (None,) * len(ctx.needs_input_grad)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return ctx.callback.refuse_derivative()

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], callback: Callback, *tensors: Tensor) -> Any:
        return callback.run_mapped(info.batch_size, in_dims[1:], tensors)


def _run(tensors: list[Tensor], number: int) -> list[Tensor]:
    return _functions[number].run([tensor.detach() for tensor in tensors[:-1]])


@functools.cache
def _operator() -> Any:
    """Return the operator for results, which PyTorch knows from its first use on."""
    operator = torch.library.custom_op("pax_torch::call", _run, mutates_args=())
    operator.register_fake(lambda tensors, number: _functions[number].results())
    return operator


@functools.cache
def _action() -> Any:
    """Return the operator for effects, likewise."""

    @torch.library.custom_op("pax_torch::act", mutates_args=())
    def operator(tensors: list[Tensor], number: int) -> None:
        _run(tensors, number)

    operator.register_fake(lambda tensors, number: None)
    keep_in_order("pax_torch::act")
    return operator
