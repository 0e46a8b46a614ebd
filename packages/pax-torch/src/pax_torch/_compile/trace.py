"""One compiled program: a function of tensors of certain shapes and dtypes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from pax_torch._autodiff.custom_function import distinct
from pax_torch._autodiff.flatten_fun import holds_residuals
from pax_torch._autodiff.grad import differentiation
from pax_torch._compat import (
    enable_mkldnn,
    is_fake,
    needs_values,
    refuses_while_tracing,
    sizes_on_their_own,
    trace,
    trace_open,
    without_checkpoints,
)
from pax_torch._compile.closed import tracing_lock
from pax_torch._compile.draws import draws, draws_in_any_order, with_seeds
from pax_torch._compile.flow import last_needed
from pax_torch._compile.interrupts import interrupts_held
from pax_torch._compile.kept import closed_over_kept
from pax_torch._compile.sizes import sizes_of
from pax_torch._compile.writes import check_places, place_of, writes
from pax_tree import PyTreeDef, tree_flatten, tree_leaves, tree_unflatten

Compile = Callable[[GraphModule], Callable[..., Any]]
_ADVICE = (
    "make the argument static by static_argnums, use torch.where, or pass fullgraph=False to run "
    "such parts as they are"
)

# What PyTorch says of `tensor.numpy()` there.
_NO_ARRAY = ".numpy() is not supported"

NO_GENERATORS = (
    "jit's function draws from a torch.Generator, which has no place in a compiled program; draw from a "
    "key with pax_torch.random, or from PyTorch's default generator."
)

NO_LOCAL_PARTS = (
    "jit's function takes the local part of a DTensor, as a module that was given to fully_shard does, and "
    "jit cannot write that down; call it without jit, or compile it by torch.compile."
)


def constants_of(graph: GraphModule) -> list[Tensor]:
    """Return the tensors that a program holds besides its arguments."""
    found = [value for value in vars(graph).values() if isinstance(value, Tensor)]
    return [*found, *graph.parameters(), *graph.buffers()]


@contextmanager
def without_values(transform: str, advice: str) -> Iterator[None]:
    """Say what is wrong where a function needs the value of a tensor that has none.

    Raises:
        TypeError: in place of PyTorch's own errors, as JAX's errors of this kind are.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, needs_values()) and _NO_ARRAY not in str(error):
            raise
        raise TypeError(
            f"{transform} runs the function on tensors without values, but it needs one, for an "
            f"`if`, a loop, a conversion to a number, an array or a shape; {advice}."
        ) from error


@contextmanager
def _without_seeds() -> Iterator[None]:
    """Refuse a function that sets the state of PyTorch's generator: its program would not.

    Raises:
        ValueError: the state is another one afterwards; it is put back.
    """
    state = torch.get_rng_state()
    yield
    if not torch.equal(torch.get_rng_state(), state):
        torch.set_rng_state(state)
        raise ValueError(
            "jit's function sets the state of PyTorch's generator (torch.manual_seed or "
            "torch.set_rng_state), which would happen once, while it is traced, and not at each "
            "call; set it outside of jit, or draw from a key with pax_torch.random."
        )


@contextmanager
def _without_generators() -> Iterator[None]:
    """Say what is wrong where PyTorch, before 2.12, has no way to write a generator down.

    Raises:
        ValueError: in place of PyTorch's own error.
    """
    try:
        yield
    except NotImplementedError as error:
        if repr(torch.Generator) not in str(error):
            raise
        raise ValueError(NO_GENERATORS) from error


@contextmanager
def _without_mkldnn() -> Iterator[None]:
    """Do without its recurrent layers, whose derivative is one operation that compilers cannot take."""
    enabled: Any = torch.backends.mkldnn.enabled
    enable_mkldnn(False)
    try:
        yield
    finally:
        enable_mkldnn(enabled)


