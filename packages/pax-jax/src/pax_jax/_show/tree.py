"""A module as a tree with a line for each module and each array, its summary."""

from __future__ import annotations

from typing import Any

from pax_jax._module.deep import Steps, run
from pax_jax._module.kinds import is_module
from pax_jax._module.tied import Shared
from pax_jax._show.leaves import leaf_text
from pax_jax._show.parts import Counts, Part, counts_of_leaf, inside
from pax_jax._show.titles import summary_title

_COLUMN = 72  # where counts stand at most, but behind what is longer


def summary_lines(module: Any, arrays: bool = True) -> list[str]:
    """Return a line for `module` and one for each module and array below it, indented as a tree.

    Args:
        module: the module.
        arrays: whether to show arrays, and how many numbers there are of each kind.
    """
    rows, _ = run(_rows(Part("", module, None), arrays))
    if not arrays:
        return [label for label, _ in rows]
    width = max([len(label) for label, _ in rows if len(label) <= _COLUMN], default=0)
    return [f"{label:{width}}  {counts}".rstrip() for label, counts in rows]


def _rows(part: Part, arrays: bool) -> Steps:
    """Return the labels and counts of a part and of what is below it, and the counts of the part."""
    if not is_module(part.value):
        counts = counts_of_leaf(part) if arrays else Counts()
        return [(_label(part), str(counts))], counts
    below = [row for row in inside(part.value, part.kind) if arrays or is_module(row.value)]
    rows, counts = [], Counts()
    for child in below:
        first, rest = ("└── ", "    ") if child is below[-1] else ("├── ", "│   ")
        ((label, text), *tail), more = yield _rows(child, arrays)
        rows += [(first + label, text), *((rest + label, text) for label, text in tail)]
        counts += more
    return [(_label(part), str(counts)), *rows], counts


def _label(part: Part) -> str:
    key = f"{part.key}: " if part.key else ""
    if is_module(part.value):
        return key + summary_title(part.value)
    if isinstance(part.value, Shared):
        return f"{key}Shared({part.value.path!r})"
    return key + leaf_text(part.value, part.kind, values=False)
