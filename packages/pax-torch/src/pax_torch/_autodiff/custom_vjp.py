"""`custom_vjp`: a function with a rule for its reverse-mode derivative."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import torch

from pax_torch._autodiff.custom_function import (
    DerivativeRule,
    Optionals,
    Tensors,
    call_with_rule,
    nondiff_numbers,
    transposed,
    varies,
)
from pax_torch._autodiff.flatten_fun import (
    directions,
    is_differentiable,
    match_prefix,
    merge,
    pair,
)
from pax_torch._compat import transforms_active
from pax_torch._errors import check_callable, describe, leaf_place
from pax_torch._rng import RandomState
from pax_tree import tree_leaves, tree_structure, tree_unflatten

_RETURNED = "what bwd returns"
_STRUCTURE = f"{_RETURNED} must have the structure of the arguments"


class custom_vjp:
    """A function whose reverse-mode derivative is given by a rule; a decorator.

    `f.defvjp(fwd, bwd)` sets the rule. `fwd` takes the arguments of `f` and returns the result
    and residuals, any pytree. `bwd(*nondiff, residuals, cotangent)` returns a tuple with a tree of
    cotangents for each argument that is not in `nondiff_argnums`; None stands for zeros, also in
    the place of any tree in it.

    The rule holds for derivatives of every order, under `vmap`, and in forward mode, where its
    transpose is used. Where `bwd` is differentiated in turn, `fwd` runs again to follow its
    residuals. The functions may close over constants and what is mapped. To close over what is being
    differentiated is an error where a derivative would be lost; `closure_convert` makes arguments of
    such tensors.

    Args:
        fun: takes and returns pytrees of tensors.
        nondiff_argnums: the positional arguments that `bwd` takes in front, such as functions,
            and that have no derivative.
        nondiff_argnames: the same by name.

    Raises:
        TypeError: `fun` is no function; in a call: `bwd` returns no tuple with an entry for each
            argument, or `fwd` no pair.
        AttributeError: in a call: no rule was set.
        RuntimeError: in a call: the function closes over a tensor that is being differentiated.

    Example:
        >>> import torch, pax_torch
        >>> @pax_torch.custom_vjp
        ... def clip_gradient(x):
        ...     return x
        >>> clip_gradient.defvjp(lambda x: (x, None), lambda _, g: (g.clamp(-1, 1),))
        >>> pax_torch.grad(lambda x: 5 * clip_gradient(x))(2.0)
        tensor(1.)

    The API is that of `jax.custom_vjp`.
    """

    __static_by_identity__ = True

    def __init__(
        self,
        fun: Callable[..., Any],
        nondiff_argnums: int | Sequence[int] = (),
        nondiff_argnames: str | Sequence[str] = (),
    ) -> None:
        check_callable(fun, "custom_vjp")
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.nondiff_argnums = nondiff_numbers(fun, nondiff_argnums, nondiff_argnames, "custom_vjp")
        self.fwd: Callable[..., Any] | None = None
        self.bwd: Callable[..., Any] | None = None
        self.symbolic_zeros = False

    def defvjp(
        self, fwd: Callable[..., Any], bwd: Callable[..., Any], symbolic_zeros: bool = False
    ) -> None:
        """Set the rule.

        Args:
            fwd: `fwd(*args) -> (out, residuals)`.
            bwd: `bwd(*nondiff, residuals, cotangent) -> cotangents`, a tuple.
            symbolic_zeros: give `fwd`, in place of each leaf, an object with its `value` and whether it
                is `perturbed`, that is whether it may have a derivative; and `bwd` None, and not
                zeros, for the cotangent of a result on which nothing depends.

        Example:
            >>> import pax_torch
            >>> f = pax_torch.custom_vjp(lambda x, y: x * y)
            >>> f.defvjp(lambda x, y: (x * y, (x, y)), lambda xy, g: (g * xy[1], g * xy[0]))
            >>> pax_torch.grad(f, (0, 1))(2.0, 3.0)
            (tensor(3.), tensor(2.))
        """
        check_callable(fwd, "defvjp")
        check_callable(bwd, "defvjp")
        self.fwd, self.bwd, self.symbolic_zeros = fwd, bwd, symbolic_zeros

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        if self.fwd is None or self.bwd is None:
            name = getattr(self.fun, "__name__", self.fun)
            raise AttributeError(f"No VJP defined for custom_vjp function {name} using defvjp.")
        return call_with_rule(_VjpRule, self, args, kwargs)


@dataclass(frozen=True)
class CustomVJPPrimal:
    """A leaf of an argument of `fwd`: its value, and whether it may have a derivative."""

    value: Any
    perturbed: bool


class _VjpRule(DerivativeRule):
    name = "custom_vjp"

    def __init__(self, function: Any, args: Sequence[Any]) -> None:
        super().__init__(function, args)
        self.fwd, self.bwd = function.fwd, function.bwd
        self._symbolic_zeros = function.symbolic_zeros
        self._perturbed = [varies(tensor) for tensor in self.tensors if self._symbolic_zeros]

    def primal(self, tensors: Tensors) -> Any:
        self._random_state = RandomState(tensors)
        result, residuals = self._forward(tensors)
        # A mapped forward makes residuals that mean nothing outside.
        self.residuals = None if transforms_active() else (residuals,)
        return result

    def _forward(self, tensors: Tensors) -> tuple[Any, Any]:
        seen = self._with_perturbed if self._symbolic_zeros else None
        result = self.fwd(*self.arguments(tensors, seen))
        return pair(result, "custom_vjp: the function fwd must return a pair (out, residuals), got")

    def _with_perturbed(self, primals: Any) -> Any:
        treedef, is_tensor, _ = self.primals
        perturbed = merge(self._perturbed, is_tensor)
        leaves = map(CustomVJPPrimal, treedef.flatten_up_to(primals), map(bool, perturbed))
        return treedef.unflatten(leaves)

    def pull(
        self, tensors: Tensors, residuals: Any, cotangents: Optionals, needed: Sequence[bool]
    ) -> Optionals:
        # Where a derivative of this may be taken, the residuals are followed from the arguments.
        if residuals is None or torch.is_grad_enabled() or transforms_active():
            residuals = self._residuals(tensors)
        given = list(cotangents)
        if not self._symbolic_zeros:
            given = [self.zeros(i) if c is None else c for i, c in enumerate(cotangents)]
        trees = self.out.combine(given, [None] * len(self.out.others))
        return self._checked(self.bwd(*self.nondiff, residuals[0], trees), tensors)

    def _residuals(self, tensors: Tensors) -> tuple[Any]:
        with self._random_state.restored():
            return (self._forward(tensors)[1],)

    def _checked(self, found: Any, tensors: Tensors) -> Optionals:
        """Return the cotangent of each tensor among those that `bwd` returned."""
        treedef, is_tensor, _ = self.primals
        count = len(treedef.children())
        if not isinstance(found, tuple | list) or len(found) != count:
            raise TypeError(
                f"custom_vjp: the function bwd must return a tuple with {count} entries, "
                f"one for each argument with a derivative, got {describe(found)}."
            )
        primals = tree_unflatten(treedef, range(treedef.num_leaves))
        parts = compress(enumerate(_parts(tuple(found), primals)), is_tensor)
        return [
            directions([part], [tensor], lambda _, i=i: leaf_place(primals, i, _RETURNED))[0]
            if part is not None and is_differentiable(tensor)
            else None
            for (i, part), tensor in zip(parts, tensors, strict=True)
        ]

    def push(self, tensors: Tensors, tangents: Optionals) -> Optionals:
        """Return the transpose of `pull`, which is taken as linear in the cotangents."""
        points = [self.zeros(i) for i in range(len(self.out_like))]
        all_of_them = [True] * len(tensors)

        def pull(cotangents: Optionals) -> Optionals:
            return self.pull(tensors, None, cotangents, all_of_them)

        return transposed(pull, points, tangents, [True] * len(points))


def _parts(found: Any, primals: Any) -> list[Any]:
    """Return what belongs to each leaf of `primals`; None in the place of a tree is for them all."""
    parts = []
    for leaf, subtree in match_prefix(found, primals, _STRUCTURE):
        below = tree_leaves(subtree)
        if leaf is not None and (len(below) != 1 or below[0] is not subtree):
            raise ValueError(
                f"{_STRUCTURE}, but has {describe(leaf)} in the place of {tree_structure(subtree)}."
            )
        parts += [leaf] * len(below)
    return parts
