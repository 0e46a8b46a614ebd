"""Ctrl-C while PyTorch traces and compiles: its callbacks for weak references would lose the exception."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait until the block ends, whether by an error or not; a second one does not wait.

    PyTorch would lose the exception in callbacks of weak references, or be left half changed. Only the
    main thread gets interrupts, so there is nothing to do in another.
    """
    handler = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not callable(handler) or getattr(handler, "is_hold", False):
        yield
        return
    waiting: list[FrameType | None] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if waiting:
            waiting.clear()
            handler(number, frame)
        else:
            waiting.append(frame)

    hold.is_hold = True  # pyright: ignore[reportFunctionMemberAccess]
    try:
        signal.signal(signal.SIGINT, hold)
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is hold:
            signal.signal(signal.SIGINT, handler)
        if waiting:
            handler(signal.SIGINT, waiting.pop())
