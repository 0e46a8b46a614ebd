"""pax_tree beside jax.tree, optree, dm-tree and torch's pytree; all work is on the host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import optree
import torch.utils._pytree as torch_pytree
import tree as dm_tree

import pax_tree
from benchmarks.case import Case, Program

Tree = Any


@dataclass(frozen=True)
class Library:
    """The functions under one signature; `unflatten` gets the tree whose structure it takes."""

    flatten: Callable[[Tree], Any]
    leaves: Callable[[Tree], list]
    unflatten: Callable[[Tree], Program]
    map: Callable[..., Tree]
    flatten_with_path: Callable[[Tree], Any]
    map_with_path: Callable[..., Tree]


def by_treedef(library: Any) -> Callable[[Tree], Program]:
    """The unflatten of libraries that keep the structure in a treedef and take it first."""

    def unflatten(tree: Tree) -> Program:
        leaves, treedef = library.tree_flatten(tree)
        return partial(library.tree_unflatten, treedef, leaves)

    return unflatten


def torch_unflatten(tree: Tree) -> Program:
    return partial(torch_pytree.tree_unflatten, *torch_pytree.tree_flatten(tree))


OURS = Library(
    pax_tree.tree_flatten,
    pax_tree.tree_leaves,
    by_treedef(pax_tree),
    pax_tree.tree_map,
    pax_tree.tree_flatten_with_path,
    pax_tree.tree_map_with_path,
)
PEERS = {
    "jax": Library(
        jax.tree.flatten,
        jax.tree.leaves,
        by_treedef(jax.tree_util),
        jax.tree.map,
        jax.tree.flatten_with_path,
        jax.tree.map_with_path,
    ),
    "optree": Library(
        optree.tree_flatten,
        optree.tree_leaves,
        by_treedef(optree),
        optree.tree_map,
        optree.tree_flatten_with_path,
        optree.tree_map_with_path,
    ),
    "dm-tree": Library(
        dm_tree.flatten,
        dm_tree.flatten,
        lambda tree: partial(dm_tree.unflatten_as, tree, dm_tree.flatten(tree)),
        dm_tree.map_structure,
        dm_tree.flatten_with_path,
        dm_tree.map_structure_with_path,
    ),
    "torch": Library(
        torch_pytree.tree_flatten,
        torch_pytree.tree_leaves,
        torch_unflatten,
        torch_pytree.tree_map,
        torch_pytree.tree_flatten_with_path,
        torch_pytree.tree_map_with_path,
    ),
}


# Leaves by the number of layers, for the plots.
SCALE = {"4": 1, "40": 10, "400": 100, "4k": 1000, "40k": 10_000}


def cases(device: str) -> Iterator[Case]:
    """Flatten, leaves, unflatten and map, without and with paths, over four trees; then how they scale."""
    for size, tree in trees().items():
        yield from cases_of(size, tree)
    for size, count in SCALE.items():
        yield from scaling_cases(size, layers(count))


def trees() -> dict[str, Tree]:
    """A small tree, GPT-2's parameters, 100 layers with 400 leaves, and four levels with 10,000."""
    deep = {
        f"block_{i}": [
            tuple({f"leaf_{j}": float(j) for j in range(10)} for _ in range(10)) for _ in range(10)
        ]
        for i in range(10)
    }
    return {
        "small": {"a": [1.0, 2.0], "c": 4},
        "gpt2": gpt2(),
        "400": layers(100),
        "10k": deep,
    }


def layers(count: int) -> Tree:
    """A dict of layers with four leaves each."""
    return {
        f"layer_{i}": {"weight": 1.0, "bias": 2.0, "bn": {"mean": 3.0, "var": 4.0}}
        for i in range(count)
    }


