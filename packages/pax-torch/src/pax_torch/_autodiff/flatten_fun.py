"""Functions of trees as functions of tensors, which is what `torch.func` differentiates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any

import torch
from torch import Tensor

from pax_torch._args import (
    describe,
    is_differentiable,
    leaf_place,
    place_in,
    positions,
    to_tensors,
)
from pax_torch._autodiff.directions import directions
from pax_tree import PyTreeDef, tree_flatten, tree_unflatten


class Selection:
    """The leaves of some arguments of a call as tensors, and the way back to the arguments.

    Args:
        args: the positional arguments of the call.
        argnums: which of them.
    """

    def __init__(self, args: Sequence[Any], argnums: int | tuple[int, ...]) -> None:
        self._args, self._argnums = args, argnums
        self.indices = positions(argnums, len(args))
        self._trees = tuple([args[i] for i in self.indices])
        leaves, self._treedef = tree_flatten(self._trees)
        self.tensors = to_tensors(leaves, self.place)
        self.chosen = [x.is_floating_point() or x.is_complex() for x in self.tensors]

    def place(self, leaf: int) -> str:
        """Names a leaf, as in `argument 0['weight']`."""
        return place_in(self._trees, [f"argument {i}" for i in self.indices], leaf)

    @property
    def variables(self) -> list[Tensor]:
        """The leaves that have a derivative: those of a floating-point or complex dtype."""
        return list(compress(self.tensors, self.chosen))

    def arguments(self, variables: Sequence[Tensor]) -> list[Any]:
        """Return the arguments of the call with other tensors in place of the variables."""
        arguments = list(self._args)
        trees = tree_unflatten(self._treedef, spread(variables, self.chosen, self.tensors))
        for index, tree in zip(self.indices, trees, strict=True):
            arguments[index] = tree
        return arguments

    def directions(self, trees: Sequence[Any], name: str) -> list[Tensor]:
        """Return the tangents of the variables; `trees` are those of the arguments."""
        parts = parts_like(self._treedef, tuple(trees), name, "the primals")
        return directions(parts, self.tensors, lambda i: leaf_place(self._trees, i, name))

    def gradients(self, values: Sequence[Any]) -> Any:
        """Return one value per variable in the structure of the selected arguments.

        A leaf without derivative gives None.
        """
        trees = tree_unflatten(self._treedef, spread(values, self.chosen))
        return trees[0] if isinstance(self._argnums, int) else trees


class Flat:
    """A function of variables whose results are tensors, told apart by having a derivative.

    A call returns the differentiable tensors of the result, and all the other tensors of the
    result and of aux; the rest is remembered, and put back together by `result` and `aux`.

    Args:
        function: takes a sequence of tensors and returns a pytree of tensors, or a pair of one
            and any pytree with `has_aux`.
        has_aux: whether it does.
        name: what the result is called in errors.
    """

    def __init__(
        self, function: Callable[[Sequence[Tensor]], Any], has_aux: bool, name: str
    ) -> None:
        self._function, self._has_aux, self._name = function, has_aux, name

    def __call__(self, *variables: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        result, aux = self._function(variables), None
        if self._has_aux:
            result, aux = split_aux(result)
        leaves, self._treedef = tree_flatten(result)
        self._check(leaves, result)
        self.chosen = [is_differentiable(leaf) for leaf in leaves]
        others = [leaf for leaf, chosen in zip(leaves, self.chosen, strict=True) if not chosen]
        return tuple(compress(leaves, self.chosen)), (*others, *self._aux_tensors(aux))

    def _aux_tensors(self, aux: Any) -> list[Tensor]:
        leaves, self._aux_treedef = tree_flatten(aux)
        self._aux_chosen = [isinstance(leaf, Tensor) for leaf in leaves]
        self._aux_others = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        return list(compress(leaves, self._aux_chosen))

    def _check(self, leaves: list[Any], result: Any) -> None:
        for i, leaf in enumerate(leaves):
            if not isinstance(leaf, Tensor):
                raise TypeError(
                    f"{self._name} differentiates functions that return tensors, but "
                    f"{leaf_place(result, i, 'the result')} is {describe(leaf)}."
                )

    def result(self, tensors: Sequence[Tensor], rest: Sequence[Any] | None = None) -> Any:
        """Return a tree like the result, with None for what has no derivative unless given."""
        return tree_unflatten(self._treedef, spread(tensors, self.chosen, self._others(rest)))

    def _others(self, rest: Sequence[Any] | None) -> list[Any] | None:
        if rest is None:
            return None
        others = iter(rest)
        return [None if chosen else next(others) for chosen in self.chosen]

    def aux(self, rest: Sequence[Tensor]) -> Any:
        """Return aux with the tensors that the call returned for it."""
        tensors = rest[self.chosen.count(False) :]
        leaves = spread(tensors, self._aux_chosen, self._aux_others)
        return tree_unflatten(self._aux_treedef, leaves)

    def up_to(self, tree: Any, what: str) -> list[Any]:
        """Return the parts of a tree in the places of the result's leaves, None included."""
        return parts_like(self._treedef, tree, what, "the result")


class Filled:
    """A function of tensors with a tensor in place of an empty result, which `torch.func` refuses.

    Args:
        function: returns a tuple of tensors, and aux tensors.
    """

    def __init__(self, function: Callable[..., tuple[tuple[Tensor, ...], Any]]) -> None:
        self._function = function

    def __call__(self, *variables: Tensor) -> tuple[tuple[Tensor, ...], Any]:
        out, aux = self._function(*variables)
        self.empty = not out
        return out or (torch.zeros(()),), aux


def parts_like(treedef: PyTreeDef, tree: Any, what: str, like: str) -> list[Any]:
    """Return the parts of a tree in the places of a treedef's leaves, None included."""
    try:
        return treedef.flatten_up_to(tree)
    except ValueError as error:
        raise ValueError(f"{what} must have the structure of {like}: {error}") from None


def spread(
    values: Sequence[Any], chosen: Sequence[bool], others: Sequence[Any] | None = None
) -> Sequence[Any]:
    """Return the values in the chosen places, and `others` or None in the other ones."""
    if len(values) == len(chosen):
        return values
    others = [None] * len(chosen) if others is None else others
    remaining = iter(values)
    return [
        next(remaining) if taken else other for taken, other in zip(chosen, others, strict=True)
    ]


def split_aux(result: Any) -> tuple[Any, Any]:
    """Return the two parts of what a function with `has_aux` returned."""
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise TypeError(
            "with has_aux=True the function must return a pair (value, aux), "
            f"but it returned {describe(result)}."
        )
    return result[0], result[1]
