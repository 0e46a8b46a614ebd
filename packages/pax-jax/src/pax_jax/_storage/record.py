"""The record of a checkpoint: what is in it, by path, and all of it that is no array."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

import pax_tree
from pax_jax._module.kinds import is_module
from pax_jax._module.partial import can_cast
from pax_jax._module.resuming import dotted
from pax_jax._module.state_dict import by_path
from pax_jax._storage.checksum import checksum, checksums
from pax_jax._storage.codes import check_plain, check_readable, encoded, native, storable
from pax_jax._storage.keys import is_key
from pax_jax._storage.placement import on_shards
from pax_tree import GetAttrKey, record_flatten
from pax_tree._describe import dtype_and_shape

FORMAT = 1
TWICE = (
    "Two leaves have the path {!r}: a key of a dict has a dot in it, or two keys of different types, as 0 "
    "and '0' are, are written alike. Use keys that are written differently, and without dots where "
    "there are nested dicts too."
)
_WIDTH = 2**64
_PLAIN = " !\"#$&'()*+,:;<=>?@[]^`{|}"  # in names of arrays, besides letters, numbers and _.-~

# How values that are no arrays are written as JSON, and read again.
_VALUES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "bool": (bool, bool),
    "int": (str, int),
    "float": (float.hex, float.fromhex),
    "complex": (
        lambda x: [x.real.hex(), x.imag.hex()],
        lambda x: complex(*map(float.fromhex, x)),
    ),
    "str": (str, str),
    "bytes": (bytes.hex, bytes.fromhex),
}


class Saved(NamedTuple):
    """What is saved of a tree.

    Attributes:
        arrays: copies of its arrays, of dtypes that files hold, by path.
        record: what else there is to know, for JSON.
        sums: the checksums of the arrays, as far as they are in this process.
    """

    arrays: dict[str, Any]
    record: dict[str, Any]
    sums: dict[str, int]


def saved(tree: Any, with_checksums: bool) -> Saved:
    """Return what is saved of a tree: copies, which nothing changes that happens to it later.

    Raises:
        ValueError: a leaf cannot be saved, or two have one path.
    """
    arrays, values, weak_types = {}, {}, []
    leaves = by_path(tree, TWICE)
    for path, leaf in leaves.items():
        if isinstance(leaf, (jax.Array, np.ndarray)) and not isinstance(leaf, Tracer):
            _check_array(path, leaf)
            if leaf.size:
                arrays[path] = _copy(leaf)
            if getattr(leaf, "weak_type", False):
                weak_types.append(path)
        else:
            values[path] = _value(path, leaf)
    record = {
        "format": FORMAT,
        **structure_of(tree),
        "values": values,
        "weak_types": weak_types,
    }
    sums = checksums(arrays, local_checksum) if with_checksums else {}
    return Saved(arrays, record, sums)


def stored_name(path: str) -> str:
    """Return the name under which orbax stores the array of a path: without slashes, which it drops."""
    return quote(path, safe=_PLAIN, errors="surrogatepass")


def structure_of(tree: Any) -> dict[str, dict[str, str]]:
    """Return the dtype and shape of every leaf, and the class of every module, by path."""
    return {
        "modules": {dotted(path): name for path, name in _classes(tree, ())},
        "leaves": {path: dtype_and_shape(leaf) for path, leaf in by_path(tree, TWICE).items()},
    }


def misfits(stored: Mapping[str, Any], expected: Mapping[str, Any], cast: bool) -> Iterator[str]:
    """Yield a sentence for each leaf and module in which a record differs from a structure."""
    for what in expected:
        yield from _misfits(stored[what], expected[what], cast)


def with_checksum(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with one for itself."""
    return {"record": record, "checksum": fingerprint(record)}


def fingerprint(record: Any) -> str:
    """Return the checksum of a record."""
    return f"{zlib.crc32(json.dumps(record, sort_keys=True).encode()):08x}"


def checked(found: Any) -> dict[str, Any] | None:
    """Return the record in what was read; None if its checksum differs.

    Raises:
        KeyError, TypeError: it is none.
    """
    record = found["record"]
    return record if found["checksum"] == fingerprint(record) else None


