"""`pure_callback`: a function in Python as a part of functions that are transformed or compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor

from pax_torch._autodiff.flatten_fun import to_tensor, to_tensors
from pax_torch._callbacks.operator import Callback, call
from pax_torch._compile.eval_shape import ShapeDtypeStruct
from pax_torch._errors import check_callable, describe, leaf_place, place_in_call
from pax_torch._tracing import refuse_compile
from pax_tree import PyTreeDef, tree_flatten, tree_unflatten
from pax_tree._describe import dtype_and_shape

VmapMethod = Literal["sequential", "sequential_unrolled", "expand_dims", "broadcast_all"]
_METHODS = ("sequential", "sequential_unrolled", "expand_dims", "broadcast_all")


def pure_callback(
    callback: Callable[..., Any],
    result_shape_dtypes: Any,
    *args: Any,
    vmap_method: VmapMethod | None = None,
    **kwargs: Any,
) -> Any:
    """Call a function in Python on tensors with values, also inside transforms and compiled functions.

    The function must depend on its arguments alone and change nothing: it may be called again, or
    not at all where its results are not used. It has no derivative; give it one by `custom_jvp`
    or `custom_vjp` around the call.

    Args:
        callback: takes the arguments, with tensors as leaves, and returns a pytree of tensors, arrays
            and numbers, like `result_shape_dtypes`.
        result_shape_dtypes: a tree with the shapes, dtypes and devices of the results:
            `ShapeDtypeStruct` leaves, or tensors.
        *args: pytrees of tensors, arrays and numbers.
        vmap_method: what `vmap` does: "sequential" and "sequential_unrolled" call the function for
            each example; "expand_dims" calls it once, with the examples along a first axis, of
            length 1 where an argument is not mapped; "broadcast_all" repeats those. None is an
            error inside `vmap`.
        **kwargs: likewise, by name.

    Returns:
        The tree of the results, with tensors as leaves.

    Raises:
        TypeError: a leaf is no tensor, array or number; a result has another structure, shape or
            dtype than it should.
        ValueError: `vmap_method` is none of these; the call is differentiated.
        NotImplementedError: the call is mapped without `vmap_method`.

    Example:
        >>> import torch, pax_torch
        >>> like = pax_torch.ShapeDtypeStruct((3,), torch.float64)
        >>> pax_torch.pure_callback(lambda x: x.numpy().cumsum(), like, torch.ones(3).double())
        tensor([1., 2., 3.], dtype=torch.float64)

    The API is that of `jax.pure_callback`.
    """
    refuse_compile("pure_callback", "takes no Python function into a program")
    check_callable(callback, "pure_callback")
    if vmap_method is not None and vmap_method not in _METHODS:
        raise ValueError(
            f"pure_callback: vmap_method must be None or one of {', '.join(_METHODS)}, got "
            f"{vmap_method!r}."
        )
    leaves, treedef = tree_flatten((args, kwargs))
    tensors = to_tensors(leaves, lambda i: f"pure_callback: {place_in_call(args, kwargs, i)}")

    def function(tensors: Sequence[Tensor]) -> Any:
        args, kwargs = tree_unflatten(treedef, tensors)
        return callback(*args, **kwargs)

    expected, structure = tree_flatten(result_shape_dtypes)
    types = [_described(leaf, result_shape_dtypes, i) for i, leaf in enumerate(expected)]
    made = _PureCallback(function, _Types(types, structure), vmap_method)
    return tree_unflatten(structure, call(made, tensors))


def _described(leaf: Any, tree: Any, i: int) -> ShapeDtypeStruct:
    if isinstance(leaf, ShapeDtypeStruct):
        return leaf
    if not isinstance(leaf, Tensor):
        raise TypeError(
            f"pure_callback: {leaf_place(tree, i, 'result_shape_dtypes')} must be a "
            f"ShapeDtypeStruct or a tensor, got {describe(leaf)}."
        )
    return ShapeDtypeStruct(tuple(leaf.shape), leaf.dtype, leaf.device)


class _Types:
    """The types of the results, and their tree."""

    def __init__(self, leaves: list[ShapeDtypeStruct], treedef: PyTreeDef) -> None:
        self.leaves, self._treedef = leaves, treedef

    def mapped(self, size: int) -> _Types:
        """Return the types for so many examples at once."""
        leaves = [ShapeDtypeStruct((size, *x.shape), x.dtype, x.device) for x in self.leaves]
        return _Types(leaves, self._treedef)

    def check(self, result: Any) -> list[Tensor]:
        """Return the leaves of a result as tensors of these types."""
        leaves, treedef = tree_flatten(result)
        if treedef != self._treedef:
            raise TypeError(
                "pure_callback: what the function returns must have the structure of "
                f"result_shape_dtypes, {self._treedef}, but has {treedef}."
            )
        return [self._checked(leaf, i, result) for i, leaf in enumerate(leaves)]

    def _checked(self, leaf: Any, i: int, result: Any) -> Tensor:
        place, expected = leaf_place(result, i, "what the function returns"), self.leaves[i]
        tensor = to_tensor(leaf, lambda: f"pure_callback: {place}")
        if isinstance(leaf, int | float | complex):
            tensor = tensor.to(expected.dtype)
        if tensor.shape != expected.shape or tensor.dtype != expected.dtype:
            raise TypeError(
                f"pure_callback: {place} has type {dtype_and_shape(tensor)}, but "
                f"result_shape_dtypes has {dtype_and_shape(expected)} there; make the two the same."
            )
        return tensor.to(expected.device)


class _PureCallback(Callback):
    def __init__(
        self,
        function: Callable[[Sequence[Tensor]], Any],
        types: _Types,
        vmap_method: str | None,
    ) -> None:
        self._function, self._types, self._vmap_method = function, types, vmap_method

    def run(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Call the function, and check its results."""
        # What it returns may be an argument itself, which PyTorch does not let an operator return.
        return [tensor.clone() for tensor in self._types.check(self._function(tensors))]

    def results(self) -> list[Tensor]:
        """Return tensors of the types of the results."""
        return [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in self._types.leaves]

    def run_mapped(self, size: int, axes: Sequence[int | None], tensors: Sequence[Tensor]) -> Any:
        """Return the results for all examples, along axis 0."""
        if self._vmap_method is None:
            raise NotImplementedError(
                "pure_callback is mapped by vmap, but does not say how; pass vmap_method="
                "'sequential', or 'broadcast_all' for a function that takes all examples at once."
            )
        fronted = [x if a is None else x.movedim(a, 0) for x, a in zip(tensors, axes, strict=True)]
        mapped = _PureCallback(self._function, self._types.mapped(size), self._vmap_method)
        if not size:
            out = tuple(mapped.results())
            return out, (0,) * len(out)
        if self._vmap_method.startswith("sequential"):
            rows = [
                call(self, [x if a is None else x[i] for x, a in zip(fronted, axes, strict=True)])
                for i in range(size)
            ]
            out = tuple([torch.stack(column) for column in zip(*rows, strict=True)])
            return out, (0,) * len(out)
        length = size if self._vmap_method == "broadcast_all" else 1
        given = [
            x.expand(length, *x.shape) if a is None else x
            for x, a in zip(fronted, axes, strict=True)
        ]
        out = call(mapped, given)
        return out, (0,) * len(out)

    def refuse_derivative(self) -> NoReturn:
        """Raise an error: nothing is known of the function."""
        raise ValueError(
            "pure_callback has no derivative; put it into a function with custom_jvp or "
            "custom_vjp that says it, or take stop_gradient of its arguments."
        )
