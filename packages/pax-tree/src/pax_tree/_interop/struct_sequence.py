"""The tuples with attributes that the interpreter makes, such as `time.struct_time`, as nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pax_tree._C import GetAttrKey, SequenceKey


def node_of(cls: Any) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Return how struct sequences are taken apart: items are children, the other fields static.

    The functions are `flatten`, `unflatten` and `flatten_with_keys`, as for a registered class.
    """
    keys = _keys(cls)

    def flatten(value: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return tuple(value), tuple(value.__reduce__()[1][1].items())

    def unflatten(others: Iterable[tuple[str, Any]], items: tuple[Any, ...]) -> Any:
        return cls(items, dict(others))

    def flatten_with_keys(value: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        items, others = flatten(value)
        return tuple(zip(keys, items, strict=True)), others

    return flatten, unflatten, flatten_with_keys


def _keys(cls: Any) -> list[Any]:
    """Return the keys of the items: the names of their attributes, or indices where they have none."""
    count = cls.n_sequence_fields
    numbered = cls(range(count))
    keys: list[Any] = list(map(SequenceKey, range(count)))
    for name in cls.__match_args__:
        keys[getattr(numbered, name)] = GetAttrKey(name)
    return keys
