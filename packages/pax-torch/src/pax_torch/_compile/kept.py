"""Closed-over tensors that a function writes to while it runs on tensors without values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from pax_torch._compat import HAS_ZEROS, DispatchMode, is_fake, outside_of_modes, written_by
from pax_tree import tree_leaves


@contextmanager
def closed_over_kept() -> Iterator[None]:
    """Leave closed-over tensors as they are, which such a run would write to.

    PyTorch runs an operation all of whose tensors have values; a program that is made runs it again.
    """
    if not HAS_ZEROS:  # without the names that it needs
        yield
        return
    mode = _Keeps()
    try:
        with mode:
            yield
    finally:
        mode.put_back()


class _Keeps(DispatchMode):
    supports_higher_order_operators = True

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Let operators such as `torch.cond` compile their functions, as they do without this mode."""
        return True

    def __init__(self) -> None:
        super().__init__()
        self._values = WeakIdKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Run one operation."""
        kwargs = kwargs or {}
        for tensor in tree_leaves(written_by(func, args, kwargs)):
            if isinstance(tensor, Tensor) and not is_fake(tensor) and tensor not in self._values:
                with outside_of_modes():
                    self._values[tensor] = tensor.detach().clone()
        return func(*args, **kwargs)

    def put_back(self) -> None:
        """Give tensors the values that they had."""
        with outside_of_modes(), torch.no_grad():
            for tensor, value in list(self._values.items())[::-1]:
                tensor.detach().copy_(value)
