"""What a forward pass leaves to the backward pass of the same program."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch

from torch2jax_bridge._runtime.thread_state import current_run

_MASK = 0x7FFFFFFF


class Residuals(NamedTuple):
    """One forward pass under autograd: its arguments, its results with their graph."""

    addresses: tuple[int, ...]
    primals: list[torch.Tensor]
    outs: tuple[torch.Tensor, ...]


class ResidualSlot:
    """Where, in one traced program, a forward pass saves its graph for the backward pass.

    It holds the last graph only, one for each GPU. A backward pass takes it away; one that never
    comes leaves it to be replaced by the next forward pass, or to be freed with the program. A
    backward pass that finds nothing, or another run's graph, has to run the function again.

    The graph refers to memory of XLA's, which holds the arguments only as long as XLA wants to:
    so a backward pass takes it only if its own arguments lie at the same addresses.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._on_cpu = ByToken()
        self._on_gpus: dict[int, ByRun] = {}

    def save(self, primals: list[torch.Tensor], outs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Keep a forward pass; returns the token that stands for it, int32 of shape (2,)."""
        device = primals[0].device
        residuals = Residuals(_addresses(primals), primals, tuple(outs))
        with self._lock:
            if device.type == "cpu":
                return self._on_cpu.save(residuals)
            self._on_gpus.setdefault(device.index, ByRun()).save(residuals, current_run())
        return torch.empty(2, dtype=torch.int32, device=device)

    def take(self, token: torch.Tensor, primals: Sequence[torch.Tensor]) -> Residuals | None:
        """Return the forward pass that the token stands for, if it is still here and still usable."""
        device = primals[0].device
        with self._lock:
            if device.type == "cpu":
                found = self._on_cpu.take(token)
            else:
                found = self._on_gpus.setdefault(device.index, ByRun()).take(current_run())
        return found if found is not None and found.addresses == _addresses(primals) else None


class ByToken:
    """One forward pass, found by the number in its token."""

    _numbers = itertools.count(1)

    def __init__(self) -> None:
        self._words: tuple[int, ...] = ()
        self._residuals: Residuals | None = None

    def save(self, residuals: Residuals) -> torch.Tensor:
        """Keep a forward pass in place of the one before; returns its token."""
        number = next(self._numbers)
        self._words = (number >> 31 & _MASK, number & _MASK)
        self._residuals = residuals
        return torch.tensor(self._words, dtype=torch.int32)

    def take(self, token: torch.Tensor) -> Residuals | None:
        """Empty the place; what was in it, if the token is its own."""
        found, self._residuals = self._residuals, None
        return found if self._words == tuple(token.tolist()) else None


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
    return tuple(tensor.data_ptr() for tensor in tensors)
