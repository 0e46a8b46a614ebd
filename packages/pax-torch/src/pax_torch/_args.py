"""The differentiated arguments of a call: which ones they are, and their leaves as tensors."""

from __future__ import annotations

import inspect
import operator
import reprlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from pax_tree import keystr, tree_leaves, tree_leaves_with_path

Argnums = int | Sequence[int]
_TENSORS = {Tensor, Parameter}
_SHORT = reprlib.Repr()
_SHORT.maxother = _SHORT.maxstring = 100


def check_callable(fun: object, name: str) -> None:
    """Raise TypeError, as JAX does, unless `fun` is a function that returns its result."""
    if not callable(fun):
        raise TypeError(f"{name} expected a callable, got {describe(fun)}.")
    if inspect.isgeneratorfunction(fun):
        raise TypeError(f"{name} expected a function, got the generator function {fun!r}.")


def check_argnums(argnums: Argnums, name: str, what: str = "argnums") -> int | tuple[int, ...]:
    """Return `argnums` as an int or a tuple of ints."""
    if type(argnums) is int:
        return argnums
    for convert in (_index, _indices):
        with suppress(TypeError):
            return convert(argnums)
    raise TypeError(f"{name}: {what} must be an int or a sequence of ints, got {argnums!r}.")


def _index(number: Any) -> int:
    if isinstance(number, bool):
        raise TypeError("a bool is no index")
    return operator.index(number)


def _indices(numbers: Any) -> tuple[int, ...]:
    found = tuple(map(_index, numbers))
    if not found:
        raise TypeError("no index")
    return found


def positions(argnums: int | tuple[int, ...], num_args: int) -> list[int]:
    """Return `argnums` as indices from 0 into `num_args` positional arguments."""
    numbers = (argnums,) if isinstance(argnums, int) else argnums
    for number in numbers:
        if not -num_args <= number < num_args:
            needed = number + 1 if number >= 0 else -number
            raise TypeError(
                f"differentiating with respect to argnums={argnums} requires at least {needed} "
                f"positional arguments to be passed by the caller, but got only {num_args}; "
                "arguments given by keyword are not differentiated."
            )
    indices = [number % num_args for number in numbers]
    if len(set(indices)) < len(indices):
        raise ValueError(
            f"argnums={argnums} names the same one of the {num_args} arguments twice; "
            "name each argument once."
        )
    return indices


def to_tensor(leaf: object) -> Tensor:
    """Return a tensor as it is, and a Python number or an array as a new tensor.

    Raises:
        TypeError: `leaf` is none of these.
    """
    if isinstance(leaf, Tensor):
        return leaf
    if isinstance(leaf, bool | int | float | complex):
        return torch.tensor(leaf)
    if hasattr(leaf, "__array__"):
        return torch.as_tensor(leaf.__array__().copy())  # pyright: ignore[reportAttributeAccessIssue]
    raise TypeError(f"expected a tensor, a NumPy array or a number, got {describe(leaf)}")


def to_tensors(leaves: Sequence[object], place: Callable[[int], str]) -> list[Tensor]:
    """Return the leaves as tensors; `place(i)` describes the i-th leaf for the error message."""
    if set(map(type, leaves)) <= _TENSORS:
        return list(leaves)  # pyright: ignore[reportReturnType]
    tensors = []
    for i, leaf in enumerate(leaves):
        try:
            tensors.append(to_tensor(leaf))
        except TypeError as error:
            raise TypeError(f"{place(i)}: {str(error).rstrip('.')}.") from None
    return tensors


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


def is_differentiable(tensor: Tensor) -> bool:
    """Whether the dtype of a tensor is floating-point or complex."""
    return tensor.is_floating_point() or tensor.is_complex()


def describe(value: object) -> str:
    """Says what a value is, for errors."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and dtype {value.dtype}"
    return f"{_SHORT.repr(value)} of type {_type_name(value)}"


def _type_name(value: object) -> str:
    return type(value).__qualname__
