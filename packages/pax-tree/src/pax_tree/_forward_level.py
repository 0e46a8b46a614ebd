"""PyTorch's level of forward mode, safe from several threads.

PyTorch has one level of forward mode for the whole process. `torch.func.jvp` opens it unless it is
nested in another, by a count of all threads together, and closes it at its end, also under the
derivatives of the threads that came later. Here the last one out closes it; a lock around the whole
derivative would wait for ever where a function waits for another thread's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pax_tree._compat import current_forward_level, forward_mode, forward_nesting

# All libraries that count in this way come through this one door.
_door = threading.Lock()
_left_open = False


@contextmanager
def forward_level() -> Iterator[None]:
    """Keep the level open for calls of `torch.func.jvp`, which find it so and leave it so."""
    if forward_mode() is None:
        yield
        return
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    from torch.autograd import forward_ad

    with _door:
        found_open = _left_open and current_forward_level() >= 0
        if forward_nesting() == 0 and not found_open:
            forward_ad.enter_dual_level()
        forward_nesting(+1)


def _leave() -> None:
    global _left_open
    from torch.autograd import forward_ad

    with _door:
        _left_open = forward_nesting(-1) > 0
        if not _left_open and current_forward_level() >= 0:
            forward_ad.exit_dual_level()
