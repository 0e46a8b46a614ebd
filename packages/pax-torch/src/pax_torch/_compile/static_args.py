"""The arguments of a compiled call: those that are part of the program, and the others."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

from pax_torch._errors import describe

Call = tuple[tuple[Any, ...], dict[str, Any]]


class Static(NamedTuple):
    """The static arguments of a call, by place and by name."""

    args: tuple[tuple[int, Any], ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()

    @property
    def key(self) -> Hashable:
        """What tells two such calls apart: the values, and their types."""
        return tuple([(name, type(value), value) for name, value in (*self.args, *self.kwargs)])


class Statics:
    """Which arguments of a function are static, by place and by name.

    Args:
        fun: the function.
        argnums: places of positional arguments; negative ones count from the last.
        argnames: names of arguments.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        argnums: int | Sequence[int] | None,
        argnames: str | Iterable[str] | None,
    ) -> None:
        numbers = [argnums] if isinstance(argnums, int) else list(argnums or ())
        names = [argnames] if isinstance(argnames, str) else list(argnames or ())
        if not all(isinstance(n, int) and not isinstance(n, bool) for n in numbers):
            raise TypeError(f"jit: static_argnums must be integers, got {argnums!r}.")
        if not all(isinstance(name, str) for name in names):
            raise TypeError(f"jit: static_argnames must be strings, got {argnames!r}.")
        positional = _check(fun, numbers, names)
        # What is named can be given by position, and the other way round, as in JAX.
        self._numbers = {*numbers, *(positional.index(n) for n in names if n in positional)}
        inside = [n for n in numbers if -len(positional) <= n < len(positional)]
        self._names = {*names, *(positional[n] for n in inside)}

    def split(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Call, Static]:
        """Return the call with None for static arguments and without static keywords, and those.

        Raises:
            ValueError: a static argument is not hashable.
        """
        if not self._names and not self._numbers:
            return (args, kwargs), Static()
        places = {n % len(args) for n in self._numbers if -len(args) <= n < len(args)}
        names = sorted(kwargs.keys() & self._names)
        static = Static(
            tuple([(i, args[i]) for i in sorted(places)]), tuple([(n, kwargs[n]) for n in names])
        )
        for name, value in (*static.args, *static.kwargs):
            _check_hashable(name, value)
        dynamic = tuple([None if i in places else arg for i, arg in enumerate(args)])
        return (dynamic, {n: v for n, v in kwargs.items() if n not in names}), static


def join(dynamic: Call, static: Static) -> Call:
    """Undoes `Statics.split`."""
    args = list(dynamic[0])
    for place, value in static.args:
        args[place] = value
    return tuple(args), {**dynamic[1], **dict(static.kwargs)}


def _check(fun: Callable[..., Any], numbers: Sequence[int], names: Sequence[str]) -> list[str]:
    """Return the positional parameters, where the function has those that are to be static."""
    try:
        parameters = inspect.signature(fun).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = {p.kind for p in parameters}
    positional = [
        p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    count = len(positional)
    for number in numbers:
        if not -count <= number < count and inspect.Parameter.VAR_POSITIONAL not in kinds:
            raise ValueError(
                f"jit: static_argnums contains {number}, but the function takes {count} "
                "positional arguments."
            )
    named = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    for name in names:
        if name not in named and inspect.Parameter.VAR_KEYWORD not in kinds:
            raise ValueError(
                f"jit: static_argnames contains {name!r}, but the function has no argument of "
                f"that name; it has {', '.join(named) or 'none'}."
            )
    return positional


def _check_hashable(name: int | str, value: Any) -> None:
    try:
        hash(value)
    except TypeError:
        raise ValueError(
            "jit: non-hashable static arguments are not supported, but static argument "
            f"{name!r} is {describe(value)}."
        ) from None
