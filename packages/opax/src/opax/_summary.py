"""Optimizers drawn as a tree."""

from __future__ import annotations

from typing import Any

import pax_tree
from opax._parts import Part, parts
from pax_jax import Module


def summary_lines(optimizer: Any) -> list[str]:
    """Return a line for an optimizer, and those of what it is made of, indented as a tree."""
    inner = [] if isinstance(optimizer, Part) else list(parts(optimizer).values())
    if not inner:
        return _tree(
            repr(optimizer), [x.summary(return_list=True) for x in _modules(optimizer.state)]
        )
    name = repr(optimizer)
    if not isinstance(inner[0], Part):  # made of optimizers, which say their arguments themselves
        name = name.partition("(")[0]
    return _tree(name, [summary_lines(x) for x in inner])


def _tree(head: str, below: list[list[str]]) -> list[str]:
    lines = [head]
    for i, (first, *rest) in enumerate(below):
        corner, bar = ("└── ", "    ") if i == len(below) - 1 else ("├── ", "│   ")
        lines += [corner + first, *(bar + line for line in rest)]
    return lines


def _modules(state: Any) -> list[Any]:
    leaves = pax_tree.tree_leaves(state, is_leaf=_is_module)
    return list(filter(_is_module, leaves))


def _is_module(value: Any) -> bool:
    return isinstance(value, Module)
