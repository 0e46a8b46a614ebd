"""How arrays are stored: numbers as they are, small numbers as their bits where a format lacks their dtype."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import jax.numpy as jnp
import numpy as np

_KINDS = "biufc"
_UNREADABLE = ("int1", "uint1")
_LARGEST = 16  # bytes; wider numbers differ from machine to machine


def storable(array: np.ndarray) -> bool:
    """Say whether the elements of an array are numbers, which files can hold."""
    dtype = array.dtype
    is_plain = dtype.kind in _KINDS and dtype.itemsize <= (_LARGEST if dtype.kind == "c" else 8)
    return is_plain or _is_small(dtype) or dtype == jnp.bfloat16


def check_plain(place: str, array: np.ndarray) -> None:
    """Raise ValueError for arrays of NumPy's other classes, of which only the numbers would be kept."""
    if type(array) not in (np.ndarray, np.memmap):
        raise ValueError(
            f"{place} is of class {type(array).__name__} and would come back as a plain array: take its "
            "parts, or `numpy.asarray` of it."
        )


def check_readable(place: str, array: Any) -> None:
    """Raise ValueError for arrays of JAX of whose dtype NumPy does not get the numbers."""
    if array.dtype.name in _UNREADABLE:
        raise ValueError(
            f"{place} is an array of {array.dtype.name}, which JAX hands out as another dtype. Make it an array "
            "of NumPy, or of int2."
        )


def native(array: np.ndarray) -> np.ndarray:
    """Return an array with its numbers in the byte order of the machine."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def encoded(array: np.ndarray, known: Collection[str] = ()) -> np.ndarray:
    """Return an array of a dtype that every format has: numbers of a byte and less become their bits.

    Args:
        array: numbers.
        known: the dtypes that the format has besides.
    """
    is_code = _is_small(array.dtype) and array.dtype.name not in known
    return array.view(np.uint8) if is_code else array


def decoded(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Return what `encoded` encoded."""
    return array.view(dtype) if _is_small(np.dtype(dtype)) and array.dtype == np.uint8 else array


def stored_dtype(dtype: Any) -> np.dtype:
    """Return the dtype of what `encoded` returns for arrays of a dtype."""
    return np.dtype(np.uint8) if _is_small(np.dtype(dtype)) else np.dtype(dtype)


def code_bits(dtype: np.dtype) -> int | None:
    """Return how many bits of its byte a dtype uses, for those that do not use all."""
    if not _is_small(dtype):
        return None
    try:
        bits = jnp.finfo(dtype).bits
    except ValueError:
        bits = jnp.iinfo(dtype).bits
    return bits if bits < 8 else None


def _is_small(dtype: np.dtype) -> bool:
    """Say whether a dtype is one of a byte or less that NumPy itself does not have."""
    return dtype.itemsize == 1 and dtype.kind not in "biuSa" and dtype != np.bool_
