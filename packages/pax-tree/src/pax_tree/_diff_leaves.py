"""What differs between two leaves."""

from __future__ import annotations

import sys

from pax_tree._nodes import attribute, describe, dtype_name, short_repr

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any

# What differs: kind, text and largest absolute difference.
_Difference = tuple[str, str, float | None]


def leaf_difference(a: Any, b: Any, rtol: float, atol: float) -> _Difference | None:
    """Return the difference of two leaves; None if they are equal."""
    if a is b:
        return None
    if type(a) is not type(b):
        return "type", f"{describe(a, None)} against {describe(b, None)}", None
    compare = _objects
    if attribute(a, "shape") is not None and attribute(a, "dtype") is not None:
        compare = _arrays
    try:
        return compare(a, b, rtol, atol)
    except Exception as error:
        return "error", f"comparing the leaves raised {type(error).__name__}: {error}", None


def _objects(a: Any, b: Any, rtol: float, atol: float) -> _Difference | None:
    if _truth(a == b) or (_truth(a != a) and _truth(b != b)):  # NaN differs from itself
        return None
    if isinstance(a, bool) or not isinstance(a, int | float | complex):
        return "value", f"{short_repr(a)} against {short_repr(b)}", None
    distance = abs(a - b)
    if distance <= atol + rtol * abs(b) and distance != float("inf"):
        return None
    text = f"{short_repr(a)} against {short_repr(b)}, a difference of {distance:.6g}"
    return "value", text, distance


def _truth(answer: Any) -> bool:
    """Return a comparison's answer, which may be one for each element."""
    return bool(answer.all() if hasattr(answer, "all") else answer)


def _arrays(a: Any, b: Any, rtol: float, atol: float) -> _Difference | None:
    if tuple(a.shape) != tuple(b.shape):
        return "shape", f"shape {list(a.shape)} against {list(b.shape)}", None
    if a.dtype != b.dtype:
        return "dtype", f"dtype {dtype_name(a.dtype)} against {dtype_name(b.dtype)}", None
    first, second = _on_host(a), _on_host(b)
    differ = ~((first == second) | ((first != first) & (second != second)))
    if not differ.any():
        return None
    count, total, largest = int(differ.sum()), differ.reshape(-1).shape[0], None
    numbers = _wide(first[differ]), _wide(second[differ])
    if numbers[0] is not None:
        distance = abs(numbers[0] - numbers[1])
        near = (distance <= atol + rtol * abs(numbers[1])) & (distance != float("inf"))
        if not (count := int((~near).sum())):
            return None
        largest = float(distance.max())
    by = "" if largest is None else f", by at most {largest:.6g}"
    return "value", f"values differ in {count:,} of {total:,} elements{by}", largest


def _on_host(array: Any) -> Any:
    """Return the values of an array, to compare at once."""
    if hasattr(array, "detach"):
        return array.detach().cpu()
    try:
        return sys.modules["numpy"].asarray(array)
    except Exception:  # no NumPy, or not for this dtype: random keys
        return array


def _wide(array: Any) -> Any:
    """Numbers in double precision; None for what has no differences, such as bools and text."""
    if hasattr(array, "detach"):
        torch = sys.modules["torch"]
        wide = torch.complex128 if array.is_complex() else torch.float64
        return None if array.dtype == torch.bool else array.to(wide)
    kind = getattr(array.dtype, "kind", "O")
    return None if kind in "bOSUMm" else array.astype("complex128" if kind == "c" else "float64")
