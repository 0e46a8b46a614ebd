"""What a forward pass leaves to the backward pass of the same program."""

import itertools
import threading
from collections.abc import Sequence
from typing import NamedTuple

import torch

_MASK = 0x7FFFFFFF


class Residuals(NamedTuple):
    """One forward pass under autograd: its arguments, its results with their graph."""

    run: tuple[int, ...]
    addresses: tuple[int, ...]
    primals: list[torch.Tensor]
    outs: tuple[torch.Tensor, ...]


class Site:
    """The place, in one traced program, where a forward pass leaves its graph.

    It holds the last graph only. A backward pass takes it away; one that never comes leaves it to
    be replaced by the next forward pass, or to be freed with the program. A backward pass that
    finds nothing, or another run's graph, has to run the function again.

    The graph refers to memory of XLA's, which holds the arguments only as long as XLA wants to:
    so a backward pass takes it only if its own arguments lie at the same addresses.
    """

    _runs = itertools.count(1)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._residuals: Residuals | None = None

    def leave(self, primals: list[torch.Tensor], outs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Keep a forward pass; returns the token that names it, int32 of shape (2,)."""
        number = next(self._runs)
        run = (number >> 31 & _MASK, number & _MASK)
        self._swap(Residuals(run, _addresses(primals), primals, tuple(outs)))
        return torch.tensor(run, dtype=torch.int32)

    def take(self, token: torch.Tensor, primals: Sequence[torch.Tensor]) -> Residuals | None:
        """The forward pass that the token names, if it is still here and still usable."""
        found = self._swap(None)
        if found is None or found.run != tuple(token.tolist()):
            return None
        return found if found.addresses == _addresses(primals) else None

    def _swap(self, new: Residuals | None) -> Residuals | None:
        with self._lock:
            found, self._residuals = self._residuals, new
        return found


def _addresses(tensors: Sequence[torch.Tensor]) -> tuple[int, ...]:
    return tuple(tensor.data_ptr() for tensor in tensors)
