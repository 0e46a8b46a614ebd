"""Modules that are loaded into others whose arrays are not all the same, as those of optimizers are.

The hyperparameters of an optimizer are arrays that come and go: a number becomes one when it is first
replaced. A class says so by two methods: `_as_saved(paths)` returns the module with the arrays of these
paths, and `_resumed(given)` what to go on with when it was loaded into the form of `given`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pax_tree
from pax_jax._module.kinds import is_module
from pax_tree import record_flatten, record_unflatten


def as_saved(tree: Any, paths: Collection[str], start: str = "") -> Any:
    """Return a tree with the arrays that were saved, as far as its modules can have these.

    Args:
        tree: what is to be loaded.
        paths: the dotted paths of what was saved.
        start: that of the tree in it, with a dot at its end.
    """

    def change(path: Any, leaf: Any) -> Any:
        if not is_module(leaf):
            return leaf
        here = f"{start}{dotted(path)}." if path else start
        if hasattr(type(leaf), "_as_saved"):
            return leaf._as_saved([x.removeprefix(here) for x in paths if x.startswith(here)])
        return _with_children(leaf, lambda child, name: as_saved(child, paths, f"{here}{name}."))

    return pax_tree.tree_map_with_path(change, tree, is_leaf=is_module)


def resumed(loaded: Any, given: Any) -> Any:
    """Return what was loaded, with what only the tree has that it was loaded into.

    Args:
        loaded: a tree of the form `as_saved(given, ...)`.
        given: the tree that it was loaded into.
    """
    if loaded is given:
        return loaded
    leaves, structure = pax_tree.tree_flatten(given, is_leaf=is_module)
    return structure.unflatten(map(_resumed, structure.flatten_up_to(loaded), leaves))


def _resumed(loaded: Any, given: Any) -> Any:
    if not is_module(given):
        return loaded
    if hasattr(type(loaded), "_resumed"):
        return loaded._resumed(given)
    children, spec = record_flatten(given)
    here = dict(zip(spec.names, children, strict=True))
    return _with_children(loaded, lambda child, name: resumed(child, here[name]))


def _with_children(module: Any, change: Any) -> Any:
    children, spec = record_flatten(module)
    pairs = zip(children, spec.names, strict=True)
    return record_unflatten(spec, [change(child, name) for child, name in pairs])


def dotted(path: Any) -> str:
    """Return a key path with dots between names, indices and keys."""
    return ".".join(map(_part, path))


def _part(key: Any) -> str:
    for attribute in ("name", "idx", "key"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)
