"""Every allocation may fail: that is a MemoryError, and all is well afterwards."""

import functools
import gc
import importlib.util
import operator
import sys
from collections import OrderedDict, defaultdict, deque

import pytest
from odd_classes import Pair, Rec

import pax_tree
from pax_tree import dm

LEAF = float("1.5")


def make_tree(number):
    """A tree with nodes of every built-in kind, and keys that no other tree has."""
    return {
        f"{number}b": [LEAF, (LEAF, None), Pair(LEAF, {})],
        f"{number}a": OrderedDict(z=LEAF, y=defaultdict(list, q=LEAF)),
        f"{number}c": deque([LEAF], maxlen=3),
        f"{number}d": Rec([LEAF]),
    }


TREE = make_tree("")
OTHER = TREE | {"a": {}}
STRUCTURE = pax_tree.tree_structure(TREE)
LEAVES, DM_LEAVES = pax_tree.tree_leaves(TREE), dm.flatten(TREE)
STATE = STRUCTURE.__reduce__()[1][0]
RECORD = Rec([LEAF])
SPEC = pax_tree.record_spec(RECORD)
WALKS = {
    "tree_flatten": pax_tree.tree_flatten,
    "tree_leaves": pax_tree.tree_leaves,
    "tree_structure": pax_tree.tree_structure,
    "tree_flatten_with_path": pax_tree.tree_flatten_with_path,
    "tree_leaves_with_path": pax_tree.tree_leaves_with_path,
    "tree_map": functools.partial(pax_tree.tree_map, id),
    "tree_map_with_path": functools.partial(pax_tree.tree_map_with_path, operator.is_),
    "dm.flatten": dm.flatten,
    "dm.flatten_with_path": dm.flatten_with_path,
    "dm.map_structure": functools.partial(dm.map_structure, id),
    "dm.map_structure_with_path": functools.partial(dm.map_structure_with_path, operator.is_),
    "dm.traverse": functools.partial(dm.traverse, id),
}
# Compiled functions and their arguments: the interpreter itself does not survive everywhere.
CALLS = {
    "tree_map/two": (pax_tree.tree_map, operator.is_, TREE, TREE),
    "tree_map/mismatch": (pax_tree.tree_map, operator.is_, TREE, OTHER),
    "flatten_up_to": (STRUCTURE.flatten_up_to, TREE),
    "flatten_up_to/mismatch": (STRUCTURE.flatten_up_to, OTHER),
    "unflatten": (STRUCTURE.unflatten, LEAVES),
    "unflatten/few": (STRUCTURE.unflatten, LEAVES[1:]),
    "repr": (repr, STRUCTURE),
    "hash": (hash, STRUCTURE),
    "eq": (operator.eq, STRUCTURE, pax_tree.tree_structure(TREE)),
    "compose": (STRUCTURE.compose, STRUCTURE),
    "children": (STRUCTURE.children,),
    "node_data": (STRUCTURE.node_data,),
    "paths": (STRUCTURE.paths,),
    "reduce": (STRUCTURE.__reduce__,),
    "make_treedef": (pax_tree._C._make_treedef, STATE),
    "from_node_data_and_children": (
        pax_tree.PyTreeDef.from_node_data_and_children,
        STRUCTURE.node_data(),
        STRUCTURE.children(),
    ),
    "record_flatten": (pax_tree.record_flatten, RECORD),
    "record_unflatten": (pax_tree.record_unflatten, SPEC, (LEAF,)),
    "record_set": (pax_tree.record_set, RECORD, "x", LEAF, 0),
    "with_static": (functools.partial(SPEC.with_static, "mode"), "q"),
    "with_kinds": (SPEC.with_kinds, (5,)),
    "dm.map_structure/two": (dm.map_structure, operator.is_, TREE, TREE),
    "dm.flatten_up_to": (dm.flatten_up_to, TREE, TREE),
    "dm.flatten_with_path_up_to": (dm.flatten_with_path_up_to, TREE, TREE),
    "dm.assert_same_structure": (dm.assert_same_structure, TREE, OTHER),
    "dm.assert_shallow_structure": (dm.assert_shallow_structure, TREE, OTHER),
    "dm.unflatten_as": (dm.unflatten_as, TREE, DM_LEAVES),
    "dm.unflatten_as/few": (dm.unflatten_as, {"b": [LEAF, (LEAF,)]}, DM_LEAVES[:1]),
}

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("_testcapi") is None, reason="the interpreter cannot fail on demand"
)


def outcome(function, *arguments):
    """The type of error that a call raises, or None."""
    try:
        function(*arguments)
    except BaseException as error:
        return type(error)
    return None


def with_failing_allocation(number, function, *arguments):
    """The same when the allocation of this number fails, and none after it."""
    import _testcapi

    error = None
    sys._getframe()  # without it, the interpreter makes the frame of an error, and loses that if it fails
    _testcapi.set_nomemory(number, number + 1)
    try:
        function(*arguments)
    except BaseException as caught:
        error = caught
    _testcapi.remove_mem_hooks()
    return None if error is None else type(error)


def check_all_allocations(expected, function, make_arguments):
    gc.disable()
    try:
        outcomes = [
            with_failing_allocation(number, function, *make_arguments(number))
            for number in range(150)
        ]
    finally:
        gc.enable()
    assert set(outcomes) <= {expected, MemoryError}
    assert outcomes[-1] is expected
    assert outcome(function, *make_arguments(0)) is expected


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
def test_walks(walk):
    check_all_allocations(None, walk, lambda number: [make_tree(number)])


@pytest.mark.parametrize("name", CALLS)
def test_calls(name):
    function, *arguments = CALLS[name]
    expected = outcome(function, *arguments)
    assert (expected is None) == ("/" not in name or "two" in name) or name.startswith("dm.assert")
    check_all_allocations(expected, function, lambda _: arguments)
