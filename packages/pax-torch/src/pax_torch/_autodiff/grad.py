"""Reverse mode: `value_and_grad` and `grad`, and how derivatives nest.

Two engines give the same result: `torch.autograd` where no transform of `torch.func` is active, and
`torch.func` inside one, where autograd cannot be told to track a tensor. A derivative keeps its
graph inside another differentiation, or on request.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import compress
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

from pax_torch._autodiff.constants import call_with_constants
from pax_torch._autodiff.flatten_fun import (
    TENSORS,
    Argnums,
    FlatFunction,
    NonEmptyOutput,
    Selection,
    check_argnums,
    check_output,
    holds_residuals,
    pair,
)
from pax_torch._compat import (
    SEES_THREADS,
    forward_mode_runs,
    leave_graph,
    let_write,
    outside_of_inference_mode,
    read_only,
    run_backward,
    transforms_active,
)
from pax_torch._errors import check_callable, describe
from pax_torch._placements import all_plain, placed_like
from pax_torch._tracing import refuse_compile
from pax_tree import tree_leaves, tree_map

_Tree = TypeVar("_Tree")


def value_and_grad(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    allow_unused: bool = True,
    materialize_grads: bool = True,
    create_graph: bool = False,
) -> Callable[..., Any]:
    """Return a function that evaluates both `fun` and its gradient.

    The function may be nested for higher derivatives, and used inside and around the transforms
    of `torch.func`. It changes none of its arguments and accumulates into no `.grad`. Its results
    carry no graph, unless it is called inside another differentiation or `create_graph` is set;
    nor does an argument that is not differentiated and that `fun` writes to. A tensor that `fun` closes
    over and writes to has the graph of what was written, as in PyTorch: pass it as an argument.

    Args:
        fun: returns a real scalar tensor of shape (); with `has_aux`, a pair of that and any
            pytree. The arguments at `argnums` are pytrees of floating-point or complex tensors,
            NumPy arrays and Python floats, and reach `fun` as tensors; the others are passed on
            as they are, and so are keyword arguments.
        argnums: the positional argument or arguments to differentiate; negative counts from the
            last.
        has_aux: `fun` returns `(value, aux)`, and aux is not differentiated.
        holomorphic: `fun` is a holomorphic function of complex leaves with a complex value, and
            the gradient its complex derivative.
        allow_int: accept leaves of an integer or boolean dtype; None stands for their gradient.
        allow_unused: give zeros, as JAX does, for a leaf that the value does not depend on;
            False makes that an error.
        materialize_grads: False gives None in place of such zeros, as in `torch.autograd.grad`; a step
            of an optimizer then leaves those leaves as they are.
        create_graph: keep the graph of the results, so that `torch.autograd` can differentiate
            them with respect to tensors that require grad.

    Returns:
        A function with the arguments of `fun` that returns `(value, grads)`, or
        `((value, aux), grads)` with `has_aux`. `grads` has the structure of the argument at
        `argnums`, or is a tuple of such when `argnums` is a sequence, and is empty for a tree
        without leaves; each leaf has the shape and the dtype of the argument's leaf, and the
        placements of one that is a `DTensor`. For a complex
        leaf it is the direction of steepest ascent, PyTorch's convention and the conjugate of JAX's.

    Raises:
        TypeError: `fun` is no function, `argnums` is out of range, or a leaf or the result has the
            wrong type.
        ValueError: `argnums` names an argument twice, or `allow_unused=False` found an unused
            leaf.
        RuntimeError: `fun` writes what is being differentiated to a view of another tensor.

    Example:
        >>> import pax_torch
        >>> pax_torch.value_and_grad(lambda x: x["a"] * x["b"])({"a": 2.0, "b": -1.5})
        (tensor(-3.), {'a': tensor(-1.5000), 'b': tensor(2.)})

    The API is that of `jax.value_and_grad`.
    """
    check_callable(fun, "value_and_grad")
    numbers = check_argnums(argnums, "value_and_grad")

    @functools.wraps(fun, updated=())
    def value_and_grad_fun(*args: Any, **kwargs: Any) -> Any:
        selection = Selection(args, numbers)
        selection.check("grad", allow_int=allow_int, holomorphic=holomorphic)
        constants = _constants(selection.others, kwargs)

        def call(variables: Sequence[Tensor]) -> tuple[Tensor, Any]:
            arguments = selection.arguments(variables)
            if transforms_active():
                result = call_with_constants(fun, arguments, kwargs, variables)
            else:
                result = fun(*arguments, **kwargs)
            value, aux = pair(result) if has_aux else (result, None)
            return _check_value(value, holomorphic), aux

        variables = selection.variables
        find_unused = not (allow_unused and materialize_grads)
        try:
            value, aux, grads = _reverse(call, variables, create_graph, find_unused)
        except BaseException:
            _left_in_graph(constants)
            raise
        if constants:
            _clean(constants)
        if not allow_unused:
            _check_used(grads, selection)
        found: list[Any] = grads
        if materialize_grads:
            found = [_zeros(v) if g is None else g for v, g in zip(variables, grads, strict=True)]
        if holomorphic:
            found = [None if g is None else g.conj().resolve_conj() for g in found]
        if not all_plain(variables):
            found = [placed_like(g, v) for g, v in zip(found, variables, strict=True)]
        result = (value, aux) if has_aux else value
        return result, selection.gradients(found)

    return value_and_grad_fun


def grad(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    allow_unused: bool = True,
    materialize_grads: bool = True,
    create_graph: bool = False,
) -> Callable[..., Any]:
    """Return a function that evaluates the gradient of `fun`.

    Args:
        fun: as in `value_and_grad`, as are all the other arguments.
        argnums: the positional argument or arguments to differentiate.
        has_aux: `fun` returns `(value, aux)`, and the gradient function `(grads, aux)`.
        holomorphic: `fun` is a holomorphic function of complex leaves.
        allow_int: accept leaves of an integer or boolean dtype, with None for their gradient.
        allow_unused: give zeros for a leaf that the value does not depend on.
        materialize_grads: False gives None for it.
        create_graph: keep the graph of the results.

    Returns:
        A function with the arguments of `fun` that returns the gradient, in the structure of the
        argument at `argnums`, or a tuple of such when `argnums` is a sequence.

    Raises:
        TypeError, ValueError: as in `value_and_grad`.

    Example:
        >>> import pax_torch
        >>> pax_torch.grad(lambda x: x**2)(2.0)
        tensor(4.)
        >>> pax_torch.grad(pax_torch.grad(lambda x: 1 / 6 * x**3))(3.0)
        tensor(3.)

    The API is that of `jax.grad`.
    """
    check_callable(fun, "grad")
    check_argnums(argnums, "grad")
    value_and_grad_fun = value_and_grad(
        fun,
        argnums,
        has_aux,
        holomorphic,
        allow_int,
        allow_unused=allow_unused,
        materialize_grads=materialize_grads,
        create_graph=create_graph,
    )

    @functools.wraps(fun, updated=())
    def grad_fun(*args: Any, **kwargs: Any) -> Any:
        result, grads = value_and_grad_fun(*args, **kwargs)
        return (grads, result[1]) if has_aux else grads

    return grad_fun


def _check_value(value: Any, holomorphic: bool) -> Tensor:
    if not isinstance(value, Tensor) or value.shape != ():
        raise TypeError(
            "Gradient only defined for scalar-output functions, that is for a tensor of shape (). "
            f"The function returned {describe(value)}{_remedy(value)}."
        )
    if holomorphic or not value.is_floating_point():
        check_output(value, "grad", holomorphic)
    return value


def _remedy(value: Any) -> str:
    """Say what to do about a result that is no scalar tensor."""
    if isinstance(value, Tensor):
        return "; take its sum or mean, or all its derivatives by jacrev"
    if isinstance(value, tuple | list) and len(value) == 2:
        return "; for a pair (value, aux) pass has_aux=True"
    if isinstance(value, int | float):
        return "; return the tensor itself, without .item() or float()"
    return ""


def _constants(args: Sequence[Any], kwargs: dict[str, Any]) -> list[Tensor]:
    """Return the tensors in arguments that are not differentiated, of those in no graph.

    Within another derivative there are none: what is written to them belongs to that.
    """
    if not (args or kwargs) or nested() or torch.compiler.is_compiling():
        return []
    if not kwargs and set(map(type, args)) <= TENSORS:
        return [x for x in args if not x.requires_grad]
    leaves: list[Any] = []
    for arg in (*args, *kwargs.values()):
        leaves += [arg] if isinstance(arg, Tensor) else tree_leaves(arg, holds_residuals)
    return [x for x in leaves if isinstance(x, Tensor) and not x.requires_grad]


def _clean(constants: Sequence[Tensor]) -> None:
    """Take those tensors that the function has written to out of the graph.

    Raises:
        RuntimeError: one is a view, which PyTorch does not take out of the graph of its base.
    """
    left = _left_in_graph(constants)
    if left:
        raise RuntimeError(
            f"The function writes what is being differentiated to {describe(left[0])} among its "
            "other arguments, which is a view of another tensor; pass a clone, or return the new "
            "value with has_aux=True."
        )


def _left_in_graph(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Take tensors out of their graphs, and return those that PyTorch does not."""
    return [x for x in tensors if x.requires_grad and not x.is_leaf and not leave_graph(x)]


