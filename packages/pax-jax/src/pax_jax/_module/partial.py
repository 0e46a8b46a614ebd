"""What of a saved module fits another one: loading a part of it, and other dtypes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from pax_tree._describe import dtype_and_shape

_SORTS = (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)


class LoadReport(NamedTuple):
    """What `load_partial` has taken of a saved module, and what not.

    Attributes:
        taken: the paths of the arrays that were loaded, those of another dtype too.
        cast: for each of them that was saved in another dtype, that dtype.
        missing: the paths that were not saved; the module's own arrays stay there.
        unknown: the paths that were saved and that the module does not have.
        unfit: for each path whose saved array has another shape, or a dtype that is not taken, what it is
            and what was expected; the module's own arrays stay there.

    Example:
        >>> import pax_jax as pax
        >>> saved = pax.Linear(2, 3).state_dict()
        >>> net, report = pax.weights.load_partial(pax.Linear(2, 3, with_bias=False), saved)
        >>> print(report)
        1 array taken: weight
        1 unknown: bias
    """

    taken: tuple[str, ...]
    cast: dict[str, str]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    unfit: dict[str, str]

    def __str__(self) -> str:
        count = len(self.taken)
        lines = [f"{count} array{'s' * (count != 1)} taken: {', '.join(self.taken) or 'none'}"]
        for name in ("cast", "missing", "unknown", "unfit"):
            found = getattr(self, name)
            if isinstance(found, dict):
                found = [f"{path} ({what})" for path, what in found.items()]
            if found:
                lines.append(f"{len(found)} {name}: {', '.join(found)}")
        return "\n".join(lines)


def compare(
    expected: Mapping[str, Any], given: Mapping[str, str], cast: bool, what: str
) -> LoadReport:
    """Return which of the arrays that were saved, told by their dtypes and shapes, are taken.

    Raises:
        ValueError: none is; `what` was saved.
    """
    taken, casts, unfit = [], {}, {}
    for name, leaf in expected.items():
        here, there = dtype_and_shape(leaf), given.get(name)
        if there is None:
            continue
        if here == there:
            taken.append(name)
        elif cast and can_cast(there, here):
            taken.append(name)
            casts[name] = there.partition("[")[0]
        else:
            unfit[name] = f"is {there}, expected {here}"
    missing = tuple(name for name in expected if name not in given)
    unknown = tuple(name for name in given if name not in expected)
    report = LoadReport(tuple(taken), casts, missing, unknown, unfit)
    if not taken:
        raise ValueError(f"Nothing of {what} fits.\n{report}")
    return report


def can_cast(saved: str, wanted: str) -> bool:
    """Say whether two descriptions, `float32[2,3]`, differ by the dtype only, and in its precision."""
    (one, _, shape), (other, _, other_shape) = saved.partition("["), wanted.partition("[")
    if not shape or shape != other_shape:
        return False
    sorts = [_sort(name) for name in (one, other)]
    return sorts[0] is not None and sorts[0] is sorts[1]


def _sort(name: str) -> Any:
    try:
        dtype = jnp.dtype(name)
    except TypeError:  # random keys
        return None
    return next((sort for sort in _SORTS if jnp.issubdtype(dtype, sort)), None)


def cast_to(expected: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arrays in the dtypes of those of `expected`, as far as only the precision differs.

    Raises:
        ValueError: a number is too large for its new dtype; the message names the array.
    """
    return {
        name: _as(name, array, expected[name].dtype)
        if name in expected and can_cast(dtype_and_shape(array), dtype_and_shape(expected[name]))
        else array
        for name, array in given.items()
    }


def _as(name: str, array: Any, dtype: Any) -> Any:
    if array.dtype == dtype:
        return array
    if not isinstance(array, jax.Array):
        array = np.asarray(array)
    with np.errstate(over="ignore", invalid="ignore"):
        new = array.astype(dtype)
    if not isinstance(array, Tracer) and not _is_kept(array, new):
        raise ValueError(
            f"{name} cannot be cast from {array.dtype} to {dtype}: not all of its numbers are within "
            "the range of that dtype. Keep its dtype in the module, or change the numbers."
        )
    return new


def _is_kept(old: Any, new: Any) -> bool:
    """Say whether no number has become infinite, not a number, or another integer."""
    library = jnp if isinstance(old, jax.Array) else np
    if jnp.issubdtype(old.dtype, jnp.integer):
        same = (new.astype(old.dtype) == old) & ((new < 0) == (old < 0))
    else:
        same = library.isfinite(new) == library.isfinite(old)
    return bool(library.all(same))
