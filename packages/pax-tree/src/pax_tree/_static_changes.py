"""Static numbers that change in every call, of which each needs a program of its own."""

from __future__ import annotations

import reprlib
import warnings

from pax_tree._static_args import Static

# After so many calls with a new number in a row.
_MANY = 8


class StaticChanges:
    """Says once that a static number changes in every call.

    Args:
        name: of the function whose programs these are.
        remedy: what to pass the number as, to end "pass it as".
    """

    def __init__(self, name: str, remedy: str) -> None:
        self._name, self._remedy = name, remedy
        self.clear()
        self._warned = False

    def clear(self) -> None:
        """Forget the calls."""
        self._seen: set[int] = set()  # their hashes: the arguments themselves are not kept
        self._last, self._in_a_row = Static(), 0

    def see(self, static: Static) -> None:
        """Take notice of the static arguments of a call."""
        number = hash(static)
        if self._warned or not static or number in self._seen:
            self._in_a_row = 0
            return
        self._seen.add(number)
        place = _changed_number(self._last, static)
        self._last, self._in_a_row = static, 0 if place is None else self._in_a_row + 1
        if self._in_a_row == _MANY and place is not None:
            self._warned = True
            self.clear()
            self._warn(*place)

    def _warn(self, place: int | str, value: float) -> None:
        warnings.warn(
            f"{self._name} has made a new program in each of the last {_MANY} calls, since the static "
            f"argument {place!r} was another number in each (now {reprlib.repr(value)}), which takes "
            f"time and memory: pass it as {self._remedy}, without static_argnums or static_argnames, "
            "where the function computes with it alone.",
            stacklevel=4,
        )


def _changed_number(old: Static, new: Static) -> tuple[int | str, float] | None:
    before = dict((*old.args, *old.kwargs))
    for place, value in (*new.args, *new.kwargs):
        if isinstance(value, int | float) and place in before and before[place] != value:
            return place, value
    return None
