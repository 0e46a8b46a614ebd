"""What a checkpoint remembers of the structure of a tree, and where it differs from another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pax_tree
from pax_jax._kinds import is_module
from pax_jax._state_dict import dotted
from pax_tree import GetAttrKey, record_flatten

Structure = Mapping[str, Mapping[str, str]]


def structure_of(tree: Any) -> dict[str, dict[str, str]]:
    """Return the dtype and shape of every leaf, and the class of every module, by path."""
    leaves = by_path(tree)
    return {
        "modules": {dotted(path): name for path, name in _classes(tree, ())},
        "leaves": {path: _described(leaf) for path, leaf in leaves.items()},
    }


def by_path(tree: Any) -> dict[str, Any]:
    """Return the leaves of a tree by their dotted paths.

    Raises:
        ValueError: two leaves have the same path.
    """
    leaves: dict[str, Any] = {}
    for path, leaf in pax_tree.tree_leaves_with_path(tree):
        name = dotted(path)
        if name in leaves:
            raise ValueError(
                f"Two leaves have the path {name!r}, because a key of a dict has a dot in it. "
                "Use keys without dots where there are nested dicts too."
            )
        leaves[name] = leaf
    return leaves


def differences(stored: Structure, expected: Structure) -> list[str]:
    """Return a sentence for each path at which the two differ."""
    return [
        line
        for what in ("modules", "leaves")
        for line in _differences(stored[what], expected[what])
    ]


def _differences(stored: Mapping[str, str], expected: Mapping[str, str]) -> Iterator[str]:
    for path in [*expected, *(path for path in stored if path not in expected)]:
        saved, wanted = stored.get(path), expected.get(path)
        where = path or "the root"
        if saved is None:
            yield f"{where} is {wanted}, and is not in the checkpoint"
        elif wanted is None:
            yield f"{where} is in the checkpoint as {saved}, and is not expected"
        elif saved != wanted:
            yield f"{where} is {saved} in the checkpoint, expected {wanted}"


def _classes(tree: Any, prefix: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    for path, leaf in pax_tree.tree_leaves_with_path(tree, is_leaf=is_module):
        if is_module(leaf):
            here = (*prefix, *path)
            yield here, type(leaf).__name__
            children, spec = record_flatten(leaf)
            for name, child in zip(spec.names, children, strict=True):
                yield from _classes(child, (*here, GetAttrKey(name)))


def _described(leaf: Any) -> str:
    if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
        return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
    return type(leaf).__name__
