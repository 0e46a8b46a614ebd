"""How a module is shown: on one line, as a tree, and as a table of its arrays."""

from __future__ import annotations

import dataclasses
from typing import Any

import pax_tree
from pax_jax._extras import extra
from pax_jax._module.trees import submodules
from pax_tree import record_spec


def repr_of(module: Any) -> str:
    """Return the class of a module and its arguments, those named in `_shown`."""
    prefix = f"({module.name}) " if module.name is not None else ""
    names = module._shown or _static_fields(module)
    shown = ", ".join(f"{name}={getattr(module, name)}" for name in names)
    return f"{prefix}{type(module).__name__}" + (f"({shown})" if shown else "")


def _static_fields(module: Any) -> tuple[str, ...]:
    """Return the fields of a module that is a dataclass and that hold neither arrays nor modules."""
    statics = record_spec(module).statics
    fields = dataclasses.fields(module) if dataclasses.is_dataclass(module) else ()
    return tuple(f.name for f in fields if f.repr and f.name in statics)


def summary_lines(module: Any) -> list[str]:
    """Return one line for `module` and one for each module below it, indented as a tree."""
    lines = [_line(module)]
    below = submodules(module)
    for child in below:
        first, rest = ("└── ", "    ") if child is below[-1] else ("├── ", "│   ")
        head, *tail = summary_lines(child)
        lines += [first + head, *(rest + line for line in tail)]
    return lines


def _line(module: Any) -> str:
    return getattr(module, "_summary_line", repr(module))


def table_lines(module: Any) -> list[str]:
    """Return the lines of a table with a row for every array of `module`, and of their sums."""
    rich_table = extra("rich.table", "summary(table=True)", "rich")
    console_module = extra("rich.console", "summary(table=True)", "rich")
    table = rich_table.Table(title=repr(module), title_justify="left")
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
