"""`scan` and `map`: a function applied along the first axis, with what it carries."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._autodiff.flatten_fun import pair, to_tensors
from pax_torch._compat import is_recorded, is_without_values
from pax_torch._errors import check_callable, describe, leaf_place
from pax_torch._vmap import vmap
from pax_torch.lax._scan_operator import Scan, can_be_scanned
from pax_torch.lax._types import Carry
from pax_tree import PyTreeDef, tree_flatten, tree_map, tree_unflatten
from pax_tree._describe import dtype_and_shape

Step = Callable[[Any, Any], tuple[Any, Any]]
# The steps that a program has one after the other, since a compiler makes most of that.
_LONGEST_WRITTEN_OUT = 32
# More than that take a compiler minutes.
_MANY = 1000
_NO_PAIR = "scan: the function must return a pair (carry, y), but it returned"


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """Apply a function to the slices along the first axis, one after the other, with a carry.

    Args:
        f: takes the carry and a slice of `xs`, and returns the next carry and an output, both
            pytrees. The next carry has the structure, shapes and dtypes of the last.
        init: the first carry, a pytree of tensors, arrays and numbers. The dtype of a Python
            number is that which the first step gives it.
        xs: a pytree of tensors whose first axes have one length; None, or a tree without leaves,
            with `length`.
        length: how many steps there are; needed where `xs` has no leaves.
        reverse: begin with the last slice; the outputs stay in the places of their slices.
        unroll: a positive integer or a bool, as in JAX. With True a program has all steps one after
            the other; with any other value a long loop is one operator of PyTorch, where there are
            no random numbers and no derivatives but those that `grad` or `value_and_grad` takes, once,
            inside of `jit`.

    Returns:
        The last carry, and the outputs, each stacked along a new first axis.

    Raises:
        TypeError: the carry changes its structure, or a leaf of it its shape or dtype; `f` returns
            no pair; a leaf is no tensor, array or number.
        ValueError: the lengths differ, or there is none.

    Example:
        >>> import torch, pax_torch
        >>> pax_torch.lax.scan(lambda total, x: (total + x, total), 0, torch.arange(1, 5))
        (tensor(10), tensor([0, 1, 3, 6]))

    The API is that of `jax.lax.scan`.
    """
    check_callable(f, "scan")
    check_unroll(unroll, "scan")
    carry = Carry(init, "scan", "init", "the carry that the function returns")
    slices = Slices(xs, length)
    step = lambda c, x: pair(f(c, x), _NO_PAIR)  # noqa: E731
    if unroll is not True:
        found = _by_operator(step, carry, slices, bool(reverse))
        if found is not None:
            return found
        warn_of_many(slices, "scan", f"{_ONE_OPERATOR}; unroll=True asks for this")
    return run_scan(step, carry, slices, bool(reverse))


def map(f: Callable[[Any], Any], xs: Any, *, batch_size: int | None = None) -> Any:
    """Apply a function to the slices along the first axis, one after the other.

    Args:
        f: takes a slice of `xs` and returns a pytree.
        xs: a pytree of tensors whose first axes have one length.
        batch_size: how many slices are computed at once, by `vmap`; by default one, without it.

    Returns:
        The results, stacked along a new first axis.

    Raises:
        TypeError, ValueError: as for `scan`.

    Example:
        >>> import torch, pax_torch
        >>> pax_torch.lax.map(lambda x: x @ x, torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([ 5., 25.])

    The API is that of `jax.lax.map`.
    """
    check_callable(f, "map")
    if batch_size is None:
        return _map(f, Slices(xs, None, "map"))
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(
            f"map: batch_size must be a positive integer or None, got {describe(batch_size)}."
        )
    length = Slices(xs, None, "map").length
    whole = length - length % batch_size
    mapped = vmap(f)
    if whole == 0:
        return mapped(xs) if length else _map(f, Slices(xs, None, "map"))
    batches = tree_map(
        lambda x: x[:whole].reshape(whole // batch_size, batch_size, *x.shape[1:]), _tensors(xs)
    )
    done = tree_map(lambda y: y.flatten(0, 1), _map(mapped, Slices(batches, None, "map")))
    if whole == length:
        return done
    rest = mapped(tree_map(lambda x: x[whole:], _tensors(xs)))
    return tree_map(lambda a, b: torch.cat((a, b)), done, rest)


def _map(f: Callable[[Any], Any], slices: Slices) -> Any:
    carry = Carry((), "map", "init", "the carry")
    step = lambda _, x: ((), f(x))  # noqa: E731
    found = _by_operator(step, carry, slices, False)
    if found is None:
        warn_of_many(slices, "map", _ONE_OPERATOR)
        found = run_scan(step, carry, slices, False)
    return found[1]


def _tensors(tree: Any) -> Any:
    leaves, treedef = tree_flatten(tree)
    return tree_unflatten(treedef, to_tensors(leaves, lambda i: leaf_place(tree, i, "xs")))


def _by_operator(step: Step, carry: Carry, slices: Slices, reverse: bool) -> Any:
    """Do what `run_scan` does by one operator of PyTorch; None where it cannot, or there is no need."""
    if slices.length <= _LONGEST_WRITTEN_OUT or not can_be_scanned():
        return None
    carry.settle(lambda c: step(c, slices.like_one())[0])
    structures: list[PyTreeDef] = []
    count = len(carry.init)

    def flat(*tensors: Tensor) -> list[Tensor]:
        after, y = step(carry.tree(tensors[:count]), slices.tree(tensors[count:]))
        leaves, structure = tree_flatten(y)
        structures[:] = [structure]
        return [
            *carry.take(after),
            *to_tensors(leaves, lambda i: f"{carry.name}: {leaf_place(y, i, 'the output')}"),
        ]

    xs = slices.tensors or [torch.arange(slices.length)]  # the operator takes at least one
    scan = Scan(flat, carry.init, [x.flip(0) for x in xs] if reverse else xs)
    if scan.draws:
        return None
    found = scan()
    outputs = [x.flip(0) for x in found[count:]] if reverse else found[count:]
    return carry.tree(found[:count]), tree_unflatten(structures[0], outputs)


_ONE_OPERATOR = (
    "it is one operator where grad is inside of jit, once and not in vmap, and where no step draws from "
    "PyTorch's generator"
)


def warn_of_many(slices: Slices | Integers, name: str, remedy: str) -> None:
    """Warn of a program with very many steps one after the other."""
    if slices.length > _MANY and is_without_values() and is_recorded():
        warnings.warn(
            f"{name}: all {slices.length} steps are compiled one after the other, which takes long; "
            f"{remedy}.",
            stacklevel=3,
        )


def check_unroll(unroll: Any, name: str) -> None:
    """Raise ValueError unless a number of steps is True, False or a positive integer."""
    if not isinstance(unroll, int) or (not isinstance(unroll, bool) and unroll < 1):
        raise ValueError(
            f"{name}: unroll must be a bool or a positive integer, got {describe(unroll)}."
        )


class Slices:
    """The leaves of a tree, cut along their first axes.

    Args:
        xs: the tree.
        length: the length that is given beside it.
        name: the function of the user's call, for errors.

    Raises:
        ValueError: the lengths differ, or there is none.
    """

    def __init__(self, xs: Any, length: int | None, name: str = "scan") -> None:
        self._xs, self.name = xs, name
        leaves, self._treedef = tree_flatten(xs)
        self.tensors = to_tensors(leaves, lambda i: f"{name}: {leaf_place(xs, i, 'xs')}")
        self.length = self._length(length)

    def _length(self, given: int | None) -> int:
        for i, tensor in enumerate(self.tensors):
            if not tensor.ndim:
                raise ValueError(
                    f"{self.name}: {leaf_place(self._xs, i, 'xs')} has no first axis to go along; "
                    f"it is {describe(tensor)}."
                )
        if given is not None:
            given = self._checked(given)
        # A program has a step for each slice, also where sizes are open.
        sizes = [int(tensor.shape[0]) for tensor in self.tensors]
        lengths = {*sizes} if given is None else {*sizes, given}
        if not lengths:
            raise ValueError(f"{self.name} needs a length where xs has no leaves; pass length.")
        if len(lengths) > 1:
            found = [f"{leaf_place(self._xs, i, 'xs')} has {n}" for i, n in enumerate(sizes)]
            found += [] if given is None else [f"length is {given}"]
            raise ValueError(f"{self.name}: the lengths of xs differ: {', '.join(found)}.")
        return lengths.pop()

    def _checked(self, length: Any) -> int:
        if isinstance(length, bool) or not hasattr(length, "__index__"):
            raise TypeError(f"{self.name}: length must be an integer, got {describe(length)}.")
        if length.__index__() < 0:
            raise ValueError(f"{self.name}: length must not be negative, got {length}.")
        return length.__index__()

    def cut(self) -> Sequence[Any]:
        """Return all slices."""
        # Not by an index for each: the derivative of that is a whole tensor of zeros.
        columns = [tensor.unbind() for tensor in self.tensors]
        rows = zip(*columns, strict=True) if columns else [()] * self.length
        return [tree_unflatten(self._treedef, row) for row in rows]

    def tree(self, tensors: Sequence[Tensor]) -> Any:
        """Return a slice with these leaves."""
        return tree_unflatten(self._treedef, tensors[: len(self.tensors)])

    def like_one(self) -> Any:
        """Return a slice of zeros, which is there also if the length is 0."""
        zeros = [x.new_zeros(x.shape[1:]) for x in self.tensors]
        return tree_unflatten(self._treedef, zeros)


class Integers:
    """The integers of a range, as `Slices` are.

    Each is a tensor with a value of its own, so that it can be an index also where a trace has no values.

    Args:
        integers: the range.
        like: a tensor of their dtype and device.
    """

    def __init__(self, integers: range, like: Tensor) -> None:
        self._integers, self._like = integers, like
        self.length = len(integers)

    def cut(self) -> Sequence[Any]:
        """Return all of them."""
        return [self._tensor(i) for i in self._integers]

    def like_one(self) -> Any:
        """Return one, which is there also if the range is empty."""
        return self._tensor(self._integers.start)

    def _tensor(self, i: int) -> Tensor:
        return torch.tensor(i, dtype=self._like.dtype, device=self._like.device)


class _Outputs:
    """The outputs of the steps, one column for each leaf."""

    _treedef: PyTreeDef

    def __init__(self, name: str) -> None:
        self._name = name
        self._columns: list[list[Tensor]] | None = None

    def add(self, y: Any) -> None:
        leaves, treedef = tree_flatten(y)
        tensors = to_tensors(leaves, lambda i: f"{self._name}: {leaf_place(y, i, 'the output')}")
        if self._columns is None:
            self._treedef, self._columns = treedef, [[] for _ in tensors]
        if treedef != self._treedef:
            raise TypeError(
                f"{self._name}: the outputs of all steps must have one structure, but one is "
                f"{self._treedef} and another {treedef}."
            )
        for i, (tensor, column) in enumerate(zip(tensors, self._columns, strict=True)):
            if column and (tensor.dtype != column[0].dtype or tensor.shape != column[0].shape):
                raise TypeError(
                    f"{self._name}: {leaf_place(y, i, 'the output')} has type "
                    f"{dtype_and_shape(column[0])} in one step and {dtype_and_shape(tensor)} in "
                    "another; it must have one type in all of them."
                )
            column.append(tensor)

    def stacked(self, reverse: bool) -> Any:
        columns = [column[::-1] if reverse else column for column in self._columns or ()]
        return tree_unflatten(self._treedef, [torch.stack(column) for column in columns])

    def none_of(self, y: Any) -> Any:
        """Return no outputs, of the type of one."""
        self.add(y)
        return tree_map(lambda stacked: stacked[:0], self.stacked(False))


def run_scan(
    step: Callable[[Any, Any], tuple[Any, Any]],
    carry: Carry,
    slices: Slices | Integers,
    reverse: bool,
) -> tuple[Any, Any]:
    """Return the last carry and the stacked outputs; `step` returns a pair."""
    outputs, tensors = _Outputs(carry.name), carry.init
    if slices.length == 0:
        after, y = step(carry.tree(tensors), slices.like_one())
        if carry.take_first(after) is None:
            after, y = step(carry.tree(carry.init), slices.like_one())
        return carry.tree(carry.init), outputs.none_of(y)
    rows = slices.cut()
    for i, x in enumerate(reversed(rows) if reverse else rows):
        after, y = step(carry.tree(tensors), x)
        taken = carry.take(after) if i else carry.take_first(after)
        if taken is None:
            after, y = step(carry.tree(carry.init), x)
            taken = carry.take(after)
        tensors = taken
        outputs.add(y)
    return carry.tree(tensors), outputs.stacked(reverse)
