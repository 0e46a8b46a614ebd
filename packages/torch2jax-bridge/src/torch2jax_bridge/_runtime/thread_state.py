"""What a call sets of the state of its thread, in PyTorch and JAX, and puts back at its end.

XLA calls on any of its threads, and PyTorch's state there is whatever the thread had last. So one
rule holds for all of it: it is set for each call, and at the end it is what was found, also where
the function itself has changed it. The level of forward mode, which threads share, is pax_tree's.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from hashlib import blake2b
from typing import Any, NamedTuple, Self

import jax
import torch

from torch2jax_bridge import _compat

_no_execution: Any = jax.no_execution
_one_thread = threading.RLock()


@contextmanager
def without_values() -> Iterator[None]:
    """In the `with` block a function may run on fake tensors, in one thread at a time.

    As in a call, PyTorch records no gradients and JAX executes no programs. Functions of
    `torch.compile` run uncompiled: otherwise PyTorch would compile them for fake tensors, or, under
    a dispatch mode, never compile them again.
    """
    with _one_thread:
        # Before it is loaded nothing is compiled, and loading it takes seconds.
        is_loaded = "torch._dynamo" in sys.modules
        stance = torch.compiler.set_stance("force_eager") if is_loaded else nullcontext()
        with stance, torch.no_grad(), _no_execution(True):
            yield


class ThreadMode(_compat.DispatchMode):
    """A mode of its thread alone, under which functions of `torch.compile` stay compiled."""

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        return True

    def __enter__(self) -> Self:
        if not _compat.push_mode:
            return super().__enter__()
        _compat.push_mode(self)
        return self

    def __exit__(self, *error: Any) -> None:
        if _compat.push_mode:
            _compat.pop_mode()
        else:
            super().__exit__(*error)


_here = threading.local()


def switches() -> dict[str, Callable[..., Any]]:
    """Return the functions with which C++ sets the state of a call, and puts back what it found.

    PyTorch records no gradients, JAX executes no programs, and PyTorch's stream is XLA's.
    """
    forbid, restore = _compat.execution_switch()
    streams = StreamSwitch()
    return {
        "is_grad_enabled": torch.is_grad_enabled,
        "set_grad_enabled": _compat.set_grad_enabled,
        "forbid_execution": forbid,
        "restore_execution": restore,
        "enter_stream": streams.enter,
        "leave_stream": streams.leave,
    }


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


# PyTorch's generators belong to the process: two calls that seed them may not overlap.
_generators = threading.RLock()
_scope = threading.local()


def is_seeded() -> bool:
    """Whether this thread is in `seeded`."""
    return getattr(_scope, "depth", 0) > 0


@contextmanager
def seeded(key: torch.Tensor) -> Iterator[None]:
    """In the `with` block PyTorch's generators give the numbers that belong to a key.

    Args:
        key: uint32 of shape (n,). On a GPU the host waits for it.
    """
    _scope.depth = getattr(_scope, "depth", 0) + 1
    try:
        with _forked(key) if _compat.is_plain(key) else nullcontext():  # a fake one has no values
            yield
    finally:
        _scope.depth -= 1


@contextmanager
def _forked(key: torch.Tensor) -> Iterator[None]:
    devices = [key.device] if key.device.type == "cuda" else []
    with _generators, torch.random.fork_rng(devices):
        torch.manual_seed(_seed(key.tolist()))
        yield


def _seed(words: list[int]) -> int:
    """Return a seed of 64 bits; different keys of JAX's default generator have different ones."""
    if len(words) == 2:
        return words[0] << 32 | words[1]
    data = b"".join(word.to_bytes(4, "little") for word in words)
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
