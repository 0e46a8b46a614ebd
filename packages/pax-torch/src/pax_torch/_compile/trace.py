"""One compiled program: a function of tensors of certain shapes and dtypes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from pax_torch._autodiff.custom_function import distinct
from pax_torch._autodiff.grad import differentiation
from pax_torch._tracing import without_values
from pax_tree import PyTreeDef, tree_flatten, tree_leaves, tree_unflatten

Compile = Callable[[GraphModule], Callable[..., Any]]
_ADVICE = (
    "make the argument static by static_argnums, use torch.where, or pass fullgraph=False to run "
    "such parts as they are"
)
# What PyTorch says to a compiled program, before it runs, while another thread traces.
_OTHER_TRACE = "using FX to symbolically trace a dynamo-optimized function"
# Tracing and compiling change global state of PyTorch.
_lock = threading.RLock()


@contextmanager
def _without_mkldnn() -> Iterator[None]:
    """Return the derivative of its recurrent layers is one operation that compilers cannot take."""
    enabled = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(enabled)


class Program:
    """A function that was run once on tensors without values, written down and compiled.

    Args:
        function: takes tensors, returns a pytree of tensors.
        examples: tensors of the shapes, dtypes, strides and devices of its arguments.
        compile: makes a callable of a graph module.
    """

    _treedef: PyTreeDef

    def __init__(
        self,
        function: Callable[..., Any],
        examples: Sequence[Tensor],
        compile: Compile,
    ) -> None:
        with _lock:
            graph = self._traced(function, examples)
            self._run = compile(graph)
        self._compiled = False
        # Results without values of what draws random numbers.
        self.draws: list[Tensor] = tree_leaves(
            [node.meta["val"] for node in graph.graph.nodes if _draws(node)]
        )
        constants = [value for value in vars(graph).values() if isinstance(value, Tensor)]
        constants += [*graph.parameters(), *graph.buffers()]
        # Closed-over tensors whose derivatives the compiled program would not have.
        self.closes_over_variables = any(constant.requires_grad for constant in constants)

    def _traced(self, function: Callable[..., Any], examples: Sequence[Tensor]) -> GraphModule:
        trace = make_fx(self._flattened(function), tracing_mode="fake", _allow_non_fake_inputs=True)
        examples = [example.detach() for example in examples]
        with (
            differentiation(0),
            torch.enable_grad(),
            without_values("jit", _ADVICE),
            _without_mkldnn(),
        ):
            graph = trace(*examples)
        for node in reversed(graph.graph.nodes):
            # Marks for the profiler, which have no place in a compiled graph.
            if node.op == "call_function" and "profiler::" in str(node.target):
                graph.graph.erase_node(node)
        graph.graph.eliminate_dead_code()
        graph.recompile()
        return graph

    def _flattened(self, function: Callable[..., Any]) -> Callable[..., list[Tensor]]:
        def flat(*tensors: Tensor) -> list[Tensor]:
            leaves, self._treedef = tree_flatten(function(*tensors))
            return leaves

        return flat

    def __call__(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the leaves of the result; they carry no graph, and none of them comes twice."""
        tensors = [tensor.detach() for tensor in tensors]
        with torch.no_grad():
            return distinct(self._out(tensors), tensors)

    def _out(self, tensors: list[Tensor]) -> Sequence[Tensor]:
        if self._compiled:
            try:
                return self._run(*tensors)
            except RuntimeError as error:
                if _OTHER_TRACE not in str(error):
                    raise
        with _lock:
            out = self._run(*tensors)
        self._compiled = True
        return out

    def result(self, leaves: Sequence[Tensor]) -> Any:
        """Return the tree of the result with the given leaves."""
        return tree_unflatten(self._treedef, leaves)


def _draws(node: Node) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
