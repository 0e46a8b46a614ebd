"""Forward-mode differentiation in several threads, such as those that XLA runs its devices in.

PyTorch has one level of forward mode for the whole process. `torch.func.jvp` opens it unless it is
nested in another, by a count of all threads together, and closes it at its end, also under the
derivatives of the threads that came later. Here the last one out closes it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch._functorch import eager_transforms
from torch.autograd import forward_ad

# Under a name of its own, so that all libraries that count in this way come through the same door.
_door: threading.Lock = vars(forward_ad).setdefault("_forward_level_door", threading.Lock())
_left_open = False


@contextmanager
def forward_level() -> Iterator[None]:
    """Return the scope of calls of `torch.func.jvp`, which then find the level open and leave it so."""
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    with _door:
        found_open = _left_open and forward_ad._current_level >= 0
        if eager_transforms.JVP_NESTING == 0 and not found_open:
            forward_ad.enter_dual_level()
        eager_transforms.JVP_NESTING += 1


def _leave() -> None:
    global _left_open
    with _door:
        eager_transforms.JVP_NESTING -= 1
        _left_open = eager_transforms.JVP_NESTING > 0
        if not _left_open and forward_ad._current_level >= 0:
            forward_ad.exit_dual_level()