def _zeros(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor, requires_grad=False)


def _check_used(grads: Sequence[Tensor | None], selection: Selection) -> None:
    places = compress(range(len(selection.tensors)), selection.chosen)
    for leaf, gradient in zip(places, grads, strict=True):
        if gradient is None:
            raise ValueError(
                f"The value does not depend on {selection.place(leaf)}, and allow_unused=False; "
                "use that leaf, or pass allow_unused=True to get zeros for it."
            )


# Engines -----------------------------------------------------------------------------------------

_NOTHING = nullcontext()
Call = Callable[[Sequence[Tensor]], tuple[Tensor, Any]]
Result = tuple[Tensor, Any, list[Tensor | None]]


def _reverse(call: Call, leaves: Sequence[Tensor], create_graph: bool, find_unused: bool) -> Result:
    """Return value, aux and the gradient of the value for each leaf.

    Args:
        call: maps tensors like `leaves` to a scalar and anything else.
        leaves: floating-point or complex tensors; they are read, never changed.
        create_graph: keep the graph of the results. It is kept in any case inside another
            differentiation.
        find_unused: give None, and not zeros, for every leaf that the value does not depend on.

    Returns:
        The scalar, the second result of `call`, and per leaf its gradient, or None where the
        value does not depend on it.
    """
    keep = create_graph or nested()
    if torch.compiler.is_compiling():
        if find_unused:
            refuse_compile(
                "allow_unused=False and materialize_grads=False",
                "does not tell which leaves a value depends on",
            )
        return _reverse_by_func(call, leaves, find_unused, keep)
    inference = torch.is_inference_mode_enabled()
    with outside_of_inference_mode() if inference else _NOTHING:
        if transforms_active():
            return _reverse_by_func(call, leaves, find_unused, keep)
        return _reverse_by_autograd(call, leaves, keep)


