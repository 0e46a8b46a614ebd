"""Many arrays in one vector for each dtype."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pax_jax._kinds import is_array


class Layout(NamedTuple):
    """Where leaves are: for each the number of its vector, or -1 where it stands alone; its shape."""

    vectors: tuple[int, ...]
    shapes: tuple[Any, ...]


def pack(leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Layout]:
    """Return the vectors, then the leaves that stand alone, and the layout of both."""
    dtypes = list(dict.fromkeys(leaf.dtype for leaf in leaves if _is_packed(leaf)))
    numbers = tuple(dtypes.index(leaf.dtype) if _is_packed(leaf) else -1 for leaf in leaves)
    pairs = list(zip(numbers, leaves, strict=True))
    vectors = [
        jnp.concatenate([jnp.ravel(leaf) for number, leaf in pairs if number == i])
        for i in range(len(dtypes))
    ]
    alone = [leaf for number, leaf in pairs if number < 0]
    shapes = tuple(leaf.shape if number >= 0 else None for number, leaf in pairs)
    return (*vectors, *alone), Layout(numbers, shapes)


def _is_packed(leaf: Any) -> bool:
    """Say whether a leaf goes into a vector: random keys, numbers and weak types do not."""
    plain = is_array(leaf) and not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
    return plain and not getattr(leaf, "weak_type", False)


def unpack(arrays: Sequence[Any], layout: Layout) -> list[Any]:
    """Return the leaves that `pack` was given."""
    number_of_vectors = max(layout.vectors, default=-1) + 1
    starts = [0] * number_of_vectors
    alone = iter(arrays[number_of_vectors:])
    leaves = []
    for number, shape in zip(*layout, strict=True):
        if number < 0:
            leaves.append(next(alone))
            continue
        stop = starts[number] + math.prod(shape)
        piece = jax.lax.slice_in_dim(arrays[number], starts[number], stop)
        leaves.append(piece.reshape(shape))
        starts[number] = stop
    return leaves
