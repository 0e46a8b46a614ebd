"""Arguments of a function that are constants of its program, as those of `jax.jit`."""

from __future__ import annotations

import inspect
import operator
import reprlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from inspect import Parameter
from typing import Any

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class Static:
    """The static arguments of one call. Two are equal if their programs are the same.

    Values are compared by type and by equality, those in tuples too. Numbers are told apart by what
    is written of them: 0.0 and -0.0 are different, and a NaN is equal to a NaN.

    Attributes:
        args: positions and values.
        kwargs: names and values.
    """

    __slots__ = ("_hash", "_key", "args", "kwargs")

    def __init__(
        self, args: tuple[tuple[int, Any], ...] = (), kwargs: tuple[tuple[str, Any], ...] = ()
    ) -> None:
        self.args, self.kwargs = args, kwargs
        self._key = tuple([(place, _key(value)) for place, value in (*args, *kwargs)])
        self._hash = hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and self._key == other._key

    def __hash__(self) -> int:
        return self._hash

    def __bool__(self) -> bool:
        return bool(self._key)

    def join(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """Return all arguments of the call: what `StaticArguments.split` takes apart."""
        whole = list(args)
        for position, value in self.args:
            whole[position] = value
        return tuple(whole), {**kwargs, **dict(self.kwargs)}


_NONE = Static()


class StaticArguments:
    """Which arguments of a function are static; false if none are.

    An argument given by number is static also where it is passed by name, and the other way round.
    A negative number counts from the last positional parameter, or, where the function takes any
    number of arguments (or has no signature), from the last argument of a call.

    Args:
        fun: the function.
        argnums: numbers of positional arguments.
        argnames: names of arguments.
        name: what the function is passed to, for errors.
        kind: what the arguments are, for errors: "static" or "donate".

    Raises:
        TypeError: a number is not an integer, or a name not a string.
        ValueError: the function has no such argument.

    Example:
        >>> static = StaticArguments(lambda x, n, mode="up": x, 1, "mode", "jit")
        >>> args, kwargs, constants = static.split((0.5, 3), {"mode": "down"})
        >>> args, kwargs, constants.args, constants.kwargs
        ((0.5, None), {}, ((1, 3),), (('mode', 'down'),))
        >>> constants.join(args, kwargs)
        ((0.5, 3), {'mode': 'down'})
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        argnums: int | Iterable[int] | None,
        argnames: str | Iterable[str] | None,
        name: str,
        kind: str = "static",
    ) -> None:
        self._name = name
        self._label = label = f"{name}: {kind}"
        numbers, names = _numbers(argnums, label), _names(argnames, label)
        try:
            parameters = list(inspect.signature(fun).parameters.values())
        except (TypeError, ValueError):  # a function without a signature, such as a builtin
            parameters, positional = [], []
        else:
            positional = [p for p in parameters if p.kind in _POSITIONAL]
            _check_numbers(numbers, parameters, len(positional), label)
            _check_names(names, parameters, label)
            if not _has(parameters, Parameter.VAR_POSITIONAL):
                numbers = [n % len(positional) for n in numbers]
        by_both = {p.name: i for i, p in enumerate(positional) if p.kind in _NAMED}
        self._numbers = frozenset((*numbers, *(by_both[n] for n in names if n in by_both)))
        self._names = frozenset((*names, *(n for n, i in by_both.items() if i in self._numbers)))

    def __bool__(self) -> bool:
        return bool(self._numbers or self._names)

    def places(self, count: int) -> tuple[frozenset[int], frozenset[str]]:
        """Return the numbers, in a call with `count` positional arguments, and the names.

        Raises:
            ValueError: a negative number counts from the last argument of a call that has fewer.
        """
        return frozenset(self._place(n, count) for n in self._numbers if n < count), self._names

    def check_apart(self, donated: StaticArguments) -> None:
        """Raise `ValueError` if an argument is one of these and donated too."""
        both = [*sorted(self._numbers & donated._numbers), *sorted(self._names & donated._names)]
        if both:
            raise ValueError(
                f"{self._name}: argument {both[0]!r} is static and donated, and a static argument "
                "has no memory to give."
            )

    def split(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], Static]:
        """Take a call's static arguments apart from the others.

        Args:
            args: the positional arguments.
            kwargs: the named arguments.

        Returns:
            The positional arguments with None for those that are static, so that the others keep
            their numbers; the other named arguments; and the static arguments, which are hashable.

        Raises:
            ValueError: a static argument is not hashable, or a negative number counts from the last
                argument of a call that has fewer.
        """
        if not self:
            return args, kwargs, _NONE
        count = len(args)
        places = sorted([self._place(n, count) for n in self._numbers if n < count])
        names = [n for n in sorted(self._names) if n in kwargs] if kwargs else ()
        values = tuple([(i, args[i]) for i in places]), tuple([(n, kwargs[n]) for n in names])
        try:
            static = Static(*values)
        except TypeError:
            self._check_hashable(*values[0], *values[1])
            raise
        whole = list(args)
        for i in places:
            whole[i] = None
        rest = {k: v for k, v in kwargs.items() if k not in self._names} if names else kwargs
        return tuple(whole), rest, static

    def _place(self, number: int, count: int) -> int:
        if number < -count:
            raise ValueError(
                f"{self._label}_argnums contains {number}, but the call has {count} "
                "positional arguments."
            )
        return number + count if number < 0 else number

    def _check_hashable(self, *pairs: tuple[int | str, Any]) -> None:
        for place, value in pairs:
            try:
                hash(value)
            except TypeError:
                raise ValueError(
                    f"{self._name}: non-hashable static arguments are not supported, but static "
                    f"argument {place!r} is {reprlib.repr(value)} of type "
                    f"{type(value).__qualname__}; give a tuple or another hashable value."
                ) from None


def _numbers(argnums: Any, label: str) -> list[int]:
    numbers = _listed(argnums, int)
    try:
        if not any(isinstance(number, bool) for number in numbers):
            return [operator.index(number) for number in numbers]
    except TypeError:
        pass
    raise TypeError(f"{label}_argnums must be integers, got {argnums!r}.")


def _names(argnames: Any, label: str) -> list[str]:
    names = _listed(argnames, str)
    if not all(isinstance(n, str) for n in names):
        raise TypeError(f"{label}_argnames must be strings, got {argnames!r}.")
    return names


def _listed(given: Any, one: type) -> list[Any]:
    if given is None:
        return []
    is_many = isinstance(given, Iterable) and not isinstance(given, one)
    return list(given) if is_many else [given]


def _has(parameters: Sequence[Parameter], kind: Any) -> bool:
    return any(p.kind is kind for p in parameters)


def _check_numbers(
    numbers: Sequence[int], parameters: Sequence[Parameter], count: int, label: str
) -> None:
    for number in numbers:
        known = -count <= number < count or _has(parameters, Parameter.VAR_POSITIONAL)
        if not known:
            raise ValueError(
                f"{label}_argnums contains {number}, but the function takes {count} "
                "positional arguments."
            )


def _check_names(names: Sequence[str], parameters: Sequence[Parameter], label: str) -> None:
    known = [p.name for p in parameters if p.kind in _NAMED]
    others = (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL)
    refused = {p.name for p in parameters if p.kind in others}
    for given in names:
        takes_any = _has(parameters, Parameter.VAR_KEYWORD) and given not in refused
        if given not in known and not takes_any:
            raise ValueError(
                f"{label}_argnames contains {given!r}, but the function has no argument of "
                f"that name; it has {', '.join(known) or 'none'}."
            )


def _key(value: Any) -> Hashable:
    """Return what tells a value from others, by type too."""
    kind = type(value)
    if kind in (float, complex) or _is_scalar_of_numpy(value):
        return kind, repr(value)
    if isinstance(value, tuple) and kind.__eq__ is tuple.__eq__:
        return kind, tuple(map(_key, value))
    if isinstance(value, frozenset) and kind.__eq__ is frozenset.__eq__:
        return kind, frozenset(map(_key, value))
    return kind, value


def _is_scalar_of_numpy(value: Any) -> bool:
    return type(value).__hash__ is not None and any(
        cls.__module__ == "numpy" and cls.__name__ == "generic" for cls in type(value).__mro__
    )
