"""No function keeps references, on success or on failure."""

import contextlib
import copy
import gc
import pickle
import sys
from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest

import pax_tree

Pair = namedtuple("Pair", "a b")


@pax_tree.register_pytree_node_class
class Custom:
    def __init__(self, x):
        self.x = x

    def tree_flatten(self):
        return (self.x,), None

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(*children)


class Rec(pax_tree.Record):
    def __init__(self, x):
        self.x = x
        self.name = "rec"

    def _classify(self, name, value):
        return None if isinstance(value, str) else 0


def fail(*_):
    raise ValueError("no")


def make(leaf):
    return {
        "b": [leaf, (leaf, None), Pair(leaf, {})],
        "a": OrderedDict(z=leaf, y=defaultdict(list, q=leaf)),
        (1, 2): deque([leaf], maxlen=3),
        3: Custom(Rec([leaf])),
    }


LEAF = object()
TREE = make(LEAF)
OTHER = {**make(LEAF), 3: Custom(Rec((LEAF,)))}
STRUCTURE = pax_tree.tree_structure(TREE)
LEAVES = pax_tree.tree_leaves(TREE)
RECORD = Rec([LEAF])


def swap_static():
    RECORD.name = "other"
    RECORD.name = "rec"


CALLS = {
    "flatten": lambda: pax_tree.tree_flatten(TREE),
    "leaves": lambda: pax_tree.tree_leaves(TREE, is_leaf=lambda n: isinstance(n, deque)),
    "flatten_with_path": lambda: pax_tree.tree_flatten_with_path(TREE),
    "unflatten": lambda: STRUCTURE.unflatten(LEAVES),
    "unflatten_few": lambda: STRUCTURE.unflatten(LEAVES[1:]),
    "map": lambda: pax_tree.tree_map(lambda x: [x], TREE),
    "map_two": lambda: pax_tree.tree_map(lambda x, y: (x, y), TREE, TREE),
    "map_fails": lambda: pax_tree.tree_map(fail, TREE, TREE),
    "map_mismatch": lambda: pax_tree.tree_map(fail, OTHER[3], TREE[3]),
    "map_with_path": lambda: pax_tree.tree_map_with_path(lambda p, x, y: p, TREE, TREE),
    "flatten_up_to": lambda: STRUCTURE.flatten_up_to(TREE),
    "flatten_up_to_mismatch": lambda: STRUCTURE.flatten_up_to(OTHER),
    "treedef": lambda: (repr(STRUCTURE), STRUCTURE.children(), STRUCTURE.node_data(), STRUCTURE.compose(STRUCTURE)),
    "treedef_equal": lambda: [pax_tree.tree_structure(tree) == STRUCTURE for tree in (TREE, OTHER)],
    "treedef_pickle": lambda: hash(pickle.loads(pickle.dumps(STRUCTURE))),
    "record": lambda: Rec([LEAF]).x,
    "record_copy": lambda: (copy.copy(RECORD), copy.deepcopy(RECORD), pickle.dumps(pax_tree.record_spec(RECORD))),
    "record_set": lambda: setattr(RECORD, "x", [LEAF]),
    "record_static": swap_static,
    "record_read": lambda: pax_tree.record_unflatten(*reversed(pax_tree.record_flatten(RECORD))).name,
    "record_delete": lambda: delattr(RECORD, "x"),
    "record_list": lambda: setattr(Rec(1), "name", [1]),
    "scope": lambda: pax_tree.set_scope_hook(*pax_tree.set_scope_hook(None)),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_nothing_is_kept(call):
    def run(times):
        for _ in range(times):
            with contextlib.suppress(ValueError, AttributeError):
                call()
        gc.collect()
        return sys.getallocatedblocks(), sys.getrefcount(LEAF), sys.getrefcount(None)

    run(50)
    blocks, leaf, none = run(50)
    more_blocks, more_leaf, more_none = run(1000)
    assert more_leaf == leaf
    assert more_blocks - blocks < 500  # a leak would be one for each of the 1000 calls
    assert abs(more_none - none) < 100