def _reverse_by_autograd(call: Call, leaves: Sequence[Tensor], keep: bool) -> Result:
    followed = _depth.followed if keep else []
    with _recorded_differentiation(None, followed):
        variables = _variables(leaves, keep)
        if followed is not None:
            _depth.followed = followed + variables
        value, aux = call(variables)
        if keep:
            let_write([x for x, leaf in zip(variables, leaves, strict=True) if leaf.requires_grad])
        grads = _gradients(value, variables, keep)
    if keep:
        return value, aux, grads
    return detached(value), detach_tree(aux), grads


def _variables(leaves: Sequence[Tensor], keep: bool) -> list[Tensor]:
    """Return new differentiable tensors with the memory of the leaves, in their graph when that is kept."""
    leaves = normal_tensors(leaves)
    if not keep:
        detach = detached if forward_mode_runs() else Tensor.detach
        variables = list(map(detach, leaves))
        for variable in variables:
            variable.requires_grad = True
        return variables
    variables = [
        read_only(leaf) if leaf.requires_grad else detached(leaf).requires_grad_()
        for leaf in leaves
    ]
    if _depth.variables is not None:
        _depth.variables += [x for x in variables if x.is_leaf]
    return variables


def _gradients(
    value: Tensor, variables: Sequence[Tensor], create_graph: bool
) -> list[Tensor | None]:
    if not (variables and value.requires_grad):
        return [None] * len(variables)
    ones, inputs = (torch.ones_like(value),), tuple(variables)
    options = {"allow_unreachable": True, "accumulate_grad": False}
    return list(run_backward((value,), ones, create_graph, create_graph, inputs, **options))


