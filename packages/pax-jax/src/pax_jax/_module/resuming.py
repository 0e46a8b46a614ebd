"""Modules that are loaded into others whose arrays are not all the same, as those of optimizers are.

The hyperparameters of an optimizer are arrays that come and go: a number becomes one when it is first
replaced. A class says so by two methods: `_as_saved(paths)` returns the module with the arrays of these
paths, and `_resumed(given)` what to go on with when it was loaded into the form of `given`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pax_tree
from pax_jax._module.deep import Steps, run
from pax_jax._module.kinds import is_module
from pax_tree import record_flatten, record_unflatten


def as_saved(tree: Any, paths: Collection[str], start: str = "") -> Any:
    """Return a tree with the arrays that were saved, as far as its modules can have these.

    Args:
        tree: what is to be loaded.
        paths: the dotted paths of what was saved.
        start: that of the tree in it, with a dot at its end.
    """
    return run(_as_saved(tree, paths, start))


def _as_saved(tree: Any, paths: Collection[str], start: str) -> Steps:
    leaves, structure = pax_tree.tree_flatten_with_path(tree, is_leaf=is_module)
    changed = []
    for path, leaf in leaves:
        here = f"{start}{dotted(path)}." if path else start
        if not is_module(leaf):
            changed.append(leaf)
        elif hasattr(type(leaf), "_as_saved"):
            saved = [x.removeprefix(here) for x in paths if x.startswith(here)]
            changed.append(leaf._as_saved(saved))
        else:
            changed.append((yield _children_as_saved(leaf, paths, here)))
    return structure.unflatten(changed)


def _children_as_saved(module: Any, paths: Collection[str], here: str) -> Steps:
    children, spec = record_flatten(module)
    changed = []
    for child, name in zip(children, spec.names, strict=True):
        changed.append((yield _as_saved(child, paths, f"{here}{name}.")))
    return record_unflatten(spec, changed)


def resumed(loaded: Any, given: Any) -> Any:
    """Return what was loaded, with what only the tree has that it was loaded into.

    Args:
        loaded: a tree of the form `as_saved(given, ...)`.
        given: the tree that it was loaded into.
    """
    return run(_resumed(loaded, given))


def _resumed(loaded: Any, given: Any) -> Steps:
    if loaded is given:
        return loaded
    leaves, structure = pax_tree.tree_flatten(given, is_leaf=is_module)
    changed = []
    for new, leaf in zip(structure.flatten_up_to(loaded), leaves, strict=True):
        changed.append((yield _module_resumed(new, leaf)) if is_module(leaf) else new)
    return structure.unflatten(changed)


def _module_resumed(loaded: Any, given: Any) -> Steps:
    if hasattr(type(loaded), "_resumed"):
        return loaded._resumed(given)
    children, spec = record_flatten(given)
    here = dict(zip(spec.names, children, strict=True))
    children, spec = record_flatten(loaded)
    changed = []
    for child, name in zip(children, spec.names, strict=True):
        changed.append((yield _resumed(child, here[name])))
    return record_unflatten(spec, changed)


def dotted(path: Any) -> str:
    """Return a key path with dots between names, indices and keys."""
    return ".".join(map(_part, path))


def _part(key: Any) -> str:
    for attribute in ("name", "idx", "key"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)
