"""Modules as one list of leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import pax_tree
from pax_jax._module.kinds import STATE, is_array
from pax_jax._module.module import Module
from pax_tree import record_flatten, record_set, record_spec


class Flattener(Module):
    """Modules kept as a tuple of leaves, which costs a call of a jitted function least.

    Reading an attribute puts a module together anew; changes of it are kept by `update`.

    Args:
        **kwargs: modules, or any pytrees, by name.

    Raises:
        AttributeError: a name is that of an attribute of every module.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> @jax.jit
        ... def step(flat, x):
        ...     net = flat.net
        ...     y = net(x)
        ...     return flat.update(net=net), y
        >>> flat = pax.experimental.Flattener(net=pax.BatchNorm1D(1))
        >>> flat, y = step(flat, jnp.ones((4, 1)))
        >>> flat.net.ema_mean
        Array([1.], dtype=float32)
    """

    _checks_sharing = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self._fill(None, kwargs)

    @classmethod
    def packed(cls, **kwargs: Any) -> Flattener:
        """Make a flattener that keeps the leaves of each dtype as one vector.

        A compiled function then takes and returns a few arrays instead of hundreds, and what an
        optimizer does to each parameter becomes one loop over all. Outside a compiled function,
        reading an attribute slices the vectors; arrays sharded over devices should not be packed.

        Args:
            **kwargs: modules, or any pytrees, by name.

        Returns:
            A flattener that is read and updated like any other.

        Example:
            >>> import jax
            >>> import pax_jax as pax
            >>> flat = pax.experimental.Flattener.packed(net=pax.Linear(2, 3))
            >>> [leaf.shape for leaf in jax.tree.leaves(flat)], flat.net.weight.shape
            ([(9,)], (2, 3))
        """
        flat = cls()
        flat._fill(pack, kwargs)
        return flat

    def _fill(self, packing: Any, trees: dict[str, Any]) -> None:
        for name in trees:
            if hasattr(Flattener, name) or name == "training":
                raise AttributeError(
                    f"A flattener cannot hold {name!r}: every module has an attribute of that name. "
                    "Give it another name."
                )
        flat = [(name, *pax_tree.tree_flatten(tree)) for name, tree in trees.items()]
        self._structures = tuple((name, structure) for name, _, structure in flat)
        leaves = tuple(leaf for _, leaves, _ in flat for leaf in leaves)
        leaves, self._layout = packing(leaves) if packing else (leaves, None)
        record_set(self, "_leaves", leaves, STATE)

    def __getattr__(self, name: str) -> Any:
        """Put together what was given by this name."""
        statics = record_spec(self).statics
        start = 0
        for known, structure in statics.get("_structures", ()):
            stop = start + structure.num_leaves
            if known == name:
                (leaves, *_), _ = record_flatten(self)
                layout = statics["_layout"]
                leaves = leaves if layout is None else unpack(leaves, layout)
                return structure.unflatten(leaves[start:stop])
            start = stop
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")

    def update(self, **kwargs: Any) -> Flattener:  # type: ignore[override]
        """Return a flattener with other modules by these names, old or new.

        Example:
            >>> import pax_jax as pax
            >>> flat = pax.experimental.Flattener(net=pax.Linear(3, 3))
            >>> flat.update(net=pax.Linear(4, 4)).net
            Linear(in_dim=4, out_dim=4, with_bias=True, ...)
        """
        kept = {name: getattr(self, name) for name, _ in self._structures if name not in kwargs}
        make = Flattener if self._layout is None else Flattener.packed
        return make(**kept, **kwargs)

    def parameters(self) -> Any:
        """Raise `ValueError`: a list of leaves does not know which are parameters.

        Raises:
            ValueError: always; it says to take the module out first.
        """
        raise ValueError(
            f"{self!r} has no parameters of its own. Take the module out of it first: "
            "`flattener.model.parameters()`."
        )

    def __repr__(self) -> str:
        return f"Flattener({', '.join(name for name, _ in self._structures)})"


class VectorLayout(NamedTuple):
    """Where leaves are: for each the number of its vector, or -1 where it stands alone; its shape."""

    vectors: tuple[int, ...]
    shapes: tuple[Any, ...]


def pack(leaves: Sequence[Any]) -> tuple[tuple[Any, ...], VectorLayout]:
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
    return (*vectors, *alone), VectorLayout(numbers, shapes)


def _is_packed(leaf: Any) -> bool:
    """Say whether a leaf goes into a vector: random keys, numbers and weak types do not."""
    plain = is_array(leaf) and not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
    return plain and not getattr(leaf, "weak_type", False)


def unpack(arrays: Sequence[Any], layout: VectorLayout) -> list[Any]:
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
