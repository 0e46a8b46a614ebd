"""How values are written in messages."""

from __future__ import annotations

from collections.abc import Iterable

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any

_NEAREST = 3  # paths named in an error


def describe(value: Any, opened: tuple[list[Any], Any] | None) -> str:
    """Return what stands at a place of a tree: `list of 2`, `float 0.5`, `ndarray float32[2, 3]`."""
    name = type(value).__name__
    if opened is not None:
        return "None" if value is None else f"{name} of {len(opened[0])}"
    if attribute(value, "shape") is not None and attribute(value, "dtype") is not None:
        return f"{name} {dtype_and_shape(value, ', ')}"
    return "None" if value is None else f"{name} {short_repr(value)}"


def short_repr(value: Any, width: int = 60) -> str:
    """Return the `repr` on one line of at most `width` characters; never raises."""
    try:
        text = " ".join(repr(value).split())
    except Exception as error:
        return f"(repr raised {type(error).__name__})"
    return text if len(text) <= width else f"{text[: width - 3]}..."


def nothing_found(what: str, pattern: Any, names: Iterable[str], remedy: str) -> str:
    """Say that a pattern matches none of the leaves of these names, and which come nearest."""
    from difflib import SequenceMatcher  # not needed to import the package

    text = str(getattr(pattern, "pattern", pattern))
    wanted = SequenceMatcher(b=text.replace("*", ""))

    def likeness(name: str) -> float:
        wanted.set_seq1(name)
        return wanted.ratio()

    known = sorted(names, key=likeness, reverse=True)
    shown = ", ".join(map(repr, known[:_NEAREST]))
    which = "the nearest are" if len(known) > _NEAREST else "there are"
    return f"{what} '{text}' matches none of the {len(known)} leaves; {which} {shown}. {remedy}"


def dtype_and_shape(leaf: Any, separator: str = ",") -> str:
    """Return `float32[2,3]` for an array of any library; for another leaf the name of its class.

    Numbers are called the same in every byte order.
    """
    shape, dtype = attribute(leaf, "shape"), attribute(leaf, "dtype")
    if shape is None or dtype is None:
        return type(leaf).__name__
    if getattr(dtype, "byteorder", "=") in "<>" and dtype.kind in "iufc":
        dtype = dtype.name
    return f"{dtype_name(dtype)}[{separator.join(map(str, shape))}]"


def dtype_name(dtype: Any) -> str:
    """Return a dtype without its library: `float32`."""
    return str(dtype).removeprefix("torch.")


def attribute(leaf: Any, name: str) -> Any:
    """Return an attribute of a leaf; None where it has none or does not want to say."""
    try:
        return getattr(leaf, name, None)
    except Exception:
        return None
