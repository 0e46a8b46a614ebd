"""Programs that are kept for the next call of their kind, the oldest dropped for a new one."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

KEPT = 4096
V = TypeVar("V")


def remembered(
    known: dict[Hashable, V],
    key: Hashable,
    value: V,
    dropped: Callable[[V], Any] | None = None,
    *,
    kept: int | None = None,
) -> V:
    """Return what is known of a key, which is `value` if nothing is.

    What is dropped is made again when it is asked for.

    Args:
        known: the oldest first.
        key: what it is found by.
        value: what it is, if it is not known.
        dropped: is given what was dropped.
        kept: of how many something is known; None is `KEPT`.
    """
    while key not in known and len(known) >= (kept or KEPT):
        oldest = known.pop(next(iter(known), key), None)
        if oldest is not None and dropped is not None:
            dropped(oldest)
    return known.setdefault(key, value)
