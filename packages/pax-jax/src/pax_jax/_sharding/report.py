"""What rules make of a tree, as a table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import pax_tree
from pax_jax._sharding.arrays import described, names_of
from pax_jax._sharding.layout import divided_once_more
from pax_jax._sharding.rules import Rules, check_axes, check_rules, decide, unmatched


@dataclass(frozen=True)
class Row:
    """One array: its path, shape and dtype, how it is spread, and why.

    Attributes:
        path: the path with dots.
        shape: the shape.
        dtype: the dtype.
        spec: what each axis is divided over.
        bytes: how many bytes one device holds.
        rule: the regular expression that decides, or None.
        note: what is unusual about it, or "".
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    spec: PartitionSpec
    bytes: int
    rule: str | None
    note: str


@dataclass(frozen=True)
class Report:
    """What `report` returns; printed it is a table.

    Attributes:
        rows: one for each array.
        unmatched: for each rule that was found in no path, what is near.
    """

    rows: tuple[Row, ...]
    unmatched: dict[str, str]

    @property
    def bytes(self) -> int:
        """How many bytes of all arrays one device holds."""
        return sum(row.bytes for row in self.rows)

    def __str__(self) -> str:
        head = ("path", "shape", "spec", "bytes per device", "rule", "note")
        table = [head] + [
            (
                r.path,
                f"{r.dtype}{list(r.shape)}",
                str(r.spec),
                f"{r.bytes:,}",
                r.rule or "-",
                r.note,
            )
            for r in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in table
        ]
        lines.append(f"{self.bytes:,} bytes per device")
        return "\n".join(lines + list(self.unmatched.values()))


def report(
    tree: Any,
    mesh: Any,
    rules: Rules = (),
    *,
    fsdp_axis: Any = None,
    min_size: int = 1024,
) -> Report:
    """Return what `shardings`, or `fsdp`, makes of a tree: for each array where it goes and why.

    Args:
        tree: a module, or any pytree; of arrays or of `jax.ShapeDtypeStruct`.
        mesh: the devices.
        rules: as in `shardings`.
        fsdp_axis: the mesh axis of `fsdp`; None reports what `shardings` does.
        min_size: as in `fsdp`.

    Returns:
        A `Report`: `rows` with path, shape, dtype, spec, bytes per device, rule and note; `unmatched`
        rules, with paths that are near; and `bytes` in all. Printed it is a table.

    Raises:
        ValueError, TypeError: a rule does not fit, as in `shardings`; one that is found in no path is
            no error here.

    Example:
        >>> import jax
        >>> from jax.sharding import AbstractMesh, PartitionSpec as P
        >>> import pax_jax as pax
        >>> mesh = AbstractMesh((4,), ("model",))
        >>> print(pax.sharding.report(pax.Linear(8, 16), mesh, [("weight$", P(None, "model"))]))
        path    shape           spec              bytes per device  rule     note
        weight  float32[8, 16]  P(None, 'model')  128               weight$
        bias    float32[16]     P()               64                -
        192 bytes per device
    """
    check_rules(rules, mesh)
    if fsdp_axis is not None:
        check_axes("fsdp_axis", PartitionSpec(fsdp_axis), mesh)
    describe, rows = described(tree, rules), []
    for path, leaf in pax_tree.tree_leaves_with_path(tree):
        array = describe(path, leaf)
        decision = decide(array, mesh, rules)
        spec = decision.spec
        if fsdp_axis is not None:
            spec = divided_once_more(spec, array, mesh, fsdp_axis, min_size)
        held = NamedSharding(mesh, spec).shard_shape(array.shape)
        dtype = jax.numpy.result_type(leaf)
        size = prod(held) * _bytes(leaf, dtype)
        why = decision.rule, decision.note
        rows.append(Row(array.name, array.shape, str(dtype), spec, size, *why))
    names = names_of(tree)
    missing = {
        str(pattern): unmatched(pattern, names)
        for pattern, _ in rules
        if not any(re.search(pattern, name) for name in names)
    }
    return Report(tuple(rows), missing)


def _bytes(leaf: Any, dtype: Any) -> int:
    """Return the bytes of one element; a typed key has several numbers."""
    if jax.numpy.issubdtype(dtype, jax.dtypes.prng_key):
        return getattr(dtype, "itemsize", 8)
    return np.dtype(dtype).itemsize
