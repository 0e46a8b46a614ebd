"""`debug.print`: values from inside functions that are transformed or compiled."""

from __future__ import annotations

import builtins
import string
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pax_torch._autodiff.flatten_fun import Rest, partition
from pax_torch._callbacks.operator import Callback, call
from pax_torch._errors import describe
from pax_torch._tracing import refuse_compile


def print(fmt: str, *args: Any, **kwargs: Any) -> None:
    """Print values, also inside transforms and compiled functions.

    Derivatives pass by: what is printed is the value. Inside `vmap` each example is printed by
    itself. In a compiled function it is printed each time that the program runs, in order.

    Args:
        fmt: a format string, as for `str.format`: "x = {x}".
        *args: what is printed for `{}` and `{0}`: pytrees, whose tensors are printed with their
            values.
        **kwargs: what is printed for names.

    Raises:
        TypeError: `fmt` is no string.
        ValueError: an argument has no place in `fmt`, or a place no argument.

    Example:
        >>> import torch, pax_torch
        >>> def f(x):
        ...     pax_torch.debug.print("x = {x}", x=x)
        ...     return x**2
        >>> pax_torch.grad(f)(torch.tensor(3.0))
        x = 3.0
        tensor(6.)

    The API is that of `jax.debug.print`.
    """
    refuse_compile("debug.print", "takes no format string into a program")
    if not isinstance(fmt, str):
        raise TypeError(f"debug.print takes a format string first, got {describe(fmt)}.")
    _check_fields(fmt, args, kwargs)
    tensors, rest = partition((args, kwargs))
    call(_Print(fmt, rest), tensors)


def _check_fields(fmt: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    formatter = _Fields()
    try:
        formatter.vformat(fmt, args, kwargs)
    except (IndexError, KeyError) as error:
        raise ValueError(
            f"debug.print: {fmt!r} has a place without an argument: {error}."
        ) from None
    unused = [name for name in (*range(len(args)), *kwargs) if name not in formatter.used]
    if unused:
        raise ValueError(
            f"debug.print: {fmt!r} has no place for the argument {unused[0]!r}; write "
            f"{{{unused[0]}}} where it shall stand."
        )


class _Fields(string.Formatter):
    """Notes which arguments have a place, and formats none."""

    def __init__(self) -> None:
        self.used: set[int | str] = set()

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> tuple[str, Any]:
        _, used = super().get_field(field_name, args, kwargs)
        self.used.add(used)
        return "", used

    def format_field(self, value: Any, format_spec: str) -> str:
        return ""

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return value


class _Print(Callback):
    has_effect = True

    def __init__(self, fmt: str, rest: Rest) -> None:
        self._fmt, self._rest = fmt, rest

    def run(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Print the values."""
        args, kwargs = self._rest.combine(tensors)
        builtins.print(self._fmt.format(*args, **kwargs))
        return []

    def results(self) -> list[Tensor]:
        """Return nothing."""
        return []

    def run_mapped(self, size: int, axes: Sequence[int | None], tensors: Sequence[Tensor]) -> Any:
        """Print the values of each example."""
        fronted = [x if a is None else x.movedim(a, 0) for x, a in zip(tensors, axes, strict=True)]
        for i in range(size):
            call(self, [x if a is None else x[i] for x, a in zip(fronted, axes, strict=True)])
        return (), ()

    def refuse_derivative(self) -> Any:
        """Return nothing: there are no results."""
        return ()
