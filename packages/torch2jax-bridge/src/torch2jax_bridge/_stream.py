"""PyTorch on XLA's CUDA stream."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from functools import cache
from typing import Any, NamedTuple

import torch

_here = threading.local()


class Found(NamedTuple):
    """What was current before."""

    device: int
    stream: Any
    run: Hashable


class StreamSwitch:
    """Makes streams of XLA's PyTorch's current ones.

    Nothing is synchronised: work that PyTorch enqueues in between is ordered with XLA's work by the
    stream itself, and memory that PyTorch frees is reused in stream order.

    Args:
        cuda: the module to use; tests pass a stand-in for `torch.cuda`.
    """

    def __init__(self, cuda: Any = torch.cuda) -> None:
        self._cuda = cuda
        self._external = cache(lambda pointer, ordinal: cuda.ExternalStream(pointer, ordinal))

    def enter(self, pointer: int, ordinal: int, run: int) -> Found:
        """Make a stream the current one of its device, and its device the current one.

        Args:
            pointer: the address of the `cudaStream_t`.
            ordinal: the local ordinal of the stream's device, the same in XLA and PyTorch.
            run: XLA's number for the run of the program.

        Returns:
            What `leave` needs to undo it.
        """
        cuda = self._cuda
        found = Found(cuda.current_device(), cuda.current_stream(ordinal), current_run())
        cuda.set_stream(self._external(pointer, ordinal))
        _here.run = (run, pointer)
        return found

    def leave(self, found: Found) -> None:
        """Undo `enter`."""
        _here.run = found.run
        self._cuda.set_stream(found.stream)
        if self._cuda.current_device() != found.device:
            self._cuda.set_device(found.device)


def current_run() -> Hashable:
    """Return what names the run of a program, and its stream, that this thread is in on a GPU."""
    return getattr(_here, "run", None)
