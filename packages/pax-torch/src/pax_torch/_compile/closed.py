"""Functions of tensors that are written down, with what they close over as further arguments."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._compat import trace, without_recording

Tensors = Sequence[Tensor]
Flat = Callable[..., Tensors]
# Tracing and compiling change global state of PyTorch.
tracing_lock = threading.RLock()


class Closed:
    """A function of tensors with what it closes over as further arguments.

    Args:
        function: takes tensors and returns tensors.
        examples: tensors like its arguments.
    """

    def __init__(self, function: Flat, examples: Tensors) -> None:
        with tracing_lock, without_recording():
            # New ones, since those of a trace may have values that they keep to themselves.
            given = [torch.empty_like(x) for x in examples]
            graph = trace(lambda *xs: [x.clone() for x in function(*xs)], given)
        self.constants: list[Tensor] = []
        first = len(examples)
        for node in list(graph.graph.nodes):
            value = getattr(graph, node.target, None) if node.op == "get_attr" else None
            if isinstance(value, Tensor):
                self._lift(graph, node, value)
        held = [name for name, value in vars(graph).items() if isinstance(value, Tensor)]
        for name in [*held, *[name for name, _ in graph.named_buffers(recurse=False)]]:
            delattr(graph, name)
        graph.graph.lint()
        graph.recompile()
        self.graph, self._first = graph, first

    def _lift(self, graph: Any, node: Any, value: Tensor) -> None:
        last = [each for each in graph.graph.nodes if each.op == "placeholder"][-1:]
        place = graph.graph.inserting_after(last[0]) if last else graph.graph.inserting_before(node)
        with place:
            argument = graph.graph.placeholder(f"constant_{len(self.constants)}")
        node.replace_all_uses_with(argument)
        graph.graph.erase_node(node)
        self.constants.append(value)

    def among(self, constants: Tensors) -> Flat:
        """Return the function with all of these as further arguments, of which it takes its own."""
        places = [index_of(constant, constants) for constant in self.constants]

        def call(*tensors: Tensor) -> tuple[Tensor, ...]:
            given, others = tensors[: self._first], tensors[self._first :]
            return tuple(self.graph(*given, *[others[i] for i in places]))

        return call


def index_of(tensor: Tensor, tensors: Tensors) -> int:
    """Return where a tensor itself is in a sequence."""
    return next(i for i, other in enumerate(tensors) if other is tensor)