def difference(first: Any, other: Any, index: int) -> str:
    """Say what one of two processes saves, the first and that of an index, and the other does not.

    Args:
        first: the step and the record of process 0.
        other: those of the other.
        index: the number of the other.
    """
    if first[0] != other[0]:
        return f"The step is {first[0]} in process 0 and {other[0]} in process {index}"
    for what in ("modules", "leaves", "values"):
        one, two = first[1][what], other[1][what]
        for path in [*one, *two]:
            if one.get(path) != two.get(path):
                theirs = f"{one.get(path)} in process 0 and {two.get(path)} in process {index}"
                return f"{path or 'The root'} is {theirs}"
    return "Weak types differ"


def value_of(entry: Any) -> Any:
    """Return a leaf that is no array."""
    kind, text = entry
    if kind in _VALUES:
        return _VALUES[kind][1](text)
    return np.frombuffer(bytes.fromhex(text), jnp.dtype(kind.removeprefix("numpy ")))[0]


def local_checksum(array: Any) -> int:
    """Return the checksum of what this process has of an array, each part of it once in all processes."""
    if isinstance(array, np.ndarray):
        return checksum(array)
    blocks = {_start(shard.index): shard for shard in reversed(array.addressable_shards)}
    if not array.is_fully_addressable:
        blocks = {at: shard for at, shard in blocks.items() if shard.replica_id == 0}
    return sum(checksum(np.asarray(s.data), at) for at, s in blocks.items()) % _WIDTH


def added(sums: Sequence[Mapping[str, int]]) -> dict[str, str]:
    """Return the checksums of whole arrays, of those of the parts that each process has."""
    return {path: f"{sum(part[path] for part in sums) % _WIDTH:016x}" for path in sums[0]}


def _start(index: tuple[slice, ...]) -> tuple[int, ...]:
    return tuple(part.start or 0 for part in index)


def _check_array(path: str, leaf: Any) -> None:
    where = path or "the root"
    if isinstance(leaf, np.ndarray):
        check_plain(where, leaf)
        if not storable(leaf):
            raise ValueError(
                f"{where} is an array of {leaf.dtype}, which cannot be saved: its elements are not "
                "numbers. Take it out, or make it a static attribute."
            )
        return
    check_readable(where, leaf)
    if leaf.is_deleted():
        raise ValueError(f"{where} is an array that was deleted or donated. Save it before that.")
    if jax.process_count() > 1 and leaf.is_fully_addressable:
        raise ValueError(
            f"{where} is on devices of this process only, and {jax.process_count()} processes save "
            "together: put it on devices of all of them, with `pax_jax.sharding.shard` or "
            "`jax.device_put(array, sharding)`, or make it an array of NumPy."
        )


def _copy(leaf: Any) -> Any:
    if is_key(leaf):
        leaf = jax.random.key_data(leaf)
    if isinstance(leaf, np.ndarray):
        return encoded(native(np.array(leaf, order="C")))
    return on_shards(lambda block: encoded(np.array(block, order="C")), leaf)


def _value(path: str, leaf: Any) -> list[Any]:
    kind = type(leaf).__name__
    if isinstance(leaf, np.generic) and storable(np.asarray(leaf)):
        return [f"numpy {leaf.dtype.name}", leaf.tobytes().hex()]
    if kind in _VALUES and type(leaf).__module__ == "builtins":
        return [kind, _VALUES[kind][0](leaf)]
    traced = " of a function that is being traced" * isinstance(leaf, Tracer)
    raise ValueError(
        f"{path or 'the root'} is {_a(kind)}{traced}, which cannot be saved: a checkpoint has arrays of JAX and "
        "NumPy, numbers and strings. Take it out, or make it a static attribute."
    )


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"


def _misfits(stored: Mapping[str, str], expected: Mapping[str, str], cast: bool) -> Iterator[str]:
    for path in [*expected, *(path for path in stored if path not in expected)]:
        kept, wanted = stored.get(path), expected.get(path)
        where = path or "the root"
        if kept is None:
            yield f"{where} is {wanted}, and is not in the checkpoint"
        elif wanted is None:
            yield f"{where} is in the checkpoint as {kept}, and is not expected"
        elif kept != wanted and not (cast and can_cast(kept, wanted)):
            yield f"{where} is {kept} in the checkpoint, expected {wanted}"


def _classes(tree: Any, prefix: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    for path, leaf in pax_tree.tree_leaves_with_path(tree, is_leaf=is_module):
        if is_module(leaf):
            here = (*prefix, *path)
            yield here, type(leaf).__name__
            children, spec = record_flatten(leaf)
            for name, child in zip(spec.names, children, strict=True):
                yield from _classes(child, (*here, GetAttrKey(name)))
