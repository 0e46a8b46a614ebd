"""What rules are told of the arrays of a tree: paths, stacks, heads, and whose state they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import pax_tree
from pax_jax._module.module import Optimizer
from pax_jax._module.resuming import dotted
from pax_jax._sharding.rules import Array, Rules, check_each_decides
from pax_jax.nn import Stack
from pax_jax.nn._attention import ToHeads
from pax_tree import GetAttrKey
from pax_tree._paths import users_path

Shapes = dict[str, tuple[int, ...]]


def described(tree: Any, rules: Rules, allow_unmatched: bool = True) -> Callable[[Any, Any], Array]:
    """Return a function that describes a leaf by its path, once every rule decides for some name."""
    shortened = users_path(tree)
    stacks = [tuple(path) for path in _paths_of_stacks(tree, ())]
    heads = {tuple(path): node.heads for path, node in _nodes(tree, ToHeads)}
    optimizers = {tuple(path): _made_for(node) for path, node in _nodes(tree, Optimizer)}
    states = [tuple(path) for path, _ in _found(tree, _is_state)]
    params = _parameters(tree, [*optimizers, *states])
    if rules and not allow_unmatched and () not in optimizers:
        check_each_decides(rules, names_of(tree))

    def describe(path: Any, leaf: Any) -> Array:
        path = tuple(path)
        name = dotted(shortened(path))
        known = next((x for start, x in optimizers.items() if _is_below(path, start)), None)
        is_state = known is not None or any(_is_below(path, start) for start in states)
        is_weight = path and dotted(path[-1:]) in ("weight", "bias")
        return Array(
            name,
            np.shape(leaf),
            sum(_is_below(path, stack) for stack in stacks),
            _owner(name, known or params) if is_state else None,
            is_state,
            heads.get(path[:-1]) if is_weight else None,
        )

    return describe


def _is_below(path: tuple[Any, ...], start: tuple[Any, ...]) -> bool:
    return path[: len(start)] == start


def _is_state(node: Any) -> bool:
    """Whether a node is a state of optax, all of which are named tuples with such names."""
    return isinstance(node, tuple) and type(node).__name__.endswith("State")


def names_of(tree: Any) -> list[str]:
    """Return the paths of all leaves, as rules see them."""
    shortened = users_path(tree)
    return [dotted(shortened(path)) for path, _ in pax_tree.tree_leaves_with_path(tree)]


def _parameters(tree: Any, states: list[tuple[Any, ...]]) -> Shapes:
    """Return the shapes of all arrays that are no state, by their names in the parts of the tree."""
    if not states:
        return {}
    found: Shapes = {}
    leaves = pax_tree.tree_leaves_with_path(tree)
    for name, (path, leaf) in zip(names_of(tree), leaves, strict=True):
        if not any(_is_below(tuple(path), state) for state in states):
            parts = name.split(".")
            for start in range(len(parts)):
                found.setdefault(".".join(parts[start:]), np.shape(leaf))
    return found


def _made_for(optimizer: Any) -> Shapes:
    """Return the shapes of the parameters that an optimizer was made for, where it knows them."""
    made_for = getattr(optimizer, "made_for", None)
    like = getattr(made_for, "like", None)
    return dict(made_for) if isinstance(made_for, tuple) else _shapes(like)


def _shapes(tree: Any) -> Shapes:
    leaves = pax_tree.tree_leaves_with_path(tree)
    return {name: np.shape(leaf) for name, (_, leaf) in zip(names_of(tree), leaves, strict=True)}


def _owner(name: str, params: Shapes) -> tuple[str, tuple[int, ...]] | None:
    """Return the parameter whose name the name of a state ends with, the longest."""
    parts = name.split(".")
    for start in range(1, len(parts)):
        if (end := ".".join(parts[start:])) in params:
            return end, params[end]
    return None


def _nodes(tree: Any, cls: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the outermost nodes of a class, with their paths."""
    return _found(tree, lambda node: isinstance(node, cls))


def _found(tree: Any, is_one: Callable[[Any], bool]) -> Iterator[tuple[Any, Any]]:
    for path, node in pax_tree.tree_leaves_with_path(tree, is_leaf=is_one):
        if is_one(node):
            yield path, node


def _paths_of_stacks(tree: Any, prefix: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for path, node in pax_tree.tree_leaves_with_path(tree, is_leaf=lambda x: isinstance(x, Stack)):
        if isinstance(node, Stack):
            layers = (*prefix, *path, GetAttrKey("layers"))
            yield layers
            yield from _paths_of_stacks(node.layers, layers)
