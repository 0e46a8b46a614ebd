"""A module as a table of its arrays."""

from __future__ import annotations

from typing import Any

import pax_tree
from pax_jax._extras import extra
from pax_jax._show.titles import title


def table_lines(module: Any) -> list[str]:
    """Return the lines of a table with a row for every array of `module`, and of their sums."""
    rich_table = extra("rich.table", "summary(table=True)", "rich")
    console_module = extra("rich.console", "summary(table=True)", "rich")
    table = rich_table.Table(title=title(module), title_justify="left")
    table.add_column("array", no_wrap=True)
    for column in ("kind", "shape", "dtype", "elements", "bytes"):
        table.add_column(column, justify="right", no_wrap=True)
    rows = _rows(module)
    for number, (path, kind, leaf) in enumerate(rows):
        last = number == len(rows) - 1
        shape = "x".join(map(str, leaf.shape)) or "()"
        sizes = (f"{leaf.size:,}", f"{_nbytes(leaf):,}")
        table.add_row(path, kind, shape, str(leaf.dtype), *sizes, end_section=last)
    for label, kinds in (("parameters", {"parameter"}), ("all", {"parameter", "state"})):
        of_kind = [leaf for _, kind, leaf in rows if kind in kinds]
        total = (sum(leaf.size for leaf in of_kind), sum(map(_nbytes, of_kind)))
        table.add_row(label, "", "", "", *(f"{number:,}" for number in total))
    console = console_module.Console(width=10_000, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]


def _rows(module: Any) -> list[tuple[str, str, Any]]:
    """Return path, kind and array for every leaf that has a shape."""
    trained = {id(leaf) for leaf in pax_tree.tree_leaves(module.parameters())}
    return [
        (pax_tree.keystr(path), "parameter" if id(leaf) in trained else "state", leaf)
        for path, leaf in pax_tree.tree_leaves_with_path(module)
        if hasattr(leaf, "shape") and hasattr(leaf, "dtype")
    ]


def _nbytes(leaf: Any) -> int:
    return leaf.size * leaf.dtype.itemsize
