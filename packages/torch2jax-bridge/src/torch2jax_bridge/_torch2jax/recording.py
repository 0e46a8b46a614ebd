"""Graphs whose backward passes call parts of a module again, as `torch.utils.checkpoint` does.

A module's template has parameters only in a call. Where the graph of a call still refers to a part of
the template, that stays as it is until the backward pass has run.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils import checkpoint

from torch2jax_bridge._avals import Tensors
from torch2jax_bridge._compat import set_grad_enabled
from torch2jax_bridge._runtime.generators import alone

Gradients = Sequence[torch.Tensor | None]


class Recording:
    """In the `with` block PyTorch records a graph, or several of which one is part of the other.

    Attributes:
        kept: for each template that the graph still needs, a function that gives it back.
    """

    __slots__ = ("_outer", "_was_enabled", "kept")

    def __init__(self) -> None:
        self.kept: list[Callable[[], None]] = []

    def __enter__(self) -> Recording:
        self._was_enabled = torch.is_grad_enabled()
        self._outer = outer = _here.recording
        set_grad_enabled(True)
        if outer is not None:
            return outer
        _here.recording = self
        return self

    def __exit__(self, *error: Any) -> None:
        set_grad_enabled(self._was_enabled)
        if self._outer is None:
            _here.recording = None

    def end(self) -> None:
        """Give the templates back, unless they belong to a recording around this one."""
        while self.kept:
            self.kept.pop()()


class _Here(threading.local):
    recording: Recording | None = None


_here = _Here()


def current_recording() -> Recording | None:
    """Return the outermost recording of this thread, or None."""
    return _here.recording


def gradients(
    results: Tensors, wanted: Tensors, cotangents: Tensors, graph: bool, kept: Sequence[Any]
) -> Gradients:
    """Return the gradients of some tensors, None for one without influence.

    Args:
        results: of the forward pass.
        wanted: the tensors.
        cotangents: of the results.
        graph: whether the gradients are to be differentiated again.
        kept: what the forward pass has kept; nothing, where the backward pass calls no module.

    Raises:
        RuntimeError: they are, and a part of a module was checkpointed with `use_reentrant=True`.
    """
    if not kept:
        return _by_grad(results, wanted, cotangents, graph)

    def run(*_: torch.Tensor) -> Gradients:
        if not _is_reentrant(results):
            return _by_grad(results, wanted, cotangents, graph)
        if graph:
            raise RuntimeError(_NO_SECOND)
        return _by_backward(results, wanted, cotangents)

    # What is called again sets PyTorch's generators to what they were.
    return alone(run)()


def _by_grad(results: Tensors, wanted: Tensors, cotangents: Tensors, graph: bool) -> Gradients:
    return torch.autograd.grad(results, wanted, cotangents, create_graph=graph, allow_unused=True)


_NO_SECOND = (
    "torch.utils.checkpoint with use_reentrant=True gives no second derivatives: pass "
    "use_reentrant=False."
)
_NOT_TRANSFORMED = (
    "torch.utils.checkpoint does not work in the transforms of torch.func, by which jax.vmap of a "
    "derivative, forward mode and jax.hessian are done: turn checkpointing off in the module, and put "
    "jax.checkpoint around its call."
)


def explain(error: RuntimeError) -> None:
    """Say what is not possible where PyTorch says it of its own functions.

    Raises:
        RuntimeError: something was checkpointed in a transform of `torch.func`.
    """
    text, frames = str(error), traceback.walk_tb(error.__traceback__)
    refused = any(
        word in text for word in ("saved tensor hooks", "setup_context", "_NoopSaveInputs")
    )
    if refused and any(f.f_code.co_filename == checkpoint.__file__ for f, _ in frames):
        raise RuntimeError(_NOT_TRANSFORMED) from error


def _is_reentrant(results: Tensors) -> bool:
    return any("CheckpointFunction" in node.name() for node in _nodes(results))


def _by_backward(results: Tensors, wanted: Tensors, cotangents: Tensors) -> Gradients:
    """Return the gradients in the only way that a reentrant checkpoint allows."""
    leaves = [node.variable for node in _nodes(results) if hasattr(node, "variable")]
    before = [(leaf, leaf.grad) for leaf in (*leaves, *wanted)]
    for leaf, _ in before:
        leaf.grad = None
    try:
        torch.autograd.backward(results, cotangents)
        return [tensor.grad for tensor in wanted]
    finally:
        for leaf, gradient in before:
            leaf.grad = gradient


def _nodes(results: Tensors) -> Iterator[Any]:
    """Return all nodes of a graph."""
    waiting = [result.grad_fn for result in results]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            waiting += [following for following, _ in node.next_functions]
