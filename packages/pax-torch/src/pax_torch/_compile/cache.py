"""All compiled programs of one function, by its arguments and PyTorch's settings, and their derivatives."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from pax_torch._autodiff.flatten_fun import FlatFunction, is_differentiable, merge
from pax_torch._autodiff.grad import nested
from pax_torch._compat import forward_mode_runs, has_function_mode, is_traced, transforms_active
from pax_torch._compile.sizes import form_of
from pax_torch._compile.trace import Compile, Program
from pax_torch._rng import RandomState

Function = Callable[..., Any]
# Device types and the dtypes that autocast has for them.
Autocast = tuple[tuple[str, torch.dtype], ...]


# How many programs a function keeps, as many as that of `jax.jit`, and its derivative of each order.
_KEPT = 4096
_remembering = threading.Lock()


def runs_inline() -> bool:
    """Whether a compiled function runs as it is, since it is part of what is transformed or traced."""
    if torch.compiler.is_compiling() or transforms_active():
        return True
    return is_traced() or forward_mode_runs()


class ProgramCache:
    """The programs of a function by what distinguishes them; made when they are needed.

    Args:
        compile: makes a callable of a graph module.
        in_order: what `compile` makes draws random numbers in the order of the graph.
        has_open_sizes: a program is for all sizes for which the function does the same.
    """

    def __init__(self, compile: Compile, in_order: bool, has_open_sizes: bool = False) -> None:
        self._settings = compile, in_order, has_open_sizes
        self._has_open_sizes = has_open_sizes
        self.clear()

    def clear(self) -> None:
        """Drop all programs."""
        self._programs: dict[Hashable, list[Program]] = {}
        self._derivatives: ProgramCache | None = None

    def size(self) -> int:
        """Return how many programs there are, those of derivatives included."""
        derivatives = self._derivatives
        return self._own_size() + (derivatives.size() if derivatives else 0)

    def _own_size(self) -> int:
        return sum(map(len, list(self._programs.values())))

    def call(
        self,
        function: Function,
        key: Hashable,
        tensors: Sequence[Tensor],
        needed_from: int | None = None,
    ) -> Any:
        """Return the result of a function of tensors; `key` tells apart functions.

        With `needed_from`, None stands for each result that depends on no argument from that one on.
        """
        if runs_inline():
            return function(*tensors)
        settings = _autocast()
        if not settings:
            return self._call(function, key, tensors, needed_from)

        def cast(*args: Tensor) -> Any:
            with _autocasting(settings, True):
                return function(*args)

        with _autocasting(settings, False):
            return self._call(cast, (key, settings), tensors, needed_from)

    def _call(
        self, function: Function, key: Hashable, tensors: Sequence[Tensor], needed_from: int | None
    ) -> Any:
        program = self._program(function, key, tensors)
        if nested() and program.closes_over_variables:
            return function(*tensors)
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            # Residuals have no derivative of second order, and numbers must be drawn in one order.
            # What is written to would be written to again.
            if program.returns_functions or program.draws_in_any_order or program.writes:
                return function(*tensors)
            out = _Differentiable.apply(self, program, function, key, *tensors)
            return program.result(out)  # pyright: ignore[reportArgumentType]
        return program.result(program(tensors), needed_from)

    def _program(self, function: Function, key: Hashable, tensors: Sequence[Tensor]) -> Program:
        form = form_of if self._has_open_sizes else _whole_form
        whole = (key, _defaults(), *map(form, tensors))
        for program in self._programs.get(whole, ()):
            if program.holds_for(tensors):
                return program
        made = Program(function, tensors, *self._settings)
        self._remember(whole, made)
        return made

    def _remember(self, key: Hashable, made: Program) -> None:
        """Keep a program, and drop the oldest of the function for it where there are many."""
        with _remembering:
            while self._own_size() >= _KEPT:
                first = next(iter(self._programs))
                self._programs[first].pop(0)
                if not self._programs[first]:
                    del self._programs[first]
            self._programs.setdefault(key, []).append(made)

    def pull(
        self,
        function: Function,
        key: Hashable,
        tensors: Sequence[Tensor],
        cotangents: Sequence[Tensor | None],
        draws: bool,
    ) -> Sequence[Tensor | None]:
        """Return for each tensor its cotangent, or None if the result does not depend on it.

        If the function draws random numbers, that program returns the values as well: a compiler
        that dropped what only they need would number the other random numbers anew.
        """
        count = len(tensors)
        derivatives = self._derivatives
        if derivatives is None:
            derivatives = self._derivatives = ProgramCache(*self._settings)
        given = [cotangent is not None for cotangent in cotangents]
        values = [cotangent for cotangent in cotangents if cotangent is not None]
        pulled = _pulled(function, count, given, draws)
        key = key, count, tuple(given), draws
        result = derivatives.call(pulled, key, [*tensors, *values], count)
        return result[:count]


def _whole_form(tensor: Tensor) -> Hashable:
    return tensor.shape, tensor.dtype, tensor.device, tensor.stride()


def _pulled(function: Function, count: int, given: Sequence[bool], with_values: bool) -> Function:
    """Return the transposed derivative as a function of the arguments and some cotangents."""

    def pulled(*both: Tensor) -> Sequence[Tensor | None]:
        tensors, values = both[:count], both[count:]
        chosen = [is_differentiable(tensor) for tensor in tensors]
        variables = [x for x, taken in zip(tensors, chosen, strict=True) if taken]
        flat = FlatFunction(lambda new: function(*merge(new, chosen, tensors)), False, "jit")
        result: Any = torch.func.vjp(flat, *variables, has_aux=True)
        out, pull_back, rest = result
        cotangents = merge(values, given)
        cotangents = [x for x, taken in zip(cotangents, flat.chosen, strict=True) if taken]
        filled = [
            torch.zeros_like(x) if c is None else c for x, c in zip(out, cotangents, strict=True)
        ]
        pulls = merge(pull_back(tuple(filled)), chosen)
        return [*pulls, *out, *rest] if with_values else pulls

    return pulled


class _Differentiable(torch.autograd.Function):
    """A program whose derivative is the program of the derivative."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        programs: ProgramCache,
        program: Program,
        function: Function,
        key: Hashable,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.call = programs, function, key
        ctx.random = RandomState(program.draws) if program.draws else None
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        return program(tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
        programs, function, key = ctx.call
        with ctx.random.restored() if ctx.random else nullcontext():
            draws = ctx.random is not None
            pulled = programs.pull(function, key, ctx.saved_tensors, cotangents, draws)
        return None, None, None, None, *pulled


def _defaults() -> tuple[torch.dtype, torch.device | None]:
    """Return the dtype and, if it was set, the device of tensors made without being told."""
    # A device is set by a function mode; where there is none, that is known at once.
    device = torch.get_default_device() if has_function_mode() else None
    return torch.get_default_dtype(), device


@functools.cache
def _device_types() -> tuple[str, ...]:
    accelerator = torch.accelerator.current_accelerator()
    return ("cpu",) if accelerator is None else ("cpu", accelerator.type)


def _autocast() -> Autocast:
    """Return where autocast is on."""
    on = [kind for kind in _device_types() if torch.is_autocast_enabled(kind)]
    return tuple([(kind, torch.get_autocast_dtype(kind)) for kind in on]) if on else ()


@contextmanager
def _autocasting(settings: Autocast, enabled: bool) -> Iterator[None]:
    """Switch autocast on as it is in the settings, or off for what has its conversions written down.

    It keeps no copies of parameters then, which could be tensors without values.
    """
    with ExitStack() as stack:
        for kind, dtype in settings:
            stack.enter_context(torch.autocast(kind, dtype, enabled, cache_enabled=False))
        yield
