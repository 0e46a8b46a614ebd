"""Forward-mode differentiation, safe from several threads.

PyTorch has one level of forward mode for the whole process. `torch.func.jvp` opens it unless it is
nested in another, by a count of all threads together, and closes it at its end, also under the
derivatives of the threads that came later. Here the last one out closes it; a lock around the whole
derivative would wait for ever where a function waits for another thread's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._functorch import eager_transforms
from torch.autograd import forward_ad

from pax_torch._autodiff.flatten_fun import NonEmptyOutput
from pax_torch._autodiff.zero_tangents import ordinary_zeros

# Under a name of its own, so that all libraries that count in this way come through the same door.
_door: threading.Lock = forward_ad.__dict__.setdefault("_forward_level_door", threading.Lock())
_left_open = False


def forward_derivative(
    function: Callable[..., Any], points: Sequence[Tensor], tangents: Sequence[Tensor]
) -> Any:
    """Return `(out, tangents_out, aux)` of a function that returns a tuple of tensors and aux tensors.

    It is `torch.func.jvp`, also for a function that returns the empty tuple.
    """
    filled = NonEmptyOutput(function)
    with _forward_level(), ordinary_zeros():
        result: Any = torch.func.jvp(filled, tuple(points), tuple(tangents), has_aux=True)
    return ((), (), result[2]) if filled.empty else result


@contextmanager
def _forward_level() -> Iterator[None]:
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
