"""pax_tree.dm beside dm-tree; all work is on the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import tree as dm_tree

from benchmarks.case import Case, Program
from benchmarks.suites.tree import Tree, add, equal, increment, trees
from pax_tree import dm


def cases(device: str) -> Iterator[Case]:
    """The functions of dm-tree that programs call most, over three trees."""
    for size, tree in trees().items():
        for name, program in programs(tree).items():
            yield Case(
                suite="dm",
                case=f"{name}-{size}",
                ours=program(dm),
                peers={"dm-tree": program(dm_tree)},
                agree=equal,
            )


def programs(tree: Tree) -> dict[str, Callable[[ModuleType], Program]]:
    """What is measured, for a library that has dm-tree's functions."""
    leaves = dm.flatten(tree)
    return {
        "map1": lambda library: partial(library.map_structure, increment, tree),
        "map2": lambda library: partial(library.map_structure, add, tree, tree),
        "map_with_path": lambda library: partial(library.map_structure_with_path, second, tree),
        "map_up_to": lambda library: partial(library.map_structure_up_to, tree, increment, tree),
        "flatten": lambda library: partial(library.flatten, tree),
        "flatten_with_path": lambda library: partial(library.flatten_with_path, tree),
        "unflatten": lambda library: partial(library.unflatten_as, tree, leaves),
        "assert_same": lambda library: partial(library.assert_same_structure, tree, tree),
        "traverse": lambda library: partial(library.traverse, nothing, tree),
    }


def second(path: tuple, leaf: Any) -> Any:
    return leaf


def nothing(node: Any) -> None:
    return None
