"""Functions with derivative rules of their own, as `torch.autograd.Function` of tensors.

A `DerivativeRule` says how one call computes its result and its derivatives from the tensors among its
arguments; `apply` makes that known to autograd and to the transforms of `torch.func`.
"""

from __future__ import annotations

import inspect
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import compress
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import FunctionCtx

from pax_torch._autodiff.closed_over import NoDerivativeFromOutside, no_closed_over_examples
from pax_torch._autodiff.flatten_fun import (
    check_argnums,
    is_differentiable,
    merge,
    partition,
    to_tensor,
)
from pax_torch._autodiff.grad import current_depth, differentiation, pull_back_by_func
from pax_torch._compat import (
    current_level,
    differentiates,
    forward_mode_is_on,
    forward_mode_runs,
    inside_of_batched,
    is_batched,
    is_followed,
    level_of,
    set_forward_mode,
    unwrap_if_dead,
    wrappers,
)
from pax_tree import tree_leaves, tree_map

Tensors = Sequence[Tensor]
Optionals = Sequence[Tensor | None]


class DerivativeRule(ABC):
    """One call of a function and its derivatives.

    Args:
        function: the `custom_jvp` or `custom_vjp` that is called.
        args: all the arguments of the call, by position.
    """

    # What users know the kind of rule by, and whether a transposition passes over it.
    name: ClassVar[str]
    is_transposable: ClassVar[bool] = False
    # Whether an argument without derivative may be mapped.
    is_mapped_over: ClassVar[bool] = False

    def __init__(self, function: Any, args: Sequence[Any]) -> None:
        self.fun = function.fun
        nondiff = _nondiff_positions(function.nondiff_argnums, args, self)
        self._positions = [i for i in range(len(args)) if i not in nondiff]
        self.nondiff = [args[i] for i in nondiff]
        self._args = [arg if i in nondiff else None for i, arg in enumerate(args)]
        known = tuple([args[i] for i in self._positions])
        self.tensors, self.primals = partition(tree_map(_with_derivative, known))
        # What the derivative may use again; None where that would be of another level.
        self.residuals: Any = None
        self.depth = current_depth()
        self._closed_over = NoDerivativeFromOutside(self.name)

    @abstractmethod
    def primal(self, tensors: Tensors) -> Any:
        """Return the result of the call, and may set `residuals`."""

    @abstractmethod
    def pull(
        self, tensors: Tensors, residuals: Any, cotangents: Optionals, needed: Sequence[bool]
    ) -> Optionals:
        """Return for each tensor its cotangent, where it is needed; None stands for zeros."""

    @abstractmethod
    def push(self, tensors: Tensors, tangents: Optionals) -> Optionals:
        """Return for each tensor of the result its tangent; None stands for zeros."""

    def zeros(self, out: int) -> Tensor:
        """Return zeros like one of the tensors of the result."""
        shape, dtype, device = self.out_like[out]
        return torch.zeros(shape, dtype=dtype, device=device)

    def arguments(self, tensors: Tensors, seen: Callable[[Any], Any] | None = None) -> list[Any]:
        """Return all the arguments of the call, with other tensors, and seen through a function."""
        arguments = list(self._args)
        primals = self.primals.combine(tensors)
        if seen is not None:
            primals = seen(primals)
        for i, tree in zip(self._positions, primals, strict=True):
            arguments[i] = tree
        return arguments

    def flat_primal(self, tensors: Tensors) -> tuple[Tensor, ...]:
        """Return the tensors of the result; the rest of it is `out`."""
        tensors = [tensor.detach() for tensor in tensors]
        with torch.enable_grad(), _transposing(()), self._closed_over.watching():
            out, self.out = partition(self.primal(tensors))
        out = self._closed_over.without_graph(out)
        self.out_like = [(x.shape, x.dtype, x.device) for x in out]
        return distinct(out, tensors)


def _with_derivative(leaf: Any) -> Any:
    """Return numbers and arrays with a derivative as tensors, all else as it is."""
    if isinstance(leaf, float | complex) or hasattr(leaf, "__array__"):
        return to_tensor(leaf, lambda: "an argument")
    return leaf


def varies(tensor: Tensor) -> bool:
    """Whether a derivative by a tensor may be taken."""
    if not is_differentiable(tensor):
        return False
    return forward_mode_runs() or any(x.requires_grad for x in wrappers(tensor))


