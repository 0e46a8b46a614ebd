"""Calls of JAX programs that PyTorch's autograd and `torch.func` know how to transform."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch

from torch2jax_bridge._avals import Tensors, pick
from torch2jax_bridge._compat import is_being_compiled, transforms_active
from torch2jax_bridge._jax2torch.execute import run
from torch2jax_bridge._jax2torch.program import Numbers, Program

Given = Sequence[torch.Tensor | None]


def call(
    program: Program, numbers: Numbers, tensors: Sequence[torch.Tensor], *, keep: bool = True
) -> Tensors:
    """Return the results of a program, differentiable.

    Args:
        program: what to call.
        numbers: its Python numbers.
        tensors: its arrays.
        keep: whether to keep residuals for the backward pass, if there may be one.
    """
    is_moving = torch.is_grad_enabled() and program.moving_outs
    moving = program.moving_ins if is_moving else ()
    wrt = tuple(i for i in moving if tensors[i].requires_grad)
    chosen = program.with_residuals(wrt) if keep and wrt else program
    function = _Transformed if transforms_active() else _Plain
    outs = function.apply(chosen, numbers, *tensors)
    return outs[: len(program.outs)]


class _Transformed(torch.autograd.Function):
    """Inside of `torch.func`."""

    @staticmethod
    def forward(program: Program, numbers: Numbers, *tensors: torch.Tensor) -> Tensors:
        return tuple(run(program, numbers, tensors))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensors) -> None:
        program, ctx.numbers, *tensors = inputs
        # A graph of torch.compile may outlive the function, with such results beside it.
        ctx.program = weakref.proxy(program) if is_being_compiled() else program
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *pick(output, program.saved))
        ctx.save_for_forward(*tensors)
        moving = program.moving_outs
        ctx.mark_non_differentiable(*(x for i, x in enumerate(output) if i not in moving))

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor | None) -> tuple:
        program: Program = ctx.program
        needed = ctx.needs_input_grad[2:]
        wrt = tuple(i for i in program.moving_ins if needed[i])
        of = _present(program.moving_outs, cotangents)
        grads: list[Any] = [None] * len(program.ins)
        if wrt and of:
            made, places = program.backward(wrt, of)
            known = pick(ctx.saved_tensors, places)
            keep = not transforms_active()
            outs = call(made, ctx.numbers, (*known, *pick(cotangents, of)), keep=keep)
            for i, grad in zip(wrt, outs, strict=True):
                grads[i] = grad
        return None, None, *grads

    @staticmethod
    def jvp(ctx: Any, *tangents: torch.Tensor | None) -> tuple:
        program: Program = ctx.program
        given = tangents[2:]
        wrt, of = _present(program.moving_ins, given), program.moving_outs
        moved: list[Any] = [None] * len(program.outs)
        if wrt and of:
            made = program.jvp(wrt, of)
            outs = call(made, ctx.numbers, (*ctx.saved_tensors, *pick(given, wrt)))
            for i, tangent in zip(of, outs, strict=True):
                moved[i] = tangent
        return tuple(moved)

    @staticmethod
    def vmap(info: Any, in_dims: tuple, program: Program, numbers: Numbers, *tensors: Any) -> tuple:
        outs = call(program.vmap(tuple(in_dims[2:]), info.batch_size), numbers, tensors)
        return outs, (0,) * len(outs)


class _Plain(_Transformed):
    """Outside of `torch.func`, where this form costs half as much."""

    @staticmethod
    def forward(ctx: Any, program: Program, numbers: Numbers, *tensors: torch.Tensor) -> Tensors:
        outs = tuple(run(program, numbers, tensors))
        _Transformed.setup_context(ctx, (program, numbers, *tensors), outs)
        return outs

    setup_context = torch.autograd.Function.setup_context


def _present(indices: Sequence[int], values: Given) -> tuple[int, ...]:
    return tuple(i for i in indices if values[i] is not None)