def pull_back_by_func(
    function: Callable[..., Any], points: Sequence[Tensor]
) -> tuple[tuple[Tensor, ...], Callable[..., Sequence[Tensor]], Any]:
    """Return `(out, pull_back, aux)` of a function that returns a tuple of tensors and aux tensors.

    It is `torch.func.vjp`, also for a function that takes nothing or returns the empty tuple.
    """
    if not points:
        out, aux = function()
        return out, lambda _: (), aux
    non_empty = NonEmptyOutput(function)
    result: Any = torch.func.vjp(non_empty, *points, has_aux=True)
    if non_empty.empty:
        return (), lambda _: tuple(map(torch.zeros_like, points)), result[2]
    return result


def _reverse_by_func(call: Call, leaves: Sequence[Tensor], find_unused: bool, keep: bool) -> Result:
    leaves = leaves if keep else [leaf.detach() for leaf in leaves]
    if not leaves:
        return *call(leaves), []
    unused = [False] * len(leaves)

    def call_and_see(variables: Sequence[Tensor]) -> tuple[Tensor, Any]:
        nonlocal unused
        value, aux = call(variables)
        if find_unused:
            unused = [g is None for g in _gradients(value, variables, True)]
        return value, aux

    flat = FlatFunction(call_and_see, True, "grad")
    result: tuple[Any, ...] = torch.func.vjp(flat, *leaves, has_aux=True)
    (value,), pull_back, rest = result
    grads = pull_back((torch.ones_like(value),))
    found = [None if none else g for g, none in zip(grads, unused, strict=True)]
    aux = flat.aux(rest)
    return (value, aux, found) if keep else (value.detach(), detach_tree(aux), found)


# Levels ------------------------------------------------------------------------------------------


class _Depth(threading.local):
    """How many differentiations by `torch.autograd` are running in this thread, and their variables."""

    value = 0
    variables: list[Tensor] | None = None
    # The variables of all running derivatives, where the results of the outermost of these drop the
    # graph of all other tensors; None where they keep it.
    followed: list[Tensor] | None = None


_depth = _Depth()


def current_depth() -> int:
    """Return how many differentiations by `torch.autograd` are running in this thread."""
    return _depth.value


def nested() -> bool:
    """Whether the results of a derivative may be differentiated by one that is running."""
    if transforms_active():
        return True
    # Where the compiler does not see the depth, a derivative may be running in each call.
    inside = _depth.value > 0 if SEES_THREADS else _depth.value > 0 or torch.compiler.is_compiling()
    return inside and torch.is_grad_enabled()


def is_first_order() -> bool:
    """Whether there is at most one derivative by `torch.autograd`, and its results keep no graph."""
    return _depth.value == 0 or (_depth.value == 1 and _depth.followed is not None)


@contextmanager
def inner_variables() -> Iterator[list[Tensor]]:
    """Collect the variables of the derivatives taken in this block."""
    before, _depth.variables = _depth.variables, []
    try:
        yield _depth.variables
    finally:
        _depth.variables = before


