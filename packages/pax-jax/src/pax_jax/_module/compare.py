"""Equality of leaves, and of structures."""

from __future__ import annotations

from typing import Any

import pax_tree
from pax_jax._module.kinds import is_array, is_module
from pax_jax._module.scope import is_traced
from pax_tree import record_flatten

_KINDS = ("parameter", "state", "module", "frozen parameter")
_ABSENT = object()


def same_leaf(a: Any, b: Any) -> bool:
    """Say whether two leaves are equal; arrays in shape, dtype and every element.

    A tracer equals only itself: its value is not known.
    """
    if a is b:
        return True
    if is_traced(a) or is_traced(b):
        return False
    if not (is_array(a) and is_array(b)):
        return type(a) is type(b) and bool(a == b)
    return a.shape == b.shape and a.dtype == b.dtype and bool((a == b).all())


def assert_structure_equal(tree_a: Any, tree_b: Any) -> None:
    """Raise where the structures of two pytrees differ; the leaves are not compared.

    Args:
        tree_a: a module, or any pytree.
        tree_b: what should have its structure.

    Raises:
        AssertionError: they differ; the message names every module and attribute that does.

    Example:
        >>> import pax_jax as pax
        >>> pax.assert_structure_equal(pax.Linear(1, 2), pax.Linear(1, 2))
        >>> pax.assert_structure_equal(pax.Linear(1, 2), pax.Linear(1, 3).eval())
        Traceback (most recent call last):
        AssertionError: The structures differ:
          Linear.out_dim: 2 and 3
          Linear.training: True and False
    """
    if pax_tree.tree_structure(tree_a) == pax_tree.tree_structure(tree_b):
        return
    name = type(tree_a).__name__
    differences = _differences(name, tree_a, tree_b)
    raise AssertionError("The structures differ:\n  " + "\n  ".join(differences))


def _differences(path: str, a: Any, b: Any) -> list[str]:
    if is_module(a) and is_module(b) and type(a) is type(b):
        return _module_differences(path, a, b)
    if pax_tree.tree_structure(a) == pax_tree.tree_structure(b):
        return []
    mine, theirs = _one_level(a), _one_level(b)
    if type(a) is not type(b) or mine is None or theirs is None:
        return [f"{path}: {_name(a)} and {_name(b)}"]
    if len(mine) != len(theirs):
        return [f"{path}: {len(mine)} and {len(theirs)} items"]
    below = zip(mine, theirs, strict=True)
    found = [d for (key, x), (_, y) in below for d in _differences(f"{path}{key}", x, y)]
    return found or [f"{path}: {pax_tree.tree_structure(a)} and {pax_tree.tree_structure(b)}"]


def _module_differences(path: str, a: Any, b: Any) -> list[str]:
    (children, spec), (others, other) = record_flatten(a), record_flatten(b)
    found = []
    for name in sorted(spec.statics.keys() | other.statics.keys()):
        x, y = (s.statics.get(name, _ABSENT) for s in (spec, other))
        if (type(x), x) != (type(y), y):
            found.append(f"{path}.{name}: {_shown(x)} and {_shown(y)}")
    if spec.names != other.names:
        names = [", ".join(s.names) or "nothing" for s in (spec, other)]
        return [*found, f"{path} holds {names[0]} and {names[1]}"]
    for name, kind, other_kind in zip(spec.names, spec.kinds, other.kinds, strict=True):
        if kind != other_kind:
            found.append(f"{path}.{name}: {_KINDS[kind]} and {_KINDS[other_kind]}")
    for name, x, y in zip(spec.names, children, others, strict=True):
        found += _differences(f"{path}.{name}", x, y)
    return found


def _one_level(tree: Any) -> list[tuple[str, Any]] | None:
    """Return key and child for every child of a container, `None` for a leaf."""
    pairs = pax_tree.tree_leaves_with_path(tree, is_leaf=lambda node: node is not tree)
    if len(pairs) == 1 and pairs[0][1] is tree:
        return None
    return [(pax_tree.keystr(path), child) for path, child in pairs]


def _shown(value: Any) -> str:
    return "nothing" if value is _ABSENT else repr(value)


def _name(tree: Any) -> str:
    return "None" if tree is None else type(tree).__name__
