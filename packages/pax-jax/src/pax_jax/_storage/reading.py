"""The arrays of a checkpoint, read to where they belong."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import pax_tree
from pax_jax._module.partial import cast_to
from pax_jax._storage.checksum import checksums
from pax_jax._storage.codes import decoded, stored_dtype
from pax_jax._storage.keys import is_key, loaded_leaf
from pax_jax._storage.placement import on_shards, placed, sharding_of, weakened
from pax_jax._storage.processes import Processes
from pax_jax._storage.record import added, local_checksum, stored_name, value_of


class ArraysReader:
    """Reads the leaves of one checkpoint.

    Args:
        orbax: the library.
        folder: where the arrays are.
        what: the checkpoint, for messages.
        record: what is in it.
        processes: those that load together.
        compared: whether checksums are compared.
    """

    def __init__(
        self,
        orbax: Any,
        folder: Any,
        what: str,
        record: Mapping[str, Any],
        processes: Processes,
        compared: bool,
    ) -> None:
        self._orbax = orbax
        self._folder = folder
        self._what = what
        self._record = record
        self._processes = processes
        self._expected = record["checksums"] if compared else {}

    def read(self, likes: Mapping[str, Any], paths: Collection[str]) -> dict[str, Any]:
        """Return the leaves of these paths, each of the dtype and at the place of that in `likes`.

        Raises:
            ValueError: the checkpoint is damaged; the message names the leaf if one is.
        """
        shapes = {path: _Shape(self._record["leaves"][path]) for path in paths}
        is_shared = is_spread(likes)
        with self._processes.together(f"Loading {self._what}", is_shared):
            arrays = self._arrays(likes, shapes)
            sums = checksums(arrays, local_checksum) if self._expected else {}
        if self._expected:
            self._compare(arrays, sums, is_shared)
        found = {path: self._leaf(path, likes[path], shapes[path], arrays) for path in paths}
        found = cast_to({path: likes[path] for path in paths}, found)
        weak_types = set(self._record["weak_types"])
        return {path: _at(leaf, likes[path], path in weak_types) for path, leaf in found.items()}

    def _arrays(self, likes: Mapping[str, Any], shapes: Mapping[str, _Shape]) -> dict[str, Any]:
        """Read all arrays that are stored, those that nobody asked for too."""
        stored = [path for path in self._record["leaves"] if self._is_stored(path)]
        if not stored:
            return {}
        library, args = self._orbax, {}
        for path in stored:
            sharding = sharding_of(likes[path]) if path in shapes else None
            if sharding is None or not shapes[path].is_array_of_jax:
                args[stored_name(path)] = library.RestoreArgs(restore_type=np.ndarray)
            else:
                shape = shapes[path].stored
                _check_divides(path, sharding, shape)
                args[stored_name(path)] = library.ArrayRestoreArgs(
                    sharding=sharding, global_shape=shape, strict=True
                )
        item = library.args.PyTreeRestore(dict.fromkeys(args, 0), restore_args=args)
        handler = library.PyTreeCheckpointHandler()
        try:
            found = handler.restore(self._folder, args=item)
            return {path: found[stored_name(path)] for path in stored}
        except MemoryError:
            raise
        except Exception as error:
            raise ValueError(
                f"The arrays of {self._what} cannot be read: they are damaged, or their files cannot be "
                f"read. orbax says: {_first_line(error)}"
            ) from error

    def _is_stored(self, path: str) -> bool:
        shape = _Shape(self._record["leaves"][path])
        return path not in self._record["values"] and 0 not in (shape.shape or ())

    def _compare(self, arrays: Mapping[str, Any], sums: Mapping[str, int], is_shared: bool) -> None:
        if is_shared:
            told = self._processes.exchange(sums)
            whole = {
                path
                for path, array in arrays.items()
                if isinstance(array, np.ndarray) or array.is_fully_addressable
            }
            found = {**added(told), **added([{path: sums[path] for path in whole}])}
        else:
            found = added([sums])
        damaged = [path for path in arrays if found[path] != self._expected.get(path)]
        if damaged:
            names = ", ".join(path or "the root" for path in damaged[:5])
            names += f" and {len(damaged) - 5} more" * (len(damaged) > 5)
            raise ValueError(
                f"{names} in {self._what} is damaged: its "
                "checksum is not the one that was saved with it. Load an earlier step."
            )

    def _leaf(self, path: str, like: Any, shape: _Shape, arrays: Mapping[str, Any]) -> Any:
        """Return a leaf as it was saved."""
        if path in self._record["values"]:
            return value_of(self._record["values"][path])
        array = arrays.get(path)
        if array is None:
            array = np.zeros(shape.stored, stored_dtype(shape.dtype))
        if array.shape != shape.stored or array.dtype != stored_dtype(shape.dtype):
            raise ValueError(f"{path} in {self._what} is damaged: it is not {shape.text}.")
        if is_key(like):
            return loaded_leaf(like, array)
        if isinstance(array, np.ndarray):
            return decoded(array, shape.dtype)
        if array.dtype == shape.dtype:
            return array
        return on_shards(lambda block: decoded(block, shape.dtype), array)


class _Shape:
    """What the description of a leaf says: `float32[2,3]`."""

    def __init__(self, text: str) -> None:
        self.text = text
        name, is_array, sizes = text.removesuffix("]").partition("[")
        self.shape = tuple(int(size) for size in sizes.split(",") if size) if is_array else None
        self.stored = self.shape or ()
        self.dtype: Any = None
        if name.startswith("key<"):
            self.dtype = jnp.dtype("uint32")
            self.stored = (*self.stored, 2 if "fry" in name else 4)
        elif is_array:
            self.dtype = jnp.dtype(name)
        wide = self.dtype is not None and jax.dtypes.canonicalize_dtype(self.dtype) != self.dtype
        self.is_array_of_jax = bool(is_array) and not wide


def is_spread(tree: Any) -> bool:
    """Say whether a tree has arrays on devices of several processes, which these load together."""
    places = map(sharding_of, pax_tree.tree_leaves(tree))
    return not all(place is None or place.is_fully_addressable for place in places)


def _check_divides(path: str, sharding: Any, shape: tuple[int, ...]) -> None:
    try:
        sharding.shard_shape(shape)
    except ValueError as error:
        raise ValueError(
            f"{path or 'The root'} has the shape {shape}, and cannot be loaded to the sharding that it has in "
            f"`like`: {error}"
        ) from None


def _at(leaf: Any, like: Any, weak_type: bool) -> Any:
    """Return what was read as a leaf of the kind of another, and at its place."""
    if isinstance(leaf, jax.Array) and not is_key(leaf):
        return weakened(leaf, weak_type)
    return placed(leaf, like, weak_type) if not is_key(leaf) else leaf


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"
