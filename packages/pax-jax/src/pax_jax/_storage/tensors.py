"""safetensors files with what the format has no place for: all dtypes, weak types and checksums.

They stand in the metadata: `pax_jax` is a JSON text with `dtypes` (of arrays that are stored as the bits of
their numbers), `weak_types` and `checksums`, and `pax_jax_crc32` its own checksum.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Collection, Mapping
from typing import Any, BinaryIO, NamedTuple

import jax.numpy as jnp
import numpy as np

from pax_jax._extras import extra
from pax_jax._storage.checksum import checksums as checksums_of
from pax_jax._storage.codes import decoded, encoded, storable
from pax_jax._storage.files import file_path, replace_file

# The dtypes of the format that NumPy does not have, by their names there.
_NAMES = {
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "C64": "complex64",
    "BOOL": "bool",
}
_KINDS = {"F": "float", "I": "int", "U": "uint"}
# The order of dtypes in a file, so that all arrays are aligned.
_RANKS = ["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"]
_RANKS += ["I16", "U16", "F16", "BF16", "I32", "U32", "F32", "C64", "F64", "I64", "U64"]
_WRITTEN = {"bfloat16", "float8_e4m3fn", "float8_e5m2"}  # by every version that can be installed
_TEXT, _CHECK = "pax_jax", "pax_jax_crc32"


class Tensors(NamedTuple):
    """What a file holds.

    Attributes:
        arrays: by name.
        weak_types: the names of those whose type is weak; None for a file that does not say.
    """

    arrays: dict[str, np.ndarray]
    weak_types: frozenset[str] | None


def write(
    path: str | os.PathLike[str],
    arrays: Mapping[str, np.ndarray],
    weak_types: Collection[str],
    checksums: bool,
) -> None:
    """Write a file.

    Raises:
        ValueError: an array has elements that are not numbers; the message names it.
    """
    extra("safetensors.numpy", "pax_jax.weights.save_safetensors", "safetensors")
    tensors, dtypes = {}, {}
    for name, array in arrays.items():
        if not storable(array):
            raise ValueError(
                f"{name} cannot be written to {os.fspath(path)}: it is an array of {array.dtype}, and "
                "such a file has only numbers. Take it out, or make it a static attribute."
            )
        tensors[name] = _as_written(array)
        if tensors[name].dtype != array.dtype:
            dtypes[name] = array.dtype.name
    record: dict[str, Any] = {"dtypes": dtypes, "weak_types": sorted(weak_types)}
    if checksums:
        record["checksums"] = _checksums(tensors)
    text = json.dumps(record)
    header, ordered = _header(tensors, {_TEXT: text, _CHECK: _crc(text)})

    def write_to(file: BinaryIO) -> None:
        file.write(header)
        for array in ordered:
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

    replace_file(path, write_to)


def _header(
    tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> tuple[bytes, list[np.ndarray]]:
    """Return how a file begins, and the arrays in the order in which they follow: as safetensors does.

    The library itself makes a second file beside that which it is to write, and leaves it when it is
    killed; or a copy of everything in memory.
    """
    entries: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    names = sorted(tensors, key=lambda name: (-_RANKS.index(_kind(tensors[name].dtype)), name))
    start = 0
    for name in names:
        array = tensors[name]
        stop = start + array.nbytes
        kind = _kind(array.dtype)
        entries[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [start, stop]}
        start = stop
    text = _encoded(json.dumps(entries, separators=(",", ":"), ensure_ascii=False))
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, [tensors[name] for name in names]


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        name = text[error.start - 20 : error.end + 20]
        raise ValueError(
            f"A name of an array has half a character, which a file cannot hold: {name!a}."
        ) from None


def _kind(dtype: np.dtype) -> str:
    """Return the name of a dtype in the format."""
    known = next((kind for kind, name in _NAMES.items() if name == dtype.name), None)
    return known or f"{dtype.kind.upper()}{8 * dtype.itemsize}"


def read(path: str | os.PathLike[str], function: str, checksums: bool) -> Tensors:
    """Read a file, of ours or of any other program.

    Raises:
        ValueError: it is damaged, or has a dtype that JAX has not; the message names it.
    """
    library = extra("safetensors", f"pax_jax.weights.{function}", "safetensors")
    file = file_path(path)
    try:
        with library.safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
    except library.SafetensorError as error:
        raise ValueError(f"{file} is damaged, or no safetensors file: {error}.") from error
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OSError(f"{file} cannot be read: {error}.") from error
    arrays = _arrays(file)
    record = _record(file, metadata)
    if record is None:
        return Tensors(arrays, None)
    expected = record.get("checksums", {}) if checksums else {}
    found = _checksums(arrays) if expected else {}
    for name, array in arrays.items():
        if expected.get(name) != found.get(name):
            raise ValueError(
                f"{name} in {file} is damaged: its checksum is not the one that was written with it. "
                "Take another copy of the file."
            )
        if name in record["dtypes"]:
            arrays[name] = _as_was(array, jnp.dtype(record["dtypes"][name]))
    return Tensors(arrays, frozenset(record["weak_types"]))


def _checksums(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    return {name: f"{number:016x}" for name, number in checksums_of(arrays).items()}


def _as_written(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.complex128:
        return array.reshape(*array.shape, 1).view(np.float64)
    return encoded(array, _WRITTEN)


def _as_was(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return array.view(dtype)[..., 0] if dtype == np.complex128 else decoded(array, dtype)


def _record(file: str, metadata: Mapping[str, str]) -> dict[str, Any] | None:
    if _TEXT not in metadata and _CHECK not in metadata:
        return None
    text = metadata.get(_TEXT, "")
    if _crc(text) != metadata.get(_CHECK):
        raise ValueError(
            f"The header of {file} is damaged: its checksum is not the one that was written with it. "
            "Take another copy of the file."
        )
    return json.loads(text)


def _crc(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _arrays(file: str) -> dict[str, np.ndarray]:
    """Return the arrays of a file whose header is right, which stay in it until they are used."""
    with open(file, "rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(length))
    header.pop("__metadata__", None)
    data = np.memmap(file, np.uint8, "r") if header else np.zeros(0, np.uint8)
    return {name: _array(file, name, entry, data[8 + length :]) for name, entry in header.items()}


def _array(file: str, name: str, entry: Mapping[str, Any], data: np.ndarray) -> np.ndarray:
    kind = entry["dtype"]
    dtype = _NAMES.get(kind, f"{_KINDS.get(kind[:1], '?')}{kind[1:]}")
    try:
        found = jnp.dtype(dtype)
    except TypeError:
        raise ValueError(
            f"{name} in {file} is of {kind}, a dtype that JAX does not have."
        ) from None
    start, stop = entry["data_offsets"]
    return np.asarray(data[start:stop]).view(found).reshape(entry["shape"])
