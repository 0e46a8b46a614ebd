"""Array libraries, found from the arrays and never imported."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any

_MODULES = {"torch": "torch", "jax": "jax.numpy", "jaxlib": "jax.numpy", "numpy": "numpy"}


def array_module(leaf: Any) -> Any:
    """Return the module of functions on arrays like this one (`torch`, `jax.numpy`, `numpy`), or None."""
    if not hasattr(leaf, "dtype"):
        return None
    for cls in type(leaf).__mro__:
        name = _MODULES.get(cls.__module__.partition(".")[0])
        if name is not None:
            return sys.modules.get(name)
    return None


def is_complex(leaf: Any) -> bool:
    """Whether a leaf is a complex number or an array of them."""
    dtype = getattr(leaf, "dtype", None)
    return isinstance(leaf, complex) if dtype is None else is_complex_dtype(dtype)


def is_complex_dtype(dtype: Any) -> bool:
    """Whether a dtype of any library is complex."""
    kind = getattr(dtype, "kind", None)
    return getattr(dtype, "is_complex", False) if kind is None else kind == "c"


def size(leaf: Any) -> int:
    """Return the number of elements of an array; 1 for anything else."""
    elements = 1
    for length in getattr(leaf, "shape", ()):
        elements *= length
    return elements
