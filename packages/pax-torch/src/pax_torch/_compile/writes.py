"""Programs that write to tensors from outside, and functions that no program can do the same as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.fx import GraphModule
from torch.multiprocessing.reductions import StorageWeakRef

from pax_torch._compat import memory_of, written_by
from pax_torch._errors import describe
from pax_tree import tree_leaves


def writes(graph: GraphModule) -> bool:
    """Whether a program writes to its arguments, or to tensors that it closes over."""
    memory = {
        memory_of(value)
        for node in graph.graph.nodes
        if node.op in ("placeholder", "get_attr")
        for value in [_value(graph, node)]
        if isinstance(value, Tensor)
    }
    return any(
        isinstance(value, Tensor) and memory_of(value) in memory
        for node in graph.graph.nodes
        if node.op == "call_function"
        for value in _written(graph, node)
    )


def _written(graph: GraphModule, node: Any) -> list[Any]:
    """Return the values of the tensors that an operation of a program writes to."""
    nodes = tree_leaves(written_by(node.target, node.args, node.kwargs))
    return [_value(graph, each) for each in nodes]


def _value(graph: GraphModule, node: Any) -> Any:
    if node.op == "get_attr":
        return getattr(graph, node.target, None)
    return node.meta.get("val")


Place = tuple[StorageWeakRef, tuple[Any, ...], tuple[Any, ...]]


def place_of(tensor: Tensor) -> Place:
    """Return where and how the elements of a tensor lie."""
    return memory_of(tensor), tuple(tensor.shape), tensor.stride()


def check_places(tensors: Sequence[Tensor], before: Sequence[Place]) -> None:
    """Raise ValueError where a function has given one of its arguments other memory or another shape."""
    for tensor, place in zip(tensors, before, strict=True):
        if place_of(tensor) != place:
            raise ValueError(
                "jit's function gives an argument other memory or another shape, by set_, resize_, an "
                "assignment to .data or an operation such as unsqueeze_, which a compiled program does "
                f"not: it is {describe(tensor)} afterwards, and was of shape {place[1]}; write to it by "
                "copy_, or return the new tensor."
            )
