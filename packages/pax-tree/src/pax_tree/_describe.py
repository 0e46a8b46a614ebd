"""How values are written in messages."""

from __future__ import annotations

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any


def dtype_and_shape(leaf: Any, separator: str = ",") -> str:
    """Return `float32[2,3]` for an array of any library; for another leaf the name of its class."""
    shape, dtype = attribute(leaf, "shape"), attribute(leaf, "dtype")
    if shape is None or dtype is None:
        return type(leaf).__name__
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
