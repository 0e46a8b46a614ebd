"""What `vjp` and `linearize` return: linear functions of trees, which are themselves trees of residuals.

As long as such a function stays where it was made, it is what `torch.func` has made. Where its leaves
are asked for, to leave or enter `jit` for example, it is written down; what it closes over are its
leaves, and its graph is static.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx import GraphModule

from pax_torch._autodiff.flatten_fun import (
    HoldsResiduals,
    directions,
    is_differentiable,
    merge,
    parts_like,
)
from pax_torch._autodiff.grad import run
from pax_torch._compat import transforms_active
from pax_torch._compile.closed import Closed
from pax_torch._errors import leaf_place
from pax_tree import PyTreeDef, register_pytree_node, tree_flatten, tree_unflatten

# From tensors in the places of those that have a derivative to such tensors.
Linear = Callable[[tuple[Tensor, ...]], Sequence[Tensor]]


class Like(NamedTuple):
    """What a cotangent or a tangent must be like."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, tensor: Tensor) -> Like:
        """Return what is like a tensor."""
        return cls(tuple(tensor.shape), tensor.dtype, tensor.device)

    def zeros(self) -> Tensor:
        """Return zeros, without the memory for them."""
        return torch.zeros((), dtype=self.dtype, device=self.device).expand(self.shape)


class Side(NamedTuple):
    """The tree that a linear function takes or returns."""

    treedef: PyTreeDef
    likes: tuple[Like, ...]

    @classmethod
    def of(cls, tree: Any) -> Side:
        """Return that of a tree of tensors."""
        leaves, treedef = tree_flatten(tree)
        return cls(treedef, tuple(map(Like.of, leaves)))

    def taken(self, tree: Any, name: str, model: str) -> list[Tensor]:
        """Return the tensors of a tree, where there is a derivative."""
        complaint = f"{name} must have the structure of {model}"
        parts = parts_like(self.treedef, tree, complaint)
        leaves = tree_unflatten(self.treedef, range(len(self.likes)))
        points = [like.zeros() for like in self.likes]
        return directions(parts, points, lambda i: leaf_place(leaves, i, name))

    def tree(self, tensors: Sequence[Tensor]) -> Any:
        """Return the tree of tensors, with None where there is no derivative."""
        return tree_unflatten(self.treedef, merge(tensors, self._chosen()))

    def examples(self) -> list[Tensor]:
        """Return tensors like those that `taken` returns."""
        return [like.zeros() for like in compress(self.likes, self._chosen())]

    def _chosen(self) -> list[bool]:
        return [is_differentiable(like.zeros()) for like in self.likes]


class WithResiduals:
    """A linear function as a graph, and the tensors that it takes besides its arguments.

    Args:
        graph: takes the arguments and the residuals.
        residuals: one for each leaf of the function, whatever a tree is filled with.
    """

    def __init__(self, graph: Graph, residuals: Sequence[Any]) -> None:
        self.graph, self.residuals = graph, residuals

    def __call__(self, tensors: tuple[Tensor, ...]) -> Sequence[Tensor]:
        """Apply the function; the graph is that for arguments without gaps in memory."""
        return self.graph.module(*[x.contiguous() for x in tensors], *self.residuals)


class Graph:
    """A graph, equal to any that does the same."""

    def __init__(self, module: GraphModule) -> None:
        self.module = module
        for node in module.graph.nodes:  # of which copies cannot be made
            node.meta.clear()
        # Graphs within graphs are known by themselves only.
        self._code = id(module) if any(module.children()) else module.code

    def __eq__(self, other: object) -> bool:
        return self._code == other._code if isinstance(other, Graph) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._code)

    def __deepcopy__(self, memo: Any) -> Graph:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.module,)

    def __repr__(self) -> str:
        return "<graph>"


class _LinearFunction(HoldsResiduals):
    """A linear function of trees.

    Args:
        given: the side of what it takes.
        returned: the side of what it returns.
        create_graph: whether the results keep a graph in any case.
        linear: the function of tensors.
    """

    def __init__(self, given: Side, returned: Side, create_graph: bool, linear: Linear) -> None:
        self._given, self._returned = given, returned
        self._create_graph, self._linear = create_graph, linear
        self._closed: WithResiduals | None = None

    def _apply(self, tree: Any, name: str, model: str) -> Any:
        def call(tensors: list[Tensor]) -> Any:
            return self._returned.tree(self._linear(tuple(tensors)))

        return run(call, self._given.taken(tree, name, model), self._create_graph)

    def tree_flatten(self) -> tuple[Sequence[Any], Any]:
        """Return the residuals, and the rest."""
        self._closed = self._closed or self._written_down()
        static = type(self), self._given, self._returned, self._create_graph, self._closed.graph
        return self._closed.residuals, static

    def _written_down(self) -> WithResiduals:
        if isinstance(self._linear, WithResiduals):
            return self._linear
        if transforms_active() or torch.compiler.is_compiling():
            raise TypeError(
                f"{self!r} has leaves only outside of transforms, such as vmap, and of torch.compile: "
                "call it there, or take the derivative outside."
            )
        with torch.enable_grad(), warnings.catch_warnings():
            # PyTorch looks at `.grad` of the residuals, and warns of that itself.
            warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
            closed = Closed(lambda *tensors: list(self._linear(tensors)), self._given.examples())
        return WithResiduals(Graph(closed.graph), closed.constants)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what a copy in another process is made of: the function, written down."""
        residuals, static = self.tree_flatten()
        return self.tree_unflatten, (static, residuals)

    @classmethod
    def tree_unflatten(cls, static: Any, residuals: Sequence[Any]) -> _LinearFunction:
        """Return the function with other residuals."""
        _, given, returned, create_graph, graph = static
        return cls(given, returned, create_graph, WithResiduals(graph, tuple(residuals)))


class PullBack(_LinearFunction):
    """The transposed derivative that `vjp` returns."""

    __static_by_identity__ = True

    def __call__(self, cotangent: Any) -> tuple[Any, ...]:
        """Pull a cotangent back."""
        return self._apply(cotangent, "the cotangent", "the result")

    def __repr__(self) -> str:
        return "<pull_back of vjp>"


class PushForward(_LinearFunction):
    """The derivative that `linearize` returns."""

    __static_by_identity__ = True

    def __call__(self, *tangents: Any) -> Any:
        """Push tangents forward."""
        return self._apply(tangents, "tangents", "the primals")

    def __repr__(self) -> str:
        return "<push of linearize>"


for each in (PullBack, PushForward):
    register_pytree_node(each, each.tree_flatten, each.tree_unflatten)
