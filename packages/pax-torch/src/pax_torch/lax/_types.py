"""The types that a loop carries: the structure, shapes and dtypes that its body must keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from pax_torch._autodiff.flatten_fun import to_tensor, to_tensors
from pax_torch._compat import without_recording
from pax_torch._errors import leaf_place
from pax_tree import PyTreeDef, tree_flatten, tree_unflatten
from pax_tree._describe import dtype_and_shape


def is_number(leaf: object) -> bool:
    """Whether a leaf is a Python number, whose dtype gives way to that of a tensor, as in JAX."""
    return isinstance(leaf, bool | int | float | complex)


def gives_way(number: Tensor, tensor: Tensor) -> bool:
    """Whether what was a Python number may take the dtype of a tensor without loss of its kind."""
    return torch.promote_types(number.dtype, tensor.dtype) == tensor.dtype


class Carry:
    """What a loop hands on from step to step.

    Args:
        init: the tree at the start; its leaves are tensors, arrays and numbers.
        name: the function of the user's call, for errors.
        start: what `init` is called there.
        after: what the body returns, in words.
    """

    def __init__(self, init: Any, name: str, start: str, after: str) -> None:
        self.name, self._start, self._after = name, start, after
        leaves, self._treedef = tree_flatten(init)
        self.init = to_tensors(leaves, lambda i: f"{name}: {leaf_place(init, i, start)}")
        self._numbers = [is_number(leaf) for leaf in leaves]

    def tree(self, tensors: Sequence[Tensor]) -> Any:
        """Return the tree with these leaves."""
        return tree_unflatten(self._treedef, tensors)

    def take(self, after: Any) -> list[Tensor]:
        """Return the leaves of what a step returned.

        Raises:
            TypeError: it has another structure, or a leaf another shape or dtype.
        """
        tensors = self._leaves(after)
        for i, (new, old) in enumerate(zip(tensors, self.init, strict=True)):
            if new.dtype != old.dtype or new.shape != old.shape:
                raise TypeError(
                    f"{self.name}: {self._place(self._start, i)} has type {dtype_and_shape(old)}, "
                    f"but {self._place(self._after, i)} has type {dtype_and_shape(new)}; every step "
                    "must return the types that it is given: convert one of the two."
                )
        return tensors

    def take_first(self, after: Any) -> list[Tensor] | None:
        """Return the leaves of what the first step returned, or None where it must be run again.

        That is so where `init` has a Python number, which takes the dtype that the step gives it.
        """
        if not any(self._numbers):
            return self.take(after)
        tensors, again = self._leaves(after), False
        for i, (new, old) in enumerate(zip(tensors, self.init, strict=True)):
            if self._numbers[i] and new.dtype != old.dtype and gives_way(old, new):
                self.init[i], again = old.to(new.dtype), True
        self._numbers = [False] * len(tensors)
        return None if again else self.take(after)

    def settle(self, step: Callable[[Any], Any]) -> None:
        """Give Python numbers the dtypes that a step gives them, by a step that is not written down."""
        if any(self._numbers):
            with nullcontext() if torch.compiler.is_compiling() else without_recording():
                self.take_first(step(self.tree([torch.empty_like(x) for x in self.init])))

    def _leaves(self, after: Any) -> list[Tensor]:
        leaves, treedef = tree_flatten(after)
        if treedef != self._treedef:
            self._raise_structure(after)
        return to_tensors(leaves, lambda i: f"{self.name}: {self._place(self._after, i)}")

    def _raise_structure(self, after: Any) -> None:
        complaint = f"{self.name}: {self._after} must have the structure of {self._start}"
        try:
            parts = self._treedef.flatten_up_to(after)
        except ValueError as error:
            raise TypeError(f"{complaint}: {error}") from None
        for i, part in enumerate(parts):
            to_tensor(part, lambda i=i: f"{complaint}; {self._place(self._after, i)}")
        raise TypeError(f"{complaint}.")

    def _place(self, name: str, leaf: int) -> str:
        return leaf_place(self.tree(self.init), leaf, name)


class Results:
    """The results of several functions that stand for one another.

    Args:
        results: what each of them returned.
        names: how errors call them.
        name: the function of the user's call.
    """

    def __init__(self, results: Sequence[Any], names: Sequence[str], name: str) -> None:
        self._results, self._names, self._name = results, names, name
        flat = [tree_flatten(result) for result in results]
        self.treedef: PyTreeDef = flat[0][1]
        for i, (_, treedef) in enumerate(flat):
            if treedef != self.treedef:
                self._raise_structure(i)
        self.rows = [
            to_tensors(leaves, lambda leaf, i=i: f"{name}: {self._place(i, leaf)}")
            for i, (leaves, _) in enumerate(flat)
        ]
        columns = zip(*[leaves for leaves, _ in flat], strict=True)
        for leaf, column in enumerate(columns):
            self._agree(leaf, [is_number(given) for given in column])

    def _agree(self, leaf: int, numbers: list[bool]) -> None:
        """Give numbers the dtype of what stands in their place in the others' results."""
        model = numbers.index(False) if False in numbers else 0
        like = self.rows[model][leaf]
        for i, row in enumerate(self.rows):
            if numbers[i] and row[leaf].dtype != like.dtype and gives_way(row[leaf], like):
                row[leaf] = row[leaf].to(like.dtype)
            if row[leaf].dtype != like.dtype or row[leaf].shape != like.shape:
                raise TypeError(
                    f"{self._name}: {self._place(model, leaf)} has type {dtype_and_shape(like)}, "
                    f"but {self._place(i, leaf)} has type {dtype_and_shape(row[leaf])}; all of them "
                    "must return the same types: convert one of the two."
                )

    def _raise_structure(self, other: int) -> None:
        complaint = (
            f"{self._name}: {self._names[other]} must have the structure of {self._names[0]}"
        )
        try:
            parts = self.treedef.flatten_up_to(self._results[other])
        except ValueError as error:
            raise TypeError(f"{complaint}: {error}") from None
        for i, part in enumerate(parts):
            to_tensor(part, lambda i=i: f"{complaint}; {self._place(0, i, self._names[other])}")
        raise TypeError(f"{complaint}.")

    def _place(self, result: int, leaf: int, name: str | None = None) -> str:
        return leaf_place(self._results[result], leaf, name or self._names[result])
