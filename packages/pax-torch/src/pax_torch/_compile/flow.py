"""Which arguments of a program its results depend on."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.fx import GraphModule

from pax_torch._compat import memory_of, written_by
from pax_tree import tree_leaves


def last_needed(graph: GraphModule) -> list[int]:
    """Return for each result of a program the last of the arguments that it depends on, or -1."""
    last: dict[Any, int] = {}  # of what a node returned, and of what was written to its memory
    arguments = 0

    def needed(node: Any) -> int:
        return max(last.get(node, -1), last.get(_memory(node), -1))

    for node in graph.graph.nodes:
        if node.op == "placeholder":
            last[node] = arguments
            arguments += 1
            continue
        last[node] = max(map(needed, node.all_input_nodes), default=-1)
        for written in tree_leaves(written_by(node.target, node.args, node.kwargs)):
            memory = _memory(written)
            last[memory] = max(last.get(memory, -1), last[node])
    (output,) = graph.graph.find_nodes(op="output")
    return [needed(leaf) for leaf in tree_leaves(output.args[0])]


def _memory(node: Any) -> Any:
    value = node.meta.get("val")
    return memory_of(value) if isinstance(value, Tensor) else None
