"""A leaf of a module as text: `float32[2,3]`, of which kind it is, and how large its values are."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pax_jax._module.kinds import FROZEN, STATE, is_array
from pax_jax._module.scope import is_traced
from pax_jax._show.titles import repr_or_error, shortened

MOST_READ = 2**16  # elements of an array whose values are looked at

KIND_WORDS: dict[int | None, str] = {STATE: "state", FROZEN: "frozen"}


def leaf_text(leaf: Any, kind: int | None, values: bool = True) -> str:
    """Return what a leaf is: `state float32[2,3] rms 0.5`, `frozen float32[3] deleted`.

    Args:
        leaf: an array, or what stands for one.
        kind: that of its attribute; parameters have no word.
        values: whether to say the root mean square of its values, or the value of a scalar.
    """
    if leaf is None:
        return "None"
    if not has_shape(leaf):
        return shortened(repr_or_error(leaf))
    words = [KIND_WORDS.get(kind, ""), shape_text(leaf), _condition(leaf)]
    if values and not words[2]:
        words.append(_value(leaf))
    return " ".join(filter(None, words))


def has_shape(leaf: Any) -> bool:
    """Say whether a leaf is an array, or describes one."""
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def shape_text(leaf: Any) -> str:
    """Return dtype and shape: `float32[2,3]`."""
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"


def _condition(leaf: Any) -> str:
    """Return what is to be known of a leaf that is no array with values."""
    if is_traced(leaf):
        return "traced"
    if not is_array(leaf):
        return "abstract" if isinstance(leaf, jax.ShapeDtypeStruct) else type(leaf).__name__
    if isinstance(leaf, np.ndarray):
        return "numpy"
    return "deleted" if leaf.is_deleted() else ""


def _value(leaf: Any) -> str:
    """Return how large the values are; nothing where they are many, elsewhere or no numbers."""
    wanted = leaf.size == 1 or jnp.issubdtype(leaf.dtype, jnp.inexact)
    if not wanted or not 0 < leaf.size <= MOST_READ or not leaf.is_fully_addressable:
        return ""
    try:
        array = np.asarray(leaf)
    except Exception:  # a random key; a transfer that is not allowed, a computation that has failed
        return ""
    if array.size == 1:
        return str(array.item()) if array.dtype.kind in "biu" else f"{array.item():.3g}"
    numbers = np.abs(array.astype(np.complex128 if array.dtype.kind == "c" else np.float64))
    with np.errstate(all="ignore"):
        return f"rms {math.sqrt(np.mean(np.square(numbers))):.2g}"