class differentiation:
    """Counts one differentiation more, or continues at the given depth in another thread.

    Args:
        depth: the depth.
        followed: the variables that are followed there; by default those that are now.
    """

    __slots__ = ("_before", "_followed", "_inside")

    def __init__(self, depth: int | None = None, followed: Any = ...) -> None:
        self._inside, self._followed = depth, followed

    def __enter__(self) -> None:
        self._before = _depth.value, _depth.followed
        _depth.value = self._before[0] + 1 if self._inside is None else self._inside
        if self._followed is not ...:
            _depth.followed = self._followed

    def __exit__(self, *_: object) -> None:
        _depth.value, _depth.followed = self._before


class _recorded_differentiation(differentiation):
    """Counts one differentiation more, and records operations as `torch.enable_grad` does."""

    __slots__ = ("_recorded",)

    def __enter__(self) -> None:
        self._before = _depth.value, _depth.followed
        _depth.value, _depth.followed = self._before[0] + 1, self._followed
        self._recorded = torch.is_grad_enabled()
        if not self._recorded:
            torch.set_grad_enabled(True)

    def __exit__(self, *_: object) -> None:
        _depth.value, _depth.followed = self._before
        if torch.is_grad_enabled() is not self._recorded:
            torch.set_grad_enabled(self._recorded)


def is_followed_by_autograd(variable: Tensor) -> bool:
    """Whether a derivative with respect to a variable of autograd may be taken of what runs now."""
    followed = _depth.followed
    return followed is None or any(variable is each for each in followed)


def at_this_depth(fun: Callable[..., Any]) -> Callable[..., Any]:
    """Return `fun` for a later call, by the backward pass for example, at the depth of now."""
    depth, followed = _depth.value, _depth.followed

    @functools.wraps(fun, updated=())
    def later(*args: Any, **kwargs: Any) -> Any:
        with differentiation(depth, followed):
            return fun(*args, **kwargs)

    return later


def detach_tree(tree: Any) -> Any:
    """Return the tree with its tensors out of any graph; all else stays as it is."""
    return None if tree is None else tree_map(_detach, tree, is_leaf=holds_residuals)


def _detach(leaf: Any) -> Any:
    return detached(leaf) if isinstance(leaf, Tensor) and leaf.requires_grad else leaf


def detached(tensor: Tensor) -> Tensor:
    """Return the tensor out of any graph, but with its tangent where it is a dual tensor."""
    plain = tensor.detach()
    if not forward_mode_runs():
        return plain
    tangent = forward_ad.unpack_dual(tensor).tangent
    return plain if tangent is None else forward_ad.make_dual(plain, tangent.detach())


def normal_tensors(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors with a copy of each that inference mode made, which has no derivative."""
    if not any(map(Tensor.is_inference, tensors)):
        return list(tensors)
    return [tensor.clone() if tensor.is_inference() else tensor for tensor in tensors]


def run(
    function: Callable[[list[Tensor]], Any], tensors: Sequence[Tensor], create_graph: bool
) -> Any:
    """Call `function` with `tensors` so that the result keeps a graph only where it should."""
    keep = create_graph or nested()
    if torch.compiler.is_compiling():
        if keep:
            return function(list(tensors))
        return detach_tree(function([tensor.detach() for tensor in tensors]))
    grad_mode = create_graph or not keep or torch.is_grad_enabled()
    inference = torch.is_inference_mode_enabled()
    outside = torch.inference_mode(False) if inference else nullcontext()
    with outside, torch.set_grad_enabled(grad_mode):
        tensors = normal_tensors(tensors)
        if keep:
            return function(tensors)
        with differentiation(_depth.value, []):
            return detach_tree(function([detached(tensor) for tensor in tensors]))


def stop_gradient(tree: _Tree) -> _Tree:
    """Return the same values, which no derivative flows through.

    Args:
        tree: any pytree; its leaves that are no tensors stay as they are.

    Returns:
        A tree of the same structure, whose tensors share their memory with the given ones.

    Example:
        >>> import pax_torch
        >>> pax_torch.grad(lambda x: x * pax_torch.stop_gradient(x))(3.0)
        tensor(3.)

    The API is that of `jax.lax.stop_gradient`.
    """
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, tree)
