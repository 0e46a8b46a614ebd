"""Functions of trees as functions of tensors, which is what `torch.func` differentiates."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from pax_torch._errors import check_callable, describe, leaf_place, place_in
from pax_tree import PyTreeDef, tree_flatten, tree_unflatten

Argnums = int | Sequence[int]
Place = Callable[[int], str]
TENSORS = {Tensor, Parameter}


def check_argnums(argnums: Argnums, name: str, what: str = "argnums") -> int | tuple[int, ...]:
    """Return `argnums` as an int or a tuple of ints."""
    number = _as_index(argnums)
    if number is not None:
        return number
    numbers = [_as_index(each) for each in argnums] if isinstance(argnums, Iterable) else []
    if not numbers or None in numbers:
        raise TypeError(f"{name}: {what} must be an int or a sequence of ints, got {argnums!r}.")
    return tuple(numbers)  # pyright: ignore[reportReturnType]


def _as_index(number: Any) -> int | None:
    try:
        return None if isinstance(number, bool) else operator.index(number)
    except TypeError:
        return None


def _positions(argnums: int | tuple[int, ...], num_args: int) -> list[int]:
    """Return `argnums` as indices from 0 into `num_args` positional arguments."""
    if isinstance(argnums, int) and 0 <= argnums < num_args:
        return [argnums]
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


def to_tensor(leaf: object, place: Callable[[], str], remedy: str = "") -> Tensor:
    """Return a tensor as it is, and a Python number or an array as a new tensor.

    Raises:
        TypeError: `leaf` is none of these; `place` names it, and `remedy` says what to do.
    """
    if isinstance(leaf, Tensor):
        return leaf
    if isinstance(leaf, bool | int | float | complex):
        return torch.tensor(leaf)
    if isinstance(leaf, torch.SymInt | torch.SymFloat):  # of a size, where sizes are open
        number: Any = leaf
        is_whole = isinstance(leaf, torch.SymInt)
        return torch.scalar_tensor(number, dtype=torch.int64 if is_whole else None)
    if not hasattr(leaf, "__array__"):
        if isinstance(leaf, Module):
            remedy = "; give get_params(module), its parameters"
        raise TypeError(
            f"{place()}: expected a tensor, a NumPy array or a number, got {describe(leaf)}{remedy}."
        )
    try:
        return torch.as_tensor(leaf.__array__().copy())  # pyright: ignore[reportAttributeAccessIssue]
    except TypeError as error:  # an array of objects
        raise TypeError(f"{place()}: {str(error).rstrip('.')}.") from None


def to_tensors(
    leaves: Sequence[object], place: Callable[[int], str], remedy: str = ""
) -> list[Tensor]:
    """Return the leaves as tensors; `place(i)` describes the i-th leaf for the error message."""
    if set(map(type, leaves)) <= TENSORS:
        return list(leaves)  # pyright: ignore[reportReturnType]
    return [to_tensor(leaf, lambda i=i: place(i), remedy) for i, leaf in enumerate(leaves)]


def is_differentiable(tensor: Tensor) -> bool:
    """Whether the dtype of a tensor is floating-point or complex."""
    return tensor.is_floating_point() or tensor.is_complex()


class Selection:
    """The leaves of some arguments of a call as tensors, and the way back to the arguments.

    Args:
        args: the positional arguments of the call.
        argnums: which of them.
    """

    def __init__(self, args: Sequence[Any], argnums: int | tuple[int, ...]) -> None:
        self._args, self._argnums = args, argnums
        self.indices = _positions(argnums, len(args))
        self._trees = tuple([args[i] for i in self.indices])
        leaves, self.treedef = tree_flatten(self._trees)
        self.tensors = to_tensors(leaves, self.place)
        self.chosen = [x.is_floating_point() or x.is_complex() for x in self.tensors]

    def place(self, leaf: int) -> str:
        """Name a leaf, as in `argument 0['weight']`."""
        return place_in(self._trees, [f"argument {i}" for i in self.indices], leaf)

    @property
    def variables(self) -> list[Tensor]:
        """The leaves that have a derivative: those of a floating-point or complex dtype."""
        return list(compress(self.tensors, self.chosen))

    @property
    def others(self) -> list[Any]:
        """The arguments of the call that are not selected."""
        if len(self._args) == len(self.indices):
            return []
        return [arg for i, arg in enumerate(self._args) if i not in self.indices]

    def check(
        self,
        transform: str,
        *,
        allow_int: bool = False,
        holomorphic: bool = False,
        real: bool = False,
    ) -> None:
        """Raise TypeError for a leaf that cannot be differentiated.

        The rules and the errors are those of JAX.

        Args:
            transform: its name, for the error.
            allow_int: leaves of other dtypes are no error.
            holomorphic: every leaf must be complex.
            real: no leaf may be complex, unless `holomorphic`.
        """
        if not allow_int and not all(self.chosen):
            leaf = self.chosen.index(False)
            raise TypeError(
                f"{transform} requires real- or complex-valued inputs (a floating-point or complex "
                f"dtype), but {self._dtype_of(leaf)}; convert it to a float, or leave the argument "
                "out of argnums."
            )
        if holomorphic or real:
            self._check_complex(transform, holomorphic)

    def _check_complex(self, transform: str, holomorphic: bool) -> None:
        for leaf, tensor in enumerate(self.tensors):
            if self.chosen[leaf] and tensor.is_complex() != holomorphic:
                needed = "complex inputs" if holomorphic else "real inputs, or holomorphic=True"
                raise TypeError(
                    f"{transform} with holomorphic={holomorphic} requires {needed}, "
                    f"but {self._dtype_of(leaf)}."
                )

    def _dtype_of(self, leaf: int) -> str:
        return f"{self.place(leaf)} has dtype {self.tensors[leaf].dtype}"

    def arguments(self, variables: Sequence[Tensor]) -> list[Any]:
        """Return the arguments of the call with other tensors in place of the variables."""
        arguments = list(self._args)
        trees = tree_unflatten(self.treedef, merge(variables, self.chosen, self.tensors))
        for index, tree in zip(self.indices, trees, strict=True):
            arguments[index] = tree
        return arguments

    def directions(self, trees: Sequence[Any], name: str) -> list[Tensor]:
        """Return the tangents of the variables; `trees` are those of the arguments."""
        parts = parts_like(
            self.treedef, tuple(trees), f"{name} must have the structure of the primals"
        )
        return directions(parts, self.tensors, lambda i: leaf_place(self._trees, i, name))

    def gradients(self, values: Sequence[Any]) -> Any:
        """Return one value per variable in the structure of the selected arguments.

        A leaf without derivative gives None.
        """
        trees = tree_unflatten(self.treedef, merge(values, self.chosen))
        return trees[0] if isinstance(self._argnums, int) else trees


def check_output(value: Tensor, transform: str, holomorphic: bool) -> None:
    """Raise TypeError unless a result is real, or complex if `holomorphic`."""
    if holomorphic and not value.is_complex():
        raise TypeError(
            f"{transform} with holomorphic=True requires complex outputs, "
            f"but the function returned {describe(value)}."
        )
    if not holomorphic and not value.is_floating_point():
        raise TypeError(
            f"{transform} requires real-valued outputs, "
            f"but the function returned {describe(value)}; for the derivative of a holomorphic "
            "function pass holomorphic=True."
        )


class FlatFunction:
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
            result, aux = pair(result)
        leaves, self._treedef = tree_flatten(result)
        self._check(leaves, result)
        self.chosen = [is_differentiable(leaf) for leaf in leaves]
        others = [leaf for leaf, chosen in zip(leaves, self.chosen, strict=True) if not chosen]
        aux_tensors, self._aux = partition(aux)
        return tuple(compress(leaves, self.chosen)), (*others, *aux_tensors)

    def _check(self, leaves: list[Any], result: Any) -> None:
        for i, leaf in enumerate(leaves):
            if not isinstance(leaf, Tensor):
                raise TypeError(
                    f"{self._name} differentiates functions that return tensors, but "
                    f"{leaf_place(result, i, 'the result')} is {describe(leaf)}."
                )

    def result(self, tensors: Sequence[Tensor], rest: Sequence[Any] | None = None) -> Any:
        """Return a tree like the result, with None for what has no derivative unless given."""
        left = [not chosen for chosen in self.chosen]
        others = None if rest is None else merge(rest[: sum(left)], left)
        return tree_unflatten(self._treedef, merge(tensors, self.chosen, others))

    def aux(self, rest: Sequence[Tensor]) -> Any:
        """Return aux with the tensors that the call returned for it."""
        return self._aux.combine(rest[self.chosen.count(False) :])


def flatten_fun(
    fun: Callable[..., Any], primals: Sequence[Any], has_aux: bool, name: str
) -> tuple[Selection, FlatFunction]:
    """Return the leaves of all arguments of a function, and the function of those that vary."""
    check_callable(fun, name)
    selection = Selection(primals, tuple(range(len(primals))))
    return selection, FlatFunction(lambda xs: fun(*selection.arguments(xs)), has_aux, name)


class NonEmptyOutput:
    """A function of tensors with a tensor in place of an empty result, which `torch.func` refuses.

    Args:
        function: returns a tuple of tensors, and aux tensors.
    """

    def __init__(self, function: Callable[..., tuple[tuple[Tensor, ...], Any]]) -> None:
        self._function = function

    def __call__(self, *variables: Tensor) -> tuple[tuple[Tensor, ...], Any]:
        out, aux = self._function(*variables)
        self.empty = len(out) == 0
        return (torch.zeros(()),) if self.empty else out, aux


def parts_like(treedef: PyTreeDef, tree: Any, complaint: str) -> list[Any]:
    """Return the parts of a tree in the places of a treedef's leaves, None included."""
    try:
        return treedef.flatten_up_to(tree)
    except ValueError as error:
        raise ValueError(f"{complaint}: {error}") from None


