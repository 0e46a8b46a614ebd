"""`vmap`: a function of single examples as a function of batches."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, Literal

import torch
from torch import Tensor

from pax_torch._autodiff.flatten_fun import match_prefix, merge, to_tensors
from pax_torch._compat import is_mapped, map_tensors
from pax_torch._errors import check_callable, check_count, describe, leaf_place, place_in_call
from pax_tree import tree_flatten, tree_leaves, tree_unflatten

Randomness = Literal["error", "different", "same"]


def vmap(
    fun: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_size: int | None = None,
    *,
    randomness: Randomness = "error",
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """Return a function that maps `fun` over an axis of its arguments, all at once.

    Args:
        fun: takes and returns pytrees; the leaves of the result are tensors, arrays or numbers.
        in_axes: the axis to map over for each positional argument: an integer for all of them,
            or a tuple or list with an integer, None (pass the argument on as it is), or a tree of
            these that is a prefix of the argument. Keyword arguments are mapped over axis 0.
        out_axes: where the mapped axis stands in the result: an integer, None for what does not
            depend on the mapped arguments, or a tree of these that is a prefix of the result.
        axis_size: the length of the mapped axis; needed where no argument is mapped.
        randomness: whether random operations of PyTorch in `fun` are refused ("error"), or draw
            "different" numbers for each example, or the "same".
        chunk_size: how many examples are computed at a time, to save memory; by default all.

    Returns:
        A function with the arguments of `fun`, with one axis more in what is mapped.

    Raises:
        TypeError: an axis or a size is no integer, or a mapped leaf or a result is no tensor, array
            or number.
        ValueError: a size is negative, an axis does not exist, the lengths of mapped axes differ,
            there is nothing to map over, the axes are no prefix of the arguments or results, or a
            result with axis None depends on the mapped arguments.

    Example:
        >>> import torch, pax_torch
        >>> x = torch.arange(6.0).reshape(3, 2)
        >>> pax_torch.vmap(lambda x, w: {"dot": x @ w}, in_axes=(0, None))(x, torch.ones(2))
        {'dot': tensor([1., 5., 9.])}

    The API is that of `jax.vmap`, and `randomness` and `chunk_size` are those of `torch.func.vmap`.
    """
    check_callable(fun, "vmap")
    if randomness not in ("error", "different", "same"):
        raise ValueError(
            f"vmap: randomness must be 'error', 'different' or 'same', got {randomness!r}."
        )

    check_count(axis_size, "vmap", "axis_size", 0)
    check_count(chunk_size, "vmap", "chunk_size", 1)

    @functools.wraps(fun, updated=())
    def mapped_fun(*args: Any, **kwargs: Any) -> Any:
        inputs = _Inputs(args, kwargs, in_axes)
        outputs = _Outputs(out_axes)
        size = inputs.size(axis_size)

        def call(*elements: Tensor) -> tuple[Tensor, ...]:
            arguments, keywords = inputs.rebuild(elements)
            return outputs.take_apart(fun(*arguments, **keywords))

        if torch.compiler.is_compiling() or (chunk_size is not None and size > chunk_size):
            # The first argument says how many there are, also where nothing else is mapped.
            mapped: Any = torch.func.vmap(
                lambda _, *elements: call(*elements),
                (0, *inputs.axes),
                randomness=randomness,
                chunk_size=chunk_size,
            )
            found = mapped(torch.empty(size, 0), *inputs.tensors)
        else:
            axes = [axis % x.ndim for axis, x in zip(inputs.axes, inputs.tensors, strict=True)]
            found = map_tensors(call, inputs.tensors, axes, size, randomness)
        return outputs.put_together(found)

    return mapped_fun


class _Inputs:
    """The mapped leaves of the arguments as tensors, each with its axis."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], in_axes: Any) -> None:
        self._given = (args, kwargs)
        self._leaves, self._treedef = tree_flatten(self._given)
        axes = _axes_of_leaves(_axes_of_args(in_axes, len(args)), args, "in_axes", "the arguments")
        axes += [0] * len(tree_leaves(kwargs))
        self._positions = [i for i, axis in enumerate(axes) if axis is not None]
        self.tensors = to_tensors([self._leaves[i] for i in self._positions], self._place)
        self.axes = [axis for axis in axes if axis is not None]

    def size(self, axis_size: int | None) -> int:
        """Return the length that all the mapped axes have."""
        sizes = [self._size(i) for i in range(len(self.axes))]
        if axis_size is not None:
            sizes.append(axis_size)
        if not sizes:
            raise ValueError(
                "vmap must have at least one non-None value in in_axes, and an argument with "
                "leaves there; or pass axis_size."
            )
        if any(size != sizes[0] for size in sizes):
            self._raise_sizes(sizes)
        return sizes[0]

    def _size(self, i: int) -> int:
        shape, axis = self.tensors[i].shape, self.axes[i]
        if not -len(shape) <= axis < len(shape):
            raise ValueError(
                f"vmap was requested to map {self._place(i)} along axis {axis}, which implies "
                f"that its rank should be at least {axis + 1 if axis >= 0 else -axis}, but it is "
                f"only {len(shape)} (its shape is {tuple(shape)})."
            )
        return shape[axis]

    def _raise_sizes(self, sizes: list[int]) -> None:
        found = [
            f"axis {axis} of {self._place(i)} has size {sizes[i]}"
            for i, axis in enumerate(self.axes)
        ]
        if len(sizes) > len(found):
            found.append(f"axis_size is {sizes[-1]}")
        raise ValueError(f"vmap got inconsistent sizes for the mapped axes: {'; '.join(found)}.")

    def rebuild(self, mapped: Sequence[Tensor]) -> Any:
        """Return the arguments with one example of each mapped leaf."""
        leaves = list(self._leaves)
        for i, tensor in zip(self._positions, mapped, strict=True):
            leaves[i] = tensor
        return tree_unflatten(self._treedef, leaves)

    def _place(self, i: int) -> str:
        return place_in_call(*self._given, self._positions[i])