def gpt2() -> Tree:
    """The parameters of GPT-2 small: 148 leaves, numbers in place of the arrays."""

    def affine(name: str) -> Tree:
        return {name: {"weight": 1.0, "bias": 2.0}}

    def block() -> Tree:
        attention = {"attn": affine("c_attn") | affine("c_proj")}
        return (
            affine("ln_1") | attention | affine("ln_2") | {"mlp": affine("c_fc") | affine("c_proj")}
        )

    ends = {"wte": {"weight": 3.0}, "wpe": {"weight": 4.0}}
    return {"transformer": ends | {"h": {str(i): block() for i in range(12)}} | affine("ln_f")}


def cases_of(size: str, tree: Tree) -> Iterator[Case]:
    yield compared(f"flatten-{size}", lambda library: partial(library.flatten, tree), same_flat)
    yield compared(f"leaves-{size}", lambda library: partial(library.leaves, tree), same_leaves)
    yield compared(f"unflatten-{size}", lambda library: library.unflatten(tree), equal)
    yield compared(
        f"map1-{size}",
        lambda library: partial(library.map, increment, tree),
        equal,
        limit=("comprehension", partial(increment_layers, tree)) if size == "400" else None,
    )
    yield compared(f"map2-{size}", lambda library: partial(library.map, add, tree, tree), equal)
    yield compared(
        f"flatten_with_path-{size}",
        lambda library: partial(library.flatten_with_path, tree),
        same_pairs,
    )
    yield compared(
        f"map_with_path-{size}",
        lambda library: partial(library.map_with_path, increment_at, tree),
        equal,
    )


def scaling_cases(size: str, tree: Tree) -> Iterator[Case]:
    yield compared(
        f"scale_flatten-{size}", lambda library: partial(library.flatten, tree), same_flat
    )
    yield compared(f"scale_unflatten-{size}", lambda library: library.unflatten(tree), equal)
    yield compared(
        f"scale_map-{size}", lambda library: partial(library.map, increment, tree), equal
    )


def compared(
    name: str,
    program: Callable[[Library], Program],
    agree: Callable[[Any, Any], bool],
    limit: tuple[str, Program] | None = None,
) -> Case:
    return Case(
        suite="tree",
        case=name,
        ours=program(OURS),
        peers={peer: program(library) for peer, library in PEERS.items()},
        limit=limit,
        agree=agree,
    )


def increment(x: float) -> float:
    return x + 1


def add(x: float, y: float) -> float:
    return x + y


def increment_at(path: Any, x: float) -> float:
    return x + 1


def increment_layers(tree: Tree) -> Tree:
    """What one would write by hand for the tree of 400 leaves."""
    return {
        name: {
            "weight": increment(layer["weight"]),
            "bias": increment(layer["bias"]),
            "bn": {
                "mean": increment(layer["bn"]["mean"]),
                "var": increment(layer["bn"]["var"]),
            },
        }
        for name, layer in tree.items()
    }


def equal(ours: Any, theirs: Any) -> bool:
    return ours == theirs


def same_leaves(ours: list, theirs: list) -> bool:
    """Equality but for the order: torch keeps a dict's own."""
    return sorted(ours) == sorted(theirs)


def same_flat(ours: Any, theirs: Any) -> bool:
    """Equality of flatten's leaves; dm-tree returns them without a structure."""
    return same_leaves(ours[0], theirs[0] if isinstance(theirs, tuple) else theirs)


def same_pairs(ours: Any, theirs: Any) -> bool:
    """Equality of the leaves, and of the length of each one's path.

    Structures follow in all but dm-tree, and optree keeps paths, leaves and structure apart.
    """
    if isinstance(theirs, list):
        pairs = theirs
    elif len(theirs) == 3:
        pairs = zip(theirs[0], theirs[1], strict=True)
    else:
        pairs = theirs[0]
    return lengths(ours[0]) == lengths(pairs)


def lengths(pairs: Iterable[tuple[Any, float]]) -> list[tuple[float, int]]:
    return sorted((leaf, len(path)) for path, leaf in pairs)
