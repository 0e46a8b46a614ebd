"""What convolutions and poolings share: sizes and padding for every spatial axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Padding = str | int | Sequence[int | Sequence[int]]
Pads = str | tuple[tuple[int, int], ...]


def checked_format(data_format: str | None, formats: Sequence[str]) -> str:
    """Return a format, the first by default; `ValueError` if it is none of `formats`."""
    if data_format is not None and data_format not in formats:
        raise ValueError(f"data_format is {' or '.join(map(repr, formats))}, got {data_format!r}.")
    return formats[0] if data_format is None else data_format


def per_axis(what: str, value: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    """Return a positive int for every axis; `ValueError` naming `what` if `value` is not that."""
    sizes = (value,) * ndim if isinstance(value, int) else tuple(value)
    if len(sizes) != ndim or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(f"{what} is a positive int or {ndim} of them, got {value!r}.")
    return sizes


def pads_of(padding: Padding, ndim: int) -> Pads:
    """Return "SAME", "VALID", or the amounts below and above for every spatial axis."""
    if isinstance(padding, str):
        if padding.upper() not in ("SAME", "VALID"):
            raise ValueError(f'padding is "SAME", "VALID" or amounts, got {padding!r}.')
        return padding.upper()
    amounts: Any = [padding] * ndim if isinstance(padding, int) else list(padding)
    if len(amounts) != ndim:
        raise ValueError(f"padding has an amount for each of {ndim} axes, got {padding!r}.")
    return tuple(_pair(padding, amount) for amount in amounts)


def _pair(padding: Padding, amount: Any) -> tuple[int, int]:
    if isinstance(amount, int):
        return amount, amount
    pair = tuple(amount)
    if len(pair) != 2 or not all(isinstance(part, int) for part in pair):
        raise ValueError(f"An amount of padding is an int or a pair of them, got {padding!r}.")
    return pair
