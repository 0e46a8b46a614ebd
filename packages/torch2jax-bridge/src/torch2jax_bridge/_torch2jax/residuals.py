"""What a forward pass leaves to the backward pass of the same program."""

from __future__ import annotations

import itertools
import threading
from array import array
from collections.abc import Hashable, Sequence
from typing import NamedTuple
from weakref import ref

import torch

import torch2jax_bridge._C as _C
from torch2jax_bridge._runtime.thread_state import current_run
from torch2jax_bridge._torch2jax.recording import Recording

_MASK = 0x7FFFFFFF
# How many forward passes of other runs a slot keeps whose backward passes have not come yet.
WAITING = 32


class Residuals(NamedTuple):
    """One forward pass under autograd: its arguments, its results with their graph.

    Attributes:
        addresses: where the arguments were; None if they have memory of their own.
        primals: the arguments, as they are in the graph.
        outs: the results.
        copies: what the pass got in place of XLA's memory.
        recording: of the graph.
    """

    addresses: tuple[int, ...] | None
    primals: list[torch.Tensor]
    outs: tuple[torch.Tensor, ...]
    copies: list[torch.Tensor]
    recording: Recording


class ResidualSlot:
    """Where, for one call in a traced program, forward passes save their graphs for the backward passes.

    JAX traces what is called several times only once, so one slot serves several calls of a program,
    several devices, and several programs: on a CPU each run of a call has a graph of its own, which
    its token names. A backward pass takes it away. One that never comes leaves it to be freed with
    the program, or when many newer ones wait. On a GPU there is one graph for each device. A backward
    pass that finds none has to run the function again.

    A graph refers to memory of XLA's, which holds the arguments only as long as XLA wants to: so a
    backward pass takes it only if its own arguments lie at the same addresses. Where they do not, in
    loops, later passes get copies of their arguments.

    Args:
        copies: whether they get copies from the beginning, since the function cannot run again.
    """

    def __init__(self, copies: bool = False) -> None:
        self._lock = threading.Lock()
        self._copies = copies
        self._last: list[ref[torch.Tensor]] = []
        self._on_cpu = ByToken()
        self._on_gpus: dict[int, ByRun] = {}

    def arguments(self, args: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return what a forward pass is to get as its arguments: copies, where those are needed.

        A copy that the pass before got serves again if it is still there and holds the same: in a
        loop, parameters are copied once.
        """
        if not self._copies or args[0].device.type != "cpu":
            return []
        last = [copy() for copy in self._last] or [None] * len(args)
        copies = [
            old if old is not None and _same(old, x) else x.clone()
            for old, x in zip(last, args, strict=True)
        ]
        self._last = list(map(ref, copies))
        return copies

    def save(
        self,
        args: Sequence[torch.Tensor],
        primals: list[torch.Tensor],
        outs: tuple[torch.Tensor, ...],
        copies: list[torch.Tensor],
        recording: Recording,
    ) -> torch.Tensor:
        """Keep a forward pass.

        Args:
            args: its arguments, in XLA's memory.
            primals: the arguments, as they are in the graph.
            outs: its results.
            copies: what `arguments` returned.
            recording: of the graph.

        Returns:
            The token that stands for it, int32 of shape (2,).
        """
        device = args[0].device
        addresses = None if copies else _addresses(args)
        residuals = Residuals(addresses, primals, tuple(outs), copies, recording)
        with self._lock:
            if device.type == "cpu":
                return self._on_cpu.save(residuals, _C.current_cpu_run())
            self._on_gpus.setdefault(device.index, ByRun()).save(residuals, current_run())
        return torch.empty(2, dtype=torch.int32, device=device)

    def take(self, token: torch.Tensor, args: Sequence[torch.Tensor]) -> Residuals | None:
        """Return the forward pass that the token stands for, if it is still here and still usable."""
        device = args[0].device
        with self._lock:
            if device.type == "cpu":
                found = self._on_cpu.take(token)
            else:
                found = self._on_gpus.setdefault(device.index, ByRun()).take(current_run())
        if found is None or found.addresses in (None, _addresses(args)):
            return found
        self._copies = True
        return None


def _same(copy: torch.Tensor, tensor: torch.Tensor) -> bool:
    """Whether two tensors of one shape and dtype hold the same bits."""
    return torch.equal(*(x.reshape(-1).view(torch.uint8) for x in (copy, tensor)))


class ByToken:
    """Forward passes, found by the numbers in their tokens."""

    _numbers = itertools.count(1)

    def __init__(self) -> None:
        self._passes: dict[int, tuple[Hashable, Residuals]] = {}
        self._bound = WAITING

    def __len__(self) -> int:
        return len(self._passes)

    def save(self, residuals: Residuals, run: Hashable) -> torch.Tensor:
        """Keep a forward pass of a run; returns its token."""
        number = next(self._numbers)
        self._passes[number] = run, residuals
        if len(self._passes) > self._bound:
            self._forget(run)
        words = number >> 31 & _MASK, number & _MASK
        # A third of the time of `torch.tensor`.
        return torch.frombuffer(array("i", words), dtype=torch.int32)

    def take(self, token: torch.Tensor) -> Residuals | None:
        """Take away the forward pass that a token stands for."""
        high, low = token.tolist()
        return self._passes.pop(high << 31 | low, (None, None))[1]

    def _forget(self, run: Hashable) -> None:
        """Free the oldest passes of other runs: it is not known whether their programs have ended."""
        others = [number for number, (other, _) in self._passes.items() if other != run]
        for number in others[:-WAITING]:
            del self._passes[number]
        self._bound = WAITING + 2 * (len(self._passes) - len(others[-WAITING:]))


class ByRun:
    """One forward pass, found by the program run that it belongs to, without reading a token.

    A token lies in the GPU's memory, and reading it would make the host wait. Within one run the
    host calls the passes in their order. As long as they take turns, each backward pass belongs to
    the forward pass before it; where two forward passes follow each other (in the loop of a scan),
    it does not, and nothing is kept for the rest of the run.
    """

    def __init__(self) -> None:
        self._run: Hashable = None
        self._residuals: Residuals | None = None
        self._mixed = False

    def save(self, residuals: Residuals, run: Hashable) -> None:
        """Keep the forward pass of a run."""
        if run != self._run:
            self._run, self._residuals, self._mixed = run, None, False
        self._mixed = self._mixed or self._residuals is not None
        self._residuals = None if self._mixed else residuals

    def take(self, run: Hashable) -> Residuals | None:
        """Empty the place; what was in it, if it is of the same run."""
        found, self._residuals = self._residuals, None
        return found if run == self._run else None


def _addresses(tensors: Sequence[torch.Tensor]) -> tuple[int, ...]:
    return tuple(map(torch.Tensor.data_ptr, tensors))
