"""What `torch.compile` sees of a JAX function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Node:
    """A function that is one opaque node of a compiled graph.

    `torch.compile` runs `prepare` while it traces, as `torch.compiler.assume_constant_result` has
    it, and then finds `call` prepared. The mark of both is set by hand and late: their module takes
    longer to import than PyTorch, and only those who compile need it.
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call
        self.prepare = _marked(self._prepare)
        self._is_prepared = False

    def _prepare(self) -> None:
        import torch._dynamo

        if not self._is_prepared:
            self.call = torch._dynamo.nonstrict_trace(self.call)
            self._is_prepared = True


def _marked(method: Callable[[], None]) -> Callable[[], None]:
    def prepare() -> None:
        method()

    prepare._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return prepare