def distinct(out: Tensors, tensors: Tensors) -> tuple[Tensor, ...]:
    """Return the tensors with a new one in place of each that is an argument or comes twice."""
    seen = {id(tensor) for tensor in tensors}
    result = []
    for tensor in out:
        result.append(tensor.view_as(tensor) if id(tensor) in seen else tensor)
        seen.add(id(tensor))
    return tuple(result)


def call_with_rule(
    rule_class: type[DerivativeRule], function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Return the result of a call such that its derivatives are those of the rule."""
    bound = _bind(function.fun, args, kwargs)
    if torch.compiler.is_compiling():
        return _compiled(rule_class.name, function.fun, bound)
    rule = rule_class(function, bound)
    if not _has_derivative(rule.tensors) or (
        rule.is_transposable and _is_being_transposed(rule.tensors)
    ):
        return function.fun(*bound)
    tensors, rule.tensors = rule.tensors, []
    out: Any = _Function.apply(rule, *tensors)
    return rule.out.combine(out)


def _compiled(name: str, fun: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Return the result of a call in `torch.compile`, which does not look into rules.

    Raises:
        NotImplementedError: a derivative of the result may be taken.
    """
    tensors = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
    followed = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    if followed or differentiates():
        raise NotImplementedError(
            f"torch.compile does not look into the rule of a {name}, and a derivative is taken here; "
            "compile the function with pax_torch.jit."
        )
    return fun(*args)


def _has_derivative(tensors: Tensors) -> bool:
    """Whether a derivative may be taken of what is computed from these tensors now."""
    if differentiates():
        return True
    if torch.is_grad_enabled() and any(wrappers(x)[-1].requires_grad for x in tensors):
        return True
    return forward_mode_runs() and forward_mode_is_on()


class _Transpositions(threading.local):
    """The levels of the transpositions that run in this thread."""

    levels: tuple[int, ...] = ()


_running = _Transpositions()


@contextmanager
def _transposing(levels: tuple[int, ...]) -> Iterator[None]:
    before, _running.levels = _running.levels, levels
    try:
        yield
    finally:
        _running.levels = before


def _is_being_transposed(tensors: Tensors) -> bool:
    """Whether tensors are tangents of a rule that is being transposed.

    What is linear in them needs no rule, and to keep one would be to transpose it again, without end
    where it calls its function with tangents.
    """
    levels = _running.levels
    return bool(levels) and any(
        wrapper.requires_grad and level_of(wrapper) in levels
        for tensor in tensors
        for wrapper in wrappers(tensor)[:-1]
    )


class _Function(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(rule: DerivativeRule, *tensors: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return rule.flat_primal(tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        rule, *tensors = inputs
        ctx.rule, ctx.count = rule, len(tensors)
        residuals, rule.residuals = rule.residuals, None
        leaves, ctx.residuals = partition(residuals)
        saved = (*tensors, *leaves)
        ctx.save_for_backward(*saved)
        ctx.save_for_forward(*saved)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        if all(cotangent is None for cotangent in cotangents):
            return (None,) * (1 + ctx.count)
        # They may be read only once, and may be wrapped for a transform that is over.
        saved = [unwrap_if_dead(tensor) for tensor in ctx.saved_tensors]
        given = [None if c is None else unwrap_if_dead(c) for c in cotangents]
        tensors, leaves = saved[: ctx.count], saved[ctx.count :]
        residuals = ctx.residuals.combine(leaves)
        needed = ctx.needs_input_grad[1:]
        with differentiation(ctx.rule.depth), _mapped_by_pytorch(ctx, [*saved, *given]) as check:
            return None, *check(ctx.rule.pull(tensors, residuals, given, needed))

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors[: ctx.count]
        # PyTorch switches forward mode off here, also for the derivatives around this one.
        saved_and_given = [*ctx.saved_tensors, *tangents[1:]]
        with (
            differentiation(ctx.rule.depth),
            set_forward_mode(True),
            _mapped_by_pytorch(ctx, saved_and_given) as check,
        ):
            tensors = [_without_tangent(tensor) for tensor in saved]
            given = [
                t if t is None else t.to(x) for x, t in zip(tensors, tangents[1:], strict=True)
            ]
            found = check(ctx.rule.push(tensors, given))
            # A rule may close over what has a tangent, which is a constant to it.
            return tuple([t if t is None else _without_tangent(t) for t in found])


def _mapped_by_pytorch(ctx: Any, given: Optionals) -> AbstractContextManager[Any]:
    """Refuse a rule that closes over what is mapped, where PyTorch maps it after the function itself."""
    if isinstance(ctx, FunctionCtx):
        return nullcontext(lambda found: found)
    return no_closed_over_examples(ctx.rule.name, given)


def _without_tangent(tensor: Tensor) -> Tensor:
    """Return a tensor without its tangent of this derivative, but with those of outer ones."""
    if is_batched(tensor):  # the operation below cannot be mapped
        return inside_of_batched(_without_tangent, tensor)
    return forward_ad.unpack_dual(tensor).primal


def transposed(
    linear: Callable[[Optionals], Optionals],
    points: Tensors,
    cotangents: Optionals,
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Apply the transpose of a linear map.

    Args:
        linear: takes a tensor for each of `points`, or None where that has no derivative, and
            returns tensors or None in the places of `cotangents`.
        points: tensors with the shapes of its arguments.
        cotangents: tensors, or None for zeros.
        needed: of which of the points the cotangents are used.

    Returns:
        For each of the points its cotangent, or None if it has no derivative or is not needed.
    """
    chosen = [is_differentiable(x) and used for x, used in zip(points, needed, strict=True)]
    zeros = [torch.zeros_like(point, requires_grad=False) for point in compress(points, chosen)]
    if not zeros:
        return [None] * len(points)

    def tensors_only(*tensors: Tensor) -> tuple[tuple[Tensor, ...], Any]:
        with _transposing((*_running.levels, current_level())):
            found = list(zip(linear(merge(tensors, chosen)), cotangents, strict=True))
        pairs = [(out, c) for out, c in found if out is not None and c is not None]
        return tuple([out for out, _ in pairs]), [cotangent for _, cotangent in pairs]

    _, pull_back, kept = pull_back_by_func(tensors_only, zeros)
    return list(merge(pull_back(tuple(kept)), chosen))


def _bind(fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Return all the arguments of a call by position, defaults included."""
    try:
        signature = inspect.signature(fun)
    except ValueError:  # a function written in C
        if not kwargs:
            return tuple(args)
        raise
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    if by_name := [name for name in kwargs if name in bound.kwargs]:
        raise TypeError(
            f"A function with a rule for its derivative takes its arguments by position, but "
            f"{', '.join(by_name)} of {fun!r} can only be given by keyword."
        )
    return bound.args


def nondiff_numbers(
    fun: Callable[..., Any], nondiff_argnums: Any, nondiff_argnames: Any, name: str
) -> tuple[int, ...]:
    """Return the places of the arguments without derivative, given by number and by name.

    Raises:
        TypeError: they are no int or sequence of ints, and no names.
        ValueError: `fun` has no argument of such a name, that may be given by position.
    """
    numbers: tuple[int, ...] = ()
    if not (isinstance(nondiff_argnums, Sequence) and not nondiff_argnums):
        found = check_argnums(nondiff_argnums, name, "nondiff_argnums")
        numbers = (found,) if isinstance(found, int) else found
    names = [nondiff_argnames] if isinstance(nondiff_argnames, str) else list(nondiff_argnames)
    if not names:
        return numbers
    places = {
        each: i
        for i, (each, parameter) in enumerate(inspect.signature(fun).parameters.items())
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    }
    if unknown := [each for each in names if each not in places]:
        raise ValueError(
            f"{name}: nondiff_argnames has {', '.join(map(repr, unknown))}, but the arguments of "
            f"{fun!r} are {', '.join(places) or 'none'}."
        )
    return (*numbers, *[places[each] for each in names])


def _nondiff_positions(
    nondiff_argnums: Sequence[int], args: Sequence[Any], rule: DerivativeRule
) -> list[int]:
    """Return the positions of the arguments without derivative, in order, each once.

    Raises:
        TypeError: there is no such argument, or a tensor in it is being differentiated, or mapped.
    """
    name = rule.name
    for number in nondiff_argnums:
        if not -len(args) <= number < len(args):
            raise TypeError(f"{name}: nondiff_argnums has {number} for {len(args)} arguments.")
    found = sorted({number % len(args) for number in nondiff_argnums})
    for position in found:
        leaves = tree_leaves(args[position])
        if any(
            isinstance(leaf, Tensor) and is_followed(leaf, rule.is_mapped_over) for leaf in leaves
        ):
            raise TypeError(
                f"{name}: argument {position} is in nondiff_argnums, but has a tensor that is "
                "being differentiated or mapped; take it out of nondiff_argnums, and give it a "
                "zero derivative."
            )
    return found
