"""Arguments of a JAX function that are constants of its program."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
BOTH = inspect.Parameter.POSITIONAL_OR_KEYWORD


class Static(NamedTuple):
    """Which arguments are static, by position and by name."""

    positions: frozenset[int]
    names: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.positions or self.names)


class Constant:
    """A static value; equal to another of the same type and value, with 0.0 and -0.0 different."""

    __slots__ = ("_key", "value")

    def __init__(self, value: Hashable) -> None:
        self.value = value
        key = repr(value) if isinstance(value, float | complex) else value
        self._key = (type(value), key)
        hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def static_of(
    fn: Callable[..., Any], argnums: int | Sequence[int], argnames: str | Sequence[str]
) -> Static:
    """Return the static arguments, each by position and by name where it can be given both ways.

    Raises:
        ValueError: there is no such argument.
    """
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    names = (argnames,) if isinstance(argnames, str) else tuple(argnames)
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        return Static(frozenset(numbers), frozenset(names))
    by_position = [p for p in parameters if p.kind in POSITIONAL]
    positions = {_position(i, parameters, by_position) for i in numbers}
    for name in names:
        _check_name(name, parameters)
    positions |= {i for i, p in enumerate(by_position) if p.name in names and p.kind is BOTH}
    found = {p.name for i, p in enumerate(by_position) if i in positions and p.kind is BOTH}
    return Static(frozenset(positions), frozenset(found | set(names)))


def _position(index: int, parameters: Sequence[Any], by_position: Sequence[Any]) -> int:
    count = len(by_position)
    variadic = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    if not -count <= index < count and not (variadic and index >= 0):
        raise ValueError(
            f"static_argnums has {index}, but the function has {count} positional arguments"
        )
    return index % count if index < 0 else index


def _check_name(name: str, parameters: Sequence[Any]) -> None:
    variadic = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    if not variadic and name not in {p.name for p in parameters}:
        raise ValueError(f"static_argnames has {name!r}, but the function has no such argument")


def split(name: str, static: Static, args: tuple, kwargs: dict[str, Any]) -> tuple:
    """Return the arguments without the static ones, and the static ones as a hashable constant.

    Raises:
        ValueError: a static argument is not hashable.
    """
    positional = [(i, args[i]) for i in sorted(static.positions) if i < len(args)]
    named = [(key, kwargs[key]) for key in sorted(static.names) if key in kwargs]
    try:
        constants = tuple((place, Constant(value)) for place, value in (*positional, *named))
    except TypeError:
        place, value = next(pair for pair in (*positional, *named) if not _is_hashable(pair[1]))
        where = f"kwargs[{place!r}]" if isinstance(place, str) else f"args[{place}]"
        raise ValueError(
            f"{name} was given, at the static {where}, a {type(value).__name__}, which is not "
            "hashable; give a tuple or another hashable value"
        ) from None
    rest = tuple(arg for i, arg in enumerate(args) if i not in static.positions)
    return rest, {k: v for k, v in kwargs.items() if k not in static.names}, constants


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def bind(fn: Callable[..., Any], constants: Sequence[tuple[Any, Constant]]) -> Callable[..., Any]:
    """Return the function of the other arguments."""
    if not constants:
        return fn
    positional = {place: c.value for place, c in constants if isinstance(place, int)}
    named = {place: c.value for place, c in constants if isinstance(place, str)}

    def bound(*args: Any, **kwargs: Any) -> Any:
        rest = iter(args)
        count = len(args) + len(positional)
        full = [positional[i] if i in positional else next(rest) for i in range(count)]
        return fn(*full, **kwargs, **named)

    return bound
