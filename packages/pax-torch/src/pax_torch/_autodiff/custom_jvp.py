"""`custom_jvp`: a function with a rule for its forward-mode derivative."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
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
)
from pax_torch._autodiff.flatten_fun import (
    directions,
    is_differentiable,
    merge,
    pair,
    parts_like,
)
from pax_torch._errors import check_callable, leaf_place
from pax_torch._rng import RandomState
from pax_tree import tree_leaves, tree_map


class custom_jvp:
    """A function whose derivative is given by a rule for forward mode; a decorator.

    `f.defjvp(rule)` sets it: `rule(*nondiff, primals, tangents)` returns the result and its
    tangent, which must be linear in the tangents. Reverse mode uses the transpose of the rule.
    Both hold for derivatives of every order, as far as the rule is differentiable, and under
    `vmap`. The function may close over constants and what is mapped. To close over what is being
    differentiated is an error where a derivative would be lost; `closure_convert` makes arguments of
    such tensors.

    Args:
        fun: takes and returns pytrees of tensors.
        nondiff_argnums: the positional arguments that the rule takes in front, such as functions,
            and that have no derivative.
        nondiff_argnames: the same by name.

    Raises:
        TypeError: `fun` is no function; in a call: the rule returns no pair.
        ValueError: in a call: the tangent has not the structure and shapes of the result.
        AttributeError: in a call: no rule was set.
        RuntimeError: in a call: the function closes over a tensor that is being differentiated.

    Example:
        >>> import torch, pax_torch
        >>> @pax_torch.custom_jvp
        ... def log1pexp(x):
        ...     return (1 + x.exp()).log()
        >>> @log1pexp.defjvp
        ... def log1pexp_jvp(primals, tangents):
        ...     (x,), (t,) = primals, tangents
        ...     return log1pexp(x), (1 - 1 / (1 + x.exp())) * t
        >>> pax_torch.grad(log1pexp)(100.0)
        tensor(1.)

    The API is that of `jax.custom_jvp`.
    """

    __static_by_identity__ = True

    def __init__(
        self,
        fun: Callable[..., Any],
        nondiff_argnums: int | Sequence[int] = (),
        nondiff_argnames: str | Sequence[str] = (),
    ) -> None:
        check_callable(fun, "custom_jvp")
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.nondiff_argnums = nondiff_numbers(fun, nondiff_argnums, nondiff_argnames, "custom_jvp")
        self.jvp: Callable[..., Any] | None = None
        self.symbolic_zeros = False

    def defjvp(self, jvp: Callable[..., Any], symbolic_zeros: bool = False) -> Callable[..., Any]:
        """Set the rule, `jvp(*nondiff, primals, tangents) -> (out, tangent_out)`.

        Args:
            jvp: the rule; the tangents of integer leaves are None.
            symbolic_zeros: give it None, and not zeros, for the tangent of what does not vary.

        Returns:
            The rule, so that this is a decorator.

        Example:
            >>> import pax_torch
            >>> f = pax_torch.custom_jvp(lambda x: x**2)
            >>> rule = f.defjvp(lambda primals, tangents: (f(*primals), 10 * tangents[0]))
            >>> pax_torch.grad(f)(3.0)
            tensor(10.)
        """
        check_callable(jvp, "defjvp")
        self.jvp, self.symbolic_zeros = jvp, symbolic_zeros
        return jvp

    def defjvps(self, *jvps: Callable[..., Any] | None) -> None:
        """Set the rule as one function for each argument with a derivative.

        Args:
            *jvps: `jvp(tangent, out, *primals)` returns what the tangent of this argument adds to
                that of the result; None stands for nothing.

        Raises:
            TypeError: the function has arguments in `nondiff_argnums`.

        Example:
            >>> import pax_torch
            >>> f = pax_torch.custom_jvp(lambda x, y: x * y)
            >>> f.defjvps(lambda t, out, x, y: t * y, None)
            >>> pax_torch.grad(f, (0, 1))(2.0, 3.0)
            (tensor(3.), tensor(0.))
        """
        if self.nondiff_argnums:
            raise TypeError("custom_jvp: defjvps cannot be used with nondiff_argnums; use defjvp.")

        def rule(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
            out = self(*primals)
            zeros = tree_map(torch.zeros_like, out)
            terms = [
                jvp(tangent, out, *primals)
                for jvp, tangent in zip(jvps, tangents, strict=True)
                if jvp is not None
            ]
            return out, tree_map(lambda *leaves: sum(leaves[1:], leaves[0]), zeros, *terms)

        self.jvp, self.symbolic_zeros = rule, False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        if self.jvp is None:
            name = getattr(self.fun, "__name__", self.fun)
            raise AttributeError(f"No JVP defined for custom_jvp function {name} using defjvp.")
        return call_with_rule(_JvpRule, self, args, kwargs)


class _JvpRule(DerivativeRule):
    name = "custom_jvp"
    is_transposable = is_mapped_over = True

    def __init__(self, function: Any, args: Sequence[Any]) -> None:
        super().__init__(function, args)
        self.jvp, self._symbolic_zeros = function.jvp, function.symbolic_zeros

    def primal(self, tensors: Tensors) -> Any:
        self._random_state = RandomState(tensors)
        return self.fun(*self.arguments(tensors))

    def push(self, tensors: Tensors, tangents: Optionals) -> Optionals:
        given = tangents if self._symbolic_zeros else list(map(_filled, tensors, tangents))
        trees = self.primals.combine(given, [None] * len(self.primals.others))
        with self._random_state.restored():
            result = self.jvp(*self.nondiff, self.primals.combine(tensors), trees)
        return self._checked(
            *pair(result, "custom_jvp: the rule must return a pair (out, tangent), got")
        )

    def _checked(self, out: Any, tangent: Any) -> Optionals:
        """Return the tangent of each tensor of the result among those that the rule returned."""
        name = "the tangent of the custom_jvp rule"
        parts = parts_like(
            self.out.treedef, tangent, f"{name} must have the structure of the result"
        )
        points = list(compress(tree_leaves(out), self.out.is_tensor))
        parts = list(compress(parts, self.out.is_tensor))
        chosen = [is_differentiable(point) for point in points]
        given = directions(
            list(compress(parts, chosen)),
            list(compress(points, chosen)),
            lambda i: leaf_place(out, i, name),
        )
        return merge(given, chosen)

    def pull(
        self, tensors: Tensors, residuals: Any, cotangents: Optionals, needed: Sequence[bool]
    ) -> Optionals:
        """Return the transpose of `push`."""
        push = functools.partial(self.push, tensors)
        return transposed(push, tensors, cotangents, needed)


def _filled(tensor: torch.Tensor, tangent: torch.Tensor | None) -> torch.Tensor | None:
    """Return a tangent, and zeros for None where there could be one."""
    if tangent is None and is_differentiable(tensor):
        return torch.zeros_like(tensor, requires_grad=False)
    return tangent