def match_prefix(prefix: Any, tree: Any, complaint: str) -> Iterable[tuple[Any, Any]]:
    """Return each leaf of a prefix of a tree, None included, with what the tree has in its place."""
    leaves, treedef = tree_flatten(prefix, none_is_leaf=True)
    return zip(leaves, parts_like(treedef, tree, complaint), strict=True)


def merge(
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


def directions(given: Sequence[Any], points: Sequence[Tensor], place: Place) -> list[Tensor]:
    """Return the given directions of the differentiable ones among `points`, as tensors.

    Args:
        given: for each point a tensor, array or number like it, or None for zeros; None for a
            point of a dtype that has no derivative.
        points: the tensors.
        place: names the i-th direction.

    Raises:
        TypeError: a direction has another dtype than its point, or its point has no derivative.
        ValueError: a direction has another shape than its point.
    """
    found = []
    for i, (direction, point) in enumerate(zip(given, points, strict=True)):
        if is_differentiable(point):
            found.append(_direction(direction, point, lambda i=i: place(i)))
        elif direction is not None:
            raise TypeError(
                f"{place(i)} must be None, since what it belongs to has dtype {point.dtype} and "
                f"no derivative, got {describe(direction)}."
            )
    return found


def _direction(given: Any, point: Tensor, place: Callable[[], str]) -> Tensor:
    if given is None:
        return torch.zeros_like(point, requires_grad=False)
    tensor = to_tensor(given, place)
    if isinstance(given, int | float) or (isinstance(given, complex) and point.is_complex()):
        tensor = tensor.to(point.dtype)
    if tensor.dtype != point.dtype:
        raise TypeError(
            f"{place()} has dtype {tensor.dtype}, but must have dtype {point.dtype}, "
            "that of what it belongs to."
        )
    if tensor.shape != point.shape:
        raise ValueError(
            f"{place()} has shape {tuple(tensor.shape)}, but must have shape "
            f"{tuple(point.shape)}, that of what it belongs to."
        )
    return tensor


class HoldsResiduals:
    """A function that is a tree of residuals where one is asked for, and one leaf elsewhere."""

    __slots__ = ()


def holds_residuals(value: object) -> bool:
    """Whether a value is such a function."""
    return isinstance(value, HoldsResiduals)


class Rest(NamedTuple):
    """A tree without its tensors."""

    treedef: PyTreeDef
    is_tensor: list[bool]
    others: list[Any]

    def combine(self, values: Sequence[Any], others: Sequence[Any] | None = None) -> Any:
        """Return the tree with a value in the place of each tensor."""
        others = self.others if others is None else others
        return tree_unflatten(self.treedef, merge(values, self.is_tensor, others))


def partition(tree: Any) -> tuple[list[Tensor], Rest]:
    """Return the tensors among the leaves of a tree, and the tree without them."""
    leaves, treedef = tree_flatten(tree, holds_residuals)
    is_tensor = [isinstance(leaf, Tensor) for leaf in leaves]
    others = [None if taken else leaf for leaf, taken in zip(leaves, is_tensor, strict=True)]
    return list(compress(leaves, is_tensor)), Rest(treedef, is_tensor, others)


_NO_AUX = "With has_aux=True the function must return a pair (value, aux), but it returned"


def pair(result: Any, complaint: str = _NO_AUX) -> tuple[Any, Any]:
    """Return the two parts of what a function with two results returned."""
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise TypeError(f"{complaint} {describe(result)}.")
    return result[0], result[1]
