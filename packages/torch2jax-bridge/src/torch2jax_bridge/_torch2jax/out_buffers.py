"""Results written into XLA's buffers by the operations that produce them.

PyTorch's operations have forms that write into a given tensor. The first call of a function notes
which operations produce the results; later calls let those write into XLA's buffers. The function
itself runs each time, and when it does something else than the first time, its results are copied.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import prod
from typing import Any, NamedTuple

import torch

from torch2jax_bridge._avals import Tensors
from torch2jax_bridge._compat import DispatchMode, has_kernel, schema, to_copy
from torch2jax_bridge._runtime.thread_state import ThreadMode

# Watching a call, or one operation more, costs about as much as copying this much.
BYTES_PER_OPERATION = {"cpu": 100_000, "cuda": 8_000_000}
LEAST_OPERATIONS = 3


def pays(size: int, platform: str) -> bool:
    """Whether results of this many bytes may be worth watching a call."""
    return bool(DispatchMode) and size >= LEAST_OPERATIONS * BYTES_PER_OPERATION[platform]


class Step(NamedTuple):
    """An operation that is to write into an output buffer.

    Attributes:
        operation: what it is expected to be.
        into: the form of it that takes `out=`.
        result: the number of the result, and so of the buffer.
        shape: of what the operation gives; the result may be a view of that.
    """

    operation: Any
    into: Callable[..., Any]
    result: int
    shape: tuple[int, ...]


Plan = dict[int, Step]


class OutBufferWriter:
    """A function of flat tensors that is given the output buffers after its arguments."""

    def __init__(self, call: Callable[..., Any], arguments: int, platform: str) -> None:
        self._call = call
        self._arguments = arguments
        self._bytes = BYTES_PER_OPERATION[platform]
        self._plan: Plan | None = None

    def __call__(self, *tensors: torch.Tensor) -> Any:
        arguments, buffers = tensors[: self._arguments], tensors[self._arguments :]
        if self._plan is None:
            with _Recorder() as recorder:
                results = self._call(*arguments)
            self._plan = recorder.plan(results, buffers, self._bytes)
            return results
        if not self._plan:
            return self._call(*arguments)
        with _Redirector(self._plan, buffers):
            return self._call(*arguments)


class _Recorder(ThreadMode):
    """Notes which operation has made each piece of memory."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self._made: dict[int, tuple[int, Any, torch.Size]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        results = func(*args, **(kwargs or {}))
        given = {_memory(x) for x in args if isinstance(x, torch.Tensor)}
        for result in results if isinstance(results, tuple | list) else (results,):
            if isinstance(result, torch.Tensor) and _memory(result) not in given:
                self._made[_memory(result)] = (self.count, func, result.shape)
        self.count += 1
        return results

    def plan(self, results: Any, buffers: Tensors, bytes_per_operation: int) -> Plan:
        """Return the operations that may write, if that saves more than it costs."""
        plan: Plan = {}
        size = 0
        results = results if isinstance(results, tuple) else (results,)
        for number, (result, buffer) in enumerate(zip(results, buffers, strict=False)):
            step = self._step(number, result, buffer)
            if step is not None and step[0] not in plan:
                plan[step[0]] = step[1]
                size += buffer.nbytes
        return plan if size >= bytes_per_operation * (2 + self.count) else {}

    def _step(self, number: int, result: Any, buffer: torch.Tensor) -> tuple[int, Step] | None:
        if not isinstance(result, torch.Tensor) or result.layout is not torch.strided:
            return None
        index, operation, shape = self._made.get(_memory(result), (0, None, ()))
        whole = result.data_ptr() == _memory(result) and prod(shape) == buffer.numel()
        if operation is None or not whole or not result.is_contiguous():
            return None
        into = out_form(operation, result.device.type)
        if into is None or (result.dtype, result.shape) != (buffer.dtype, buffer.shape):
            return None
        return index, Step(operation, into, number, tuple(shape))


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else id(tensor)


class _Redirector(ThreadMode):
    """Lets the operations of a plan write into the output buffers."""

    def __init__(self, plan: Plan, buffers: Tensors) -> None:
        super().__init__()
        self._plan = plan
        self._buffers = buffers
        self._next = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        step = self._plan.get(self._next)
        self._next += 1
        if step is None or step.operation is not func:
            return func(*args, **(kwargs or {}))
        buffer = self._buffers[step.result]
        # A view would not be seen when the function keeps it, see `registration._rescue`.
        out = buffer if buffer.shape == step.shape else buffer.view(step.shape)
        return step.into(*args, **(kwargs or {}), out=out)


@cache
def out_form(operation: Any, device: str) -> Callable[..., Any] | None:
    """Return the form of an operation that writes its one result into `out=` without a copy, if any.

    Args:
        operation: one that returns new tensors.
        device: "cpu" or "cuda"; a form without a kernel there would copy.
    """
    if operation in _EQUIVALENT:
        return _EQUIVALENT[operation]
    known = schema(operation)
    if known is None or known.is_mutable or torch.Tag.dynamic_output_shape in operation.tags:
        return None
    arguments = [(a.name, str(a.type)) for a in known.arguments]
    packet = operation.overloadpacket
    for name in packet.overloads():
        other = getattr(packet, name)
        if _takes_out(schema(other), arguments) and has_kernel(other.name(), device.upper()):
            return other
    return None


def _takes_out(schema: Any, arguments: list[tuple[str, str]]) -> bool:
    """Whether a schema has these arguments and one that is written, named `out`."""
    outs = [a.name for a in schema.arguments if a.is_out]
    return outs == ["out"] and arguments == [
        (a.name, str(a.type)) for a in schema.arguments if not a.is_out
    ]


def _copy(source: torch.Tensor, *, out: torch.Tensor, **_: Any) -> torch.Tensor:
    return out.copy_(source)


def _relu(source: torch.Tensor, *, out: torch.Tensor) -> torch.Tensor:
    return torch.ops.aten.clamp_min.out(source, 0, out=out)


_EQUIVALENT: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.clone.default: _copy,
    to_copy: _copy,
    torch.ops.aten.relu.default: _relu,
}
