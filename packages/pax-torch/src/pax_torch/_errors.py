"""How arguments, leaves and values are named in messages."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pax_tree import keystr, tree_leaves, tree_leaves_with_path

_SHORT = reprlib.Repr()
_SHORT.maxother = _SHORT.maxstring = 100


def check_callable(fun: object, name: str) -> None:
    """Raise TypeError, as JAX does, unless `fun` is a function that returns its result."""
    if not callable(fun):
        raise TypeError(f"{name} expected a callable, got {describe(fun)}.")
    if inspect.isgeneratorfunction(fun):
        raise TypeError(f"{name} expected a function, got the generator function {fun!r}.")


def check_count(count: Any, transform: str, name: str, least: int) -> None:
    """Raise an error unless a count is None or an integer from `least`."""
    if count is None:
        return
    if isinstance(count, bool) or not hasattr(count, "__index__"):
        raise TypeError(f"{transform}: {name} must be an integer or None, got {describe(count)}.")
    if count < least:
        raise ValueError(f"{transform}: {name} must be at least {least}, got {count}.")


def describe(value: object) -> str:
    """Say what a value is."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and dtype {value.dtype}"
    return f"{_SHORT.repr(value)} of type {type(value).__qualname__}"


def leaf_place(tree: Any, index: int, name: str) -> str:
    """Return where the `index`-th leaf of `tree` is, as in `params['linear']['weight']`."""
    path, _ = tree_leaves_with_path(tree)[index]
    return name + keystr(path)


def place_in(trees: Sequence[Any], names: Sequence[str], leaf: int) -> str:
    """Return where a leaf is, counted over all of several named trees."""
    for tree, name in zip(trees, names, strict=True):
        size = len(tree_leaves(tree))
        if leaf < size:
            return leaf_place(tree, leaf, name)
        leaf -= size
    raise IndexError(leaf)


def place_in_call(args: Sequence[Any], kwargs: dict[str, Any], leaf: int) -> str:
    """Return where a leaf of a call is: `argument 0['weight']`, `keyword argument ['x']`."""
    names = [f"argument {i}" for i in range(len(args))]
    return place_in((*args, kwargs), [*names, "keyword argument "], leaf)