class _Outputs:
    """The results of a mapped function: those with a mapped axis, and the others."""

    def __init__(self, out_axes: Any) -> None:
        self._out_axes = out_axes

    def take_apart(self, result: Any) -> tuple[Tensor, ...]:
        """Return the mapped leaves of a result, and remembers the others."""
        leaves, self._treedef = tree_flatten(result)
        self._axes = _axes_of_leaves(self._out_axes, result, "out_axes", "the result")
        self._chosen = [axis is not None for axis in self._axes]
        self._others = [
            leaf if axis is None else None for leaf, axis in zip(leaves, self._axes, strict=True)
        ]
        for i, leaf in enumerate(self._others):
            if isinstance(leaf, Tensor) and is_mapped(leaf):
                raise ValueError(
                    f"vmap: out_axes is None for {leaf_place(result, i, 'the result')}, which "
                    "depends on the mapped arguments; give the axis that it shall have."
                )
        mapped = list(compress(leaves, self._chosen))
        positions = list(compress(range(len(leaves)), self._chosen))
        return tuple(to_tensors(mapped, lambda i: leaf_place(result, positions[i], "the result")))

    def put_together(self, mapped: Sequence[Tensor]) -> Any:
        """Return the result, given its mapped leaves with the axis in front."""
        axes = compress(self._axes, self._chosen)
        moved = [self._moved(leaf, axis) for leaf, axis in zip(mapped, axes, strict=True)]
        return tree_unflatten(self._treedef, merge(moved, self._chosen, self._others))

    def _moved(self, leaf: Tensor, axis: Any) -> Tensor:
        if not -leaf.ndim <= axis < leaf.ndim:
            raise ValueError(
                f"vmap: out_axes has axis {axis} for a result that has shape "
                f"{tuple(leaf.shape[1:])} for each example; it can be from {-leaf.ndim} to "
                f"{leaf.ndim - 1}."
            )
        return leaf.movedim(0, axis)


def _axes_of_args(in_axes: Any, count: int) -> Any:
    if in_axes is None or (isinstance(in_axes, int) and not isinstance(in_axes, bool)):
        return in_axes
    if not isinstance(in_axes, tuple | list):
        raise TypeError(
            "vmap: in_axes must be an integer, None, or a tuple with an entry for each positional "
            f"argument, got {describe(in_axes)}."
        )
    if len(in_axes) != count:
        raise ValueError(
            f"vmap: in_axes has {len(in_axes)} entries, but {count} positional arguments were "
            "given; it needs one for each."
        )
    return tuple(in_axes)


def _axes_of_leaves(axes: Any, tree: Any, name: str, what: str) -> list[int | None]:
    """Return the axis of each leaf of a tree, from a prefix of the tree with axes as leaves.

    Raises:
        TypeError: an axis is no integer and not None.
        ValueError: the axes are no prefix of the tree.
    """
    for axis in tree_leaves(axes, none_is_leaf=True):
        if axis is not None and (isinstance(axis, bool) or not isinstance(axis, int)):
            raise TypeError(
                f"vmap: {name} must consist of integers and None, got {describe(axis)}."
            )
    found: list[int | None] = []
    for axis, part in match_prefix(axes, tree, f"vmap: {name} must be a prefix of {what}"):
        found += [axis] * len(tree_leaves(part))
    return found
