"""`scan` as the operator that PyTorch has for it, with a derivative of its own.

The derivative is a scan backwards, which computes each step again from what was carried into it. So rules
for derivatives, `no_grad` and the like in a step count, where the graph of a step would not know of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pax_torch._autodiff.flatten_fun import is_differentiable
from pax_torch._autodiff.grad import is_first_order
from pax_torch._compat import (
    forward_mode_runs,
    is_recorded,
    is_without_values,
    scanning,
    transforms_active,
    without_recording,
)
from pax_torch._compile.closed import Closed, Flat, Tensors
from pax_torch.lax._operators import copies, distinct


def can_be_scanned() -> bool:
    """Whether what runs now is written down, with derivatives of first order at most."""
    if torch.compiler.is_compiling() or not is_without_values() or not is_recorded():
        return False
    if transforms_active() or forward_mode_runs() or not is_first_order():
        return False
    return scanning() is not None


class Scan:
    """A scan over tensors.

    Args:
        step: takes what is carried and one slice of each of `xs`; returns what is carried next, and the
            outputs.
        carry: what is carried into the first step.
        xs: tensors whose first axes have one length.
    """

    def __init__(self, step: Flat, carry: Tensors, xs: Tensors) -> None:
        self.step, self.carry, self.xs = step, list(carry), list(xs)
        with torch.no_grad():
            self._closed = Closed(step, [*carry, *self._slices()])
        # Steps that draw random numbers would draw others for the derivative.
        self.draws = any(
            torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
            for node in self._closed.graph.graph.nodes
        )
        followed = [x for x in distinct(self._closed.constants) if x.requires_grad]
        self.variables = [x for x in followed if is_differentiable(x)]

    def __call__(self) -> list[Tensor]:
        """Return what is carried out of the last step, and the stacked outputs."""
        tensors = [*self.carry, *self.xs, *self.variables]
        if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
            return list(_Differentiable.apply(self, *tensors))  # pyright: ignore[reportArgumentType]
        found = self.run()
        return found[: len(found) - len(self.carry)]

    def run(self) -> list[Tensor]:
        """Return that, and the stack of what was carried into each step."""
        constants = distinct(self._closed.constants)
        step, count = self._closed.among(constants), len(self.carry)

        def body(*tensors: Tensor) -> list[Tensor]:
            return [*step(*tensors), *copies(tensors[:count])]

        return _scan(body, self.carry, self.xs, constants)

    def pull(self, carries: Tensors, cotangents: Tensors) -> list[Tensor | None]:
        """Return the cotangents of the carry, of `xs` and of the variables.

        Args:
            carries: the stack of what was carried into each step.
            cotangents: those of what the scan returns; of no account where there is no derivative.
        """
        count = len(self.carry)
        floats = [is_differentiable(x) for x in [*self.carry, *self.xs]]
        at_end = _chosen(cotangents[:count], floats)
        ys = [is_differentiable(x) for x in cotangents[count:]]
        zeros = [torch.zeros_like(x) for x in self.variables]
        carried = len(at_end)

        def body(*tensors: Tensor) -> list[Tensor]:
            ends, sums = tensors[:carried], tensors[carried : carried + len(zeros)]
            rest = tensors[carried + len(zeros) :]
            points, given = rest[: len(floats)], rest[len(floats) :]
            found = self._pulled(points, floats, (*ends, *given))
            totals = found[len(found) - len(zeros) :]
            slices = found[carried : len(found) - len(zeros)]
            added = [a + b for a, b in zip(sums, totals, strict=True)]
            return [*found[:carried], *added, *slices]

        xs = [*carries, *self.xs, *_chosen(cotangents[count:], ys)]
        init, xs = [*at_end, *zeros], [x.flip(0) for x in xs]
        closed = Closed(body, [*init, *[x.new_empty(x.shape[1:]) for x in xs]])
        constants = distinct(closed.constants)
        found = iter(_scan(closed.among(constants), init, xs, constants))
        carry = [next(found) if is_float else None for is_float in floats[:count]]
        variables = [next(found) for _ in zeros]
        slices = [next(found).flip(0) if is_float else None for is_float in floats[count:]]
        return [*carry, *slices, *variables]

    def _pulled(self, points: Tensors, floats: Sequence[bool], given: Tensors) -> list[Tensor]:
        """Return the cotangents of one step."""
        with torch.enable_grad():
            points = [
                x.detach().requires_grad_() if is_float else x
                for x, is_float in zip(points, floats, strict=True)
            ]
            out = [x for x in self.step(*points) if is_differentiable(x)]
            pairs = [(x, c) for x, c in zip(out, given, strict=True) if x.requires_grad]
            variables = [*_chosen(points, floats), *self.variables]
            found: Sequence[Tensor | None] = [None] * len(variables)
            if pairs:
                results, cotangents = zip(*pairs, strict=True)
                found = torch.autograd.grad(results, variables, cotangents, allow_unused=True)
        return [
            torch.zeros_like(x) if g is None else g for x, g in zip(variables, found, strict=True)
        ]

    def _slices(self) -> list[Tensor]:
        with without_recording():
            return [torch.empty(x.shape[1:], dtype=x.dtype, device=x.device) for x in self.xs]


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scan: Scan, *_: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        found = scan.run()
        last = len(found) - len(scan.carry)
        out, carries = found[:last], found[last:]
        ctx.scan, ctx.carries = scan, carries
        ctx.mark_non_differentiable(*[x for x in out if not is_differentiable(x)])
        return tuple(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.scan.pull(ctx.carries, cotangents)


def _scan(step: Flat, carry: Tensors, xs: Tensors, constants: Tensors) -> list[Tensor]:
    """Apply the operator, whose carry has no gaps in memory before and after a step."""
    if not carry:  # which there must be
        nothing = torch.zeros((), device=xs[0].device)
        return _scan(lambda c, *given: [c, *step(*given)], [nothing], xs, constants)[1:]
    count = len(carry)

    def dense(*tensors: Tensor) -> list[Tensor]:
        out = step(*tensors)
        return [x.contiguous().clone() if i < count else x for i, x in enumerate(out)]

    init = [x.clone(memory_format=torch.contiguous_format) for x in carry]
    return list(scanning()(dense, init, copies(xs), tuple(copies(constants))))


def _chosen(tensors: Sequence[Tensor], chosen: Sequence[bool]) -> list[Tensor]:
    return [x for x, taken in zip(tensors, chosen, strict=False) if taken]
