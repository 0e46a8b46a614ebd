"""Modules drawn as a tree."""

from __future__ import annotations

from typing import Any

from pax_jax._trees import submodules


def summary_lines(module: Any) -> list[str]:
    """Return one line for `module` and one for each module below it, indented as a tree."""
    lines = [_line(module)]
    below = list(submodules(module))
    for child in below:
        first, rest = ("└── ", "    ") if child is below[-1] else ("├── ", "│   ")
        head, *tail = summary_lines(child)
        lines += [first + head, *(rest + line for line in tail)]
    return lines


def _line(module: Any) -> str:
    return getattr(module, "_summary_line", repr(module))
