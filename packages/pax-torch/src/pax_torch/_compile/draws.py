"""Random numbers in a compiled program: where they come from, and in which order.

Inductor draws the seeds of some operations together, at one place of the program, and lets PyTorch draw
what others need where they run. It says nothing of the order of these, so that a program and that of its
derivative may have other random numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

# Operations whose seeds are drawn together.
_SEEDED = {"rand", "rand_like", "randn", "randn_like", "randint", "native_dropout"}


def draws(graph: GraphModule) -> list[Node]:
    """Return the nodes that draw random numbers."""
    return [node for node in graph.graph.nodes if _draws(node)]


def _draws(node: Node) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def draws_in_any_order(graph: GraphModule) -> bool:
    """Whether a compiled graph goes to a generator more than once."""
    seeded = [_name(node) in _SEEDED for node in draws(graph)]
    return seeded.count(False) + any(seeded) > 1


def _name(node: Node) -> str:
    """Return the name of an operation, without its library and the kind of its arguments."""
    return str(node.target).split(".")[1]


def draws_from_keys(graph: GraphModule) -> bool:
    """Whether there are rounds of Threefry in a graph, two shifts in each of 20."""
    nodes = [
        node
        for module in graph.modules()
        if isinstance(module, GraphModule)
        for node in module.graph.nodes
    ]
    return sum("shift" in str(node.target) for node in nodes if node.op == "call_function") >= 40


def with_seeds() -> dict[Any, Callable[..., Any]]:
    """Return rules that make draws of zeros and ones, those of dropout, ones that have seeds."""
    aten: Any = torch.ops.aten
    return {
        aten.bernoulli.default: lambda p, **options: _bernoulli(p, p, **options),
        aten.bernoulli.p: _bernoulli,
        aten.bernoulli_.float: _bernoulli_,
        aten.bernoulli_.Tensor: _bernoulli_,
    }


def _bernoulli(x: Tensor, p: float | Tensor = 0.5, generator: Any = None) -> Tensor:
    if generator is not None:
        return NotImplemented
    # Half precision would round the probability.
    dtype = torch.float64 if x.dtype is torch.float64 else torch.float32
    return (torch.rand_like(x, dtype=dtype) < p).to(x.dtype)


def _bernoulli_(x: Tensor, p: float | Tensor = 0.5, generator: Any = None) -> Tensor:
    drawn = _bernoulli(x, p, generator)
    return drawn if drawn is NotImplemented else x.copy_(drawn)
