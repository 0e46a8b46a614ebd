"""`custom_gradient` and `closure_convert`: rules by closures, and closures without closed-over tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from pax_torch._autodiff.custom_vjp import custom_vjp
from pax_torch._autodiff.flatten_fun import is_differentiable
from pax_torch._compat import is_followed
from pax_torch._errors import check_callable
from pax_torch._tracing import refuse_compile
from pax_tree import tree_leaves, tree_map


def custom_gradient(fun: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose reverse-mode derivative it gives itself, as a function; a decorator.

    Args:
        fun: returns a pair of its result and a function from the cotangent of that to a tuple of the
            cotangents of the arguments; for one argument, to its cotangent alone if that is no tuple.

    Returns:
        A function with the arguments of `fun` that returns the result.

    Raises:
        TypeError: `fun` is no function; in a call: as for `custom_vjp`.

    Example:
        >>> import pax_torch
        >>> @pax_torch.custom_gradient
        ... def f(x):
        ...     return x**2, lambda g: (g * x,)
        >>> f(3.0), pax_torch.grad(f)(3.0)
        (9.0, tensor(3.))

    The API is that of `jax.custom_gradient`.
    """
    check_callable(fun, "custom_gradient")

    @functools.wraps(fun)
    def value(*args: Any) -> Any:
        return fun(*args)[0]

    def pull(pull_back: Callable[[Any], Any], cotangent: Any) -> tuple[Any, ...]:
        found = pull_back(cotangent)
        return found if isinstance(found, tuple) else (found,)

    function = custom_vjp(value)
    function.defvjp(fun, pull)
    return function


def closure_convert(
    fun: Callable[..., Any], *example_args: Any
) -> tuple[Callable[..., Any], list[Tensor]]:
    """Return `fun` with closed-over tensors that are being differentiated or mapped as arguments.

    So a function with a rule of its own can be given what it closes over.

    Args:
        fun: a function of pytrees.
        *example_args: arguments with which it runs once, to see what it uses.

    Returns:
        `(converted, consts)`: a function that takes the tensors in `consts`, or others in their place,
        after the arguments of `fun`.

    Raises:
        TypeError: `fun` is no function.

    Example:
        >>> import pax_torch
        >>> def f(x):
        ...     converted, consts = pax_torch.closure_convert(lambda y: x * y, 2.0)
        ...     return converted(3.0, *consts)
        >>> pax_torch.grad(f)(5.0)
        tensor(3.)

    The API is that of `jax.closure_convert`.
    """
    refuse_compile("closure_convert", "does not tell which tensors a function closes over")
    check_callable(fun, "closure_convert")
    args = _fresh(example_args)
    with _Seen(tree_leaves(args)) as seen:
        seen.see(tree_leaves(fun(*args)))
    consts = seen.closed_over

    def converted(*args: Any) -> Any:
        count = len(args) - len(consts)
        if count < 0:
            raise TypeError(
                f"The converted function takes {len(consts)} tensors after the arguments of {fun!r}, "
                f"got {len(args)} arguments in all."
            )
        others = dict(zip(map(id, consts), args[count:], strict=True))
        replaced = functools.partial(tree_map, lambda x: others.get(id(x), x))
        given = _fresh(args[:count])
        with _Replaced(replaced):
            out = fun(*given)
        return replaced(out)

    return converted, consts


def _fresh(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return arguments whose tensors are told apart from those that are closed over."""
    return tree_map(lambda x: x.view_as(x) if isinstance(x, Tensor) else x, args)


class _Seen(TorchFunctionMode):
    """Collects the tensors that operations take from outside, and that are followed."""

    def __init__(self, known: Sequence[Any]) -> None:
        super().__init__()
        self.closed_over: list[Tensor] = []
        self._known = {
            id(x): x for x in known
        }  # and keeps them, so that no other has their identity

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Run one operation."""
        self.see(tree_leaves((tuple(args), kwargs or {})))
        out = func(*args, **(kwargs or {}))
        self._known.update({id(x): x for x in tree_leaves(out)})
        return out

    def see(self, values: Sequence[Any]) -> None:
        """Note those of some values that have not been seen."""
        for x in values:
            if isinstance(x, Tensor) and id(x) not in self._known:
                self._known[id(x)] = x
                if is_differentiable(x) and is_followed(x):
                    self.closed_over.append(x)


class _Replaced(TorchFunctionMode):
    def __init__(self, replaced: Callable[[Any], Any]) -> None:
        super().__init__()
        self._replaced = replaced

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Run one operation with other tensors."""
        args, kwargs = self._replaced((tuple(args), kwargs or {}))
        return func(*args, **kwargs)