class Program:
    """A function that was run once on tensors without values, written down and compiled.

    Args:
        function: takes tensors, returns a pytree of tensors.
        examples: tensors of the shapes, dtypes, strides and devices of its arguments.
        compile: makes a callable of a graph module.
        in_order: what `compile` makes draws random numbers in the order of the graph.
        has_open_sizes: the program holds for other sizes too, where the function does the same.
    """

    _treedef: PyTreeDef
    # Whether there is what `vjp` or `linearize` returns in the result.
    returns_functions: bool

    def __init__(
        self,
        function: Callable[..., Any],
        examples: Sequence[Tensor],
        compile: Compile,
        in_order: bool,
        has_open_sizes: bool = False,
    ) -> None:
        rules = {} if in_order else with_seeds()
        with interrupts_held(), tracing_lock:
            graph = self._traced(function, examples, rules, has_open_sizes)
            self._run = compile(graph)
        self._compiled = False
        # Results without values of what draws random numbers, and whether a compiler may exchange them.
        self.draws: list[Tensor] = tree_leaves([node.meta["val"] for node in draws(graph)])
        self.draws_in_any_order = not in_order and draws_in_any_order(graph)
        self.writes = writes(graph)
        self._last_needed = last_needed(graph)
        constants = constants_of(graph)
        # Closed-over tensors whose derivatives the compiled program would not have.
        self.closes_over_variables = any(constant.requires_grad for constant in constants)

    def holds_for(self, tensors: Sequence[Tensor]) -> bool:
        """Whether the function does the same to tensors of these sizes."""
        return self._fits is None or self._fits(sizes_of(tensors))

    def _traced(
        self,
        function: Callable[..., Any],
        examples: Sequence[Tensor],
        rules: dict[Any, Any],
        has_open_sizes: bool,
    ) -> GraphModule:
        self._fits: Callable[[Sequence[int]], bool] | None = None
        examples = [example.detach() for example in examples]
        with (
            differentiation(0, None),
            torch.enable_grad(),
            without_values("jit", _ADVICE),
            _without_mkldnn(),
            _without_seeds(),
            _without_generators(),
            without_checkpoints(),
        ):
            if has_open_sizes:
                graph, self._fits = trace_open(self._flattened(function), examples, rules)
            else:
                graph = trace(self._flattened(function), examples, rules)
        for node in reversed(graph.graph.nodes):
            # Marks for the profiler, which have no place in a compiled graph.
            if getattr(node.target, "namespace", None) == "profiler":
                graph.graph.erase_node(node)
        graph.graph.eliminate_dead_code()
        graph.recompile()
        if any(isinstance(value, torch.Generator) for value in vars(graph).values()):
            raise ValueError(NO_GENERATORS)
        if any(map(is_fake, constants_of(graph))):
            raise TypeError(NO_LOCAL_PARTS)
        return graph

    def _flattened(self, function: Callable[..., Any]) -> Callable[..., list[Tensor]]:
        def flat(*tensors: Tensor) -> list[Tensor]:
            before = list(map(place_of, tensors))
            with closed_over_kept():
                result = function(*tensors)
            check_places(tensors, before)
            whole = tree_leaves(result, holds_residuals)
            self.returns_functions = any(map(holds_residuals, whole))
            leaves, self._treedef = tree_flatten(result)
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
                if not refuses_while_tracing(error):
                    raise
        sizes = sizes_on_their_own() if self._fits else nullcontext()
        with interrupts_held(), tracing_lock, sizes:
            out = self._run(*tensors)
        self._compiled = True
        return out

    def result(self, leaves: Sequence[Tensor], needed_from: int | None = None) -> Any:
        """Return the tree of the result with the given leaves.

        None stands for each that depends on no argument from a certain one on.
        """
        if needed_from is None:
            return tree_unflatten(self._treedef, leaves)
        pairs = zip(leaves, self._last_needed, strict=True)
        return tree_unflatten(self._treedef, [x if i >= needed_from else None for x, i in pairs])
