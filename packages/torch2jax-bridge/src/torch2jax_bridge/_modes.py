"""PyTorch's modes in a process of many threads, some of which use `torch.compile`.

Entering a mode of PyTorch's sets flags of the process, which leaving it sets to what they were: two
threads that do so at once may leave them set for ever, and nothing is compiled any more.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Self

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _pop_mode, _push_mode

_one_thread = threading.RLock()


@contextmanager
def without_values() -> Iterator[None]:
    """Return the scope of work with fake tensors, in one thread at a time.

    Meanwhile functions of `torch.compile` run as they were written. PyTorch would compile them for
    fake tensors, or, under a mode, give them up for ever.
    """
    with _one_thread:
        # Before it is loaded nothing is compiled, and loading it takes seconds.
        is_loaded = "torch._dynamo" in sys.modules
        with torch.compiler.set_stance("force_eager") if is_loaded else nullcontext():
            yield


class ThreadMode(TorchDispatchMode):
    """A mode of its thread alone, under which functions of `torch.compile` stay compiled."""

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        return True

    def __enter__(self) -> Self:
        _push_mode(self)
        return self

    def __exit__(self, *_: Any) -> None:
        _pop_mode()


def is_under_mode() -> bool:
    """Whether this thread is inside of a mode."""
    return torch._C._len_torch_dispatch_stack() > 0
