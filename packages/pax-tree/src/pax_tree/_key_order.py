"""An order of dict keys that do not compare, or only some of them, which depends on the keys alone.

Equal keys have equal contents, whatever their classes are, and contents always compare. Processes
that run the same program agree on the order, so it goes by no hash, and by addresses only as the last.
"""

from __future__ import annotations

import itertools
import numbers
import re
import weakref
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")

# When keys that nothing else tells apart were first seen.
_seen: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
_count = itertools.count()


def in_order(keys: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the keys in the order of what they contain, and of when they were first seen."""
    found = sorted((_content(key), i) for i, key in enumerate(keys))
    groups = itertools.groupby(found, key=lambda entry: entry[0])
    return tuple(key for _, group in groups for key in _by_age([keys[i] for _, i in group]))


def _by_age(keys: list[Any]) -> list[Any]:
    """Sort keys of equal content by when they were first seen."""
    return sorted(keys, key=_age) if len(keys) > 1 else keys


def _age(key: Any) -> tuple[bool, int]:
    try:
        return False, _seen.setdefault(key, next(_count))
    except TypeError:  # no weak reference to it can be made
        return True, id(key)


def _content(key: Any) -> tuple[str, Any]:
    """Return what is compared: a name, and what compares with all that has this name.

    The names are those by which optree sorts: of the class, or of the one whose objects can be
    equal to the key.
    """
    if isinstance(key, str):
        return "builtins.str", str.__str__(key)
    if isinstance(key, bytes):
        return "builtins.bytes", bytes(key)
    if isinstance(key, tuple):
        return "builtins.tuple", tuple(map(_content, key))
    if isinstance(key, frozenset):
        return "builtins.frozenset", sorted(map(_content, key))
    if isinstance(key, numbers.Number) and hasattr(key, "real") and hasattr(key, "imag"):
        return "builtins.int", tuple(_number(key))
    return f"{type(key).__module__}.{type(key).__qualname__}", _text(key)


def _number(key: Any) -> Iterator[tuple[bool, Any]]:
    for part in (key.real, key.imag):
        nan = bool(part != part)
        yield nan, 0 if nan else _exact(part)


def _exact(number: Any) -> Any:
    if isinstance(number, int | float):
        return number
    if isinstance(number, numbers.Integral):
        return int(number)
    try:
        return Fraction(*number.as_integer_ratio())
    except (AttributeError, OverflowError):  # an unknown class; infinity
        return float(number)


def _text(key: Any) -> str:
    try:
        return _ADDRESS.sub("", repr(key))
    except Exception:
        return ""
