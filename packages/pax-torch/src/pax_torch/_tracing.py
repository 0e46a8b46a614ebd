"""Running functions on tensors without values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
)
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.utils._python_dispatch import _get_current_dispatch_mode

_NO_VALUE = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    GuardOnDataDependentSymNode,
)


def is_traced() -> bool:
    """Whether what runs now may be on tensors without values, or written down."""
    return _get_current_dispatch_mode() is not None


@contextmanager
def without_values(transform: str, advice: str) -> Iterator[None]:
    """Says what is wrong where a function needs the value of a tensor that has none.

    Raises:
        TypeError: in place of PyTorch's own errors, as JAX's errors of this kind are.
    """
    try:
        yield
    except _NO_VALUE as error:
        raise TypeError(
            f"{transform} runs the function on tensors without values, but it needs one, for an "
            f"`if`, a loop, a conversion to a number or a shape; {advice}."
        ) from error
