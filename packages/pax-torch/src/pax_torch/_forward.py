"""Forward-mode differentiation, one thread at a time.

PyTorch counts the nesting of forward mode in a global variable, so that two threads that use it at
the same time would end each other's.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import TransformType
from torch._functorch.pyfunctorch import retrieve_all_functorch_interpreters

_lock = threading.RLock()


def forward_derivative(
    function: Callable[..., Any], points: Sequence[Tensor], tangents: Sequence[Tensor]
) -> Any:
    """Returns `(out, tangents_out, aux)` of a function that returns tensors and aux tensors."""
    with _alone():
        return torch.func.jvp(function, tuple(points), tuple(tangents), has_aux=True)


@contextmanager
def _alone() -> Iterator[None]:
    """Keeps other threads out; not those of a backward pass that began within."""
    if _inside():
        yield
    else:
        with _lock:
            yield


def _inside() -> bool:
    interpreters = retrieve_all_functorch_interpreters()
    return any(interpreter.key() == TransformType.Jvp for interpreter in interpreters)
