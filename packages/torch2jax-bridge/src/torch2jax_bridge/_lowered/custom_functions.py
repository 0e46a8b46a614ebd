"""`torch.autograd.Function`s in a recording: they are called, since their derivatives are their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.checkpoint import CheckpointFunction

from pax_tree import PyTreeDef, tree_flatten, tree_unflatten
from torch2jax_bridge._lowered.operators import custom_operator

_lock = threading.RLock()
_recordings = threading.local()
_original: Any = torch.autograd.Function.__dict__["apply"]


class CustomFunction:
    """A `torch.autograd.Function` with those of its arguments that are no tensors.

    Called with the tensors, it returns a list of tensors.
    """

    def __init__(self, cls: type, leaves: list[Any], treedef: PyTreeDef) -> None:
        self.name = cls.__qualname__
        self._cls = cls
        self._leaves = [None if isinstance(x, torch.Tensor) else x for x in leaves]
        self._tensors = [isinstance(x, torch.Tensor) for x in leaves]
        self._treedef = treedef
        self.out_tree: PyTreeDef | None = None

    def __call__(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        given = iter(tensors)
        pairs = zip(self._leaves, self._tensors, strict=True)
        leaves = [next(given) if on else leaf for leaf, on in pairs]
        args = tree_unflatten(self._treedef, leaves)
        out = _original.__func__(self._cls, *args)
        results, self.out_tree = tree_flatten(out)
        return results


def custom_call(tensors: list[torch.Tensor], number: int) -> tuple[CustomFunction, list[Any]]:
    """Return the function that the operator stands for, and its results for tensors without values."""
    function = _recordings.functions[number]
    with torch.no_grad():
        return function, function(*tensors)


@contextmanager
def intercepted() -> Iterator[None]:
    """In the `with` block, what applies a `torch.autograd.Function` in this thread calls `custom_operator()`."""
    operator, functions = custom_operator(), []

    def apply(cls: type, *args: Any) -> Any:
        if getattr(_recordings, "functions", None) is not functions:
            return _original.__func__(cls, *args)
        if cls is CheckpointFunction:  # the one that is reentrant: it only runs a function
            return args[0](*args[2:])
        leaves, treedef = tree_flatten(args)
        function = CustomFunction(cls, leaves, treedef)
        functions.append(function)
        results = operator([x for x in leaves if isinstance(x, torch.Tensor)], len(functions) - 1)
        assert function.out_tree is not None
        return tree_unflatten(function.out_tree, results)

    with _lock, _applied_by(apply):
        _recordings.functions = functions
        try:
            yield
        finally:
            _recordings.functions = None


@contextmanager
def _applied_by(apply: Callable[..., Any]) -> Iterator[None]:
    base: Any = torch.autograd.Function
    base.apply = classmethod(apply)
    try:
        yield
    finally:
        base.apply = _original
