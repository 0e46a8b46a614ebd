"""How to call every public function, for the tests that go over all of them.

A new public name must be entered here: in `WALKS` when it opens a tree, and in `CALLS` and `ERRORS`
when it has other arguments or other ways to fail.
"""

import copy
import functools
import operator
import pickle
from collections import OrderedDict, defaultdict, deque

from odd_classes import (
    BadFlatten,
    BadKeys,
    BadResult,
    BadUnflatten,
    Broken,
    Custom,
    Key,
    Keyed,
    Pair,
    Rec,
    Temporary,
    WithAux,
    broken,
    dict_with,
)

import pax_tree
from pax_tree import dm

LEAF = float("1.5")
SMALL = {"b": [LEAF, (LEAF,)], "a": Pair(LEAF, None)}
DM_SMALL = {"b": [LEAF, (LEAF,)], "a": Pair(LEAF, OrderedDict(x=None))}
LARGE = {
    "b": [LEAF, (LEAF, None), Pair(LEAF, {})],
    "a": OrderedDict(z=LEAF, y=defaultdict(list, q=LEAF)),
    (1, 2): deque([LEAF], maxlen=3),
    3: Custom(Keyed(Rec([LEAF]))),
}
MISMATCH = {"b": [LEAF, [LEAF]], "a": Pair(LEAF, None)}
OUTER, INNER = pax_tree.tree_structure([0, 0]), pax_tree.tree_structure({"x": 0})
STRUCTURE, LEAVES = pax_tree.tree_structure(SMALL), [LEAF] * 3
RECORD = Rec(LEAF)
SPEC = pax_tree.record_spec(RECORD)


def identity(x):
    return x


def first(x, *_):
    return x


def do_nothing(*_):
    return None


def twice(function):
    return lambda tree: function(tree, tree)


# Functions that open a tree, called with the tree alone. The part after the slash names a variant.
WALKS = {
    "tree_flatten": pax_tree.tree_flatten,
    "tree_leaves": pax_tree.tree_leaves,
    "tree_structure": pax_tree.tree_structure,
    "tree_flatten_with_path": pax_tree.tree_flatten_with_path,
    "tree_leaves_with_path": pax_tree.tree_leaves_with_path,
    "tree_flatten_with_accessor": pax_tree.tree_flatten_with_accessor,
    "tree_accessors": pax_tree.tree_accessors,
    "tree_map": functools.partial(pax_tree.tree_map, identity),
    "tree_map/two": twice(functools.partial(pax_tree.tree_map, first)),
    "tree_map_with_path": functools.partial(pax_tree.tree_map_with_path, first),
    "tree_map_with_path/two": twice(functools.partial(pax_tree.tree_map_with_path, first)),
    "tree_reduce": lambda tree: pax_tree.tree_reduce(first, tree, 0),
    "tree_reduce_associative": lambda tree: pax_tree.tree_reduce_associative(
        first, tree, identity=0
    ),
    "tree_partition": functools.partial(pax_tree.tree_partition, do_nothing),
    "tree_all": pax_tree.tree_all,
    "tree_any": pax_tree.tree_any,
    "all_leaves": lambda tree: pax_tree.all_leaves([tree]),
    "broadcast_prefix": twice(pax_tree.broadcast_prefix),
    "tree_broadcast": twice(pax_tree.tree_broadcast),
    "tree_broadcast_common": twice(pax_tree.tree_broadcast_common),
    "tree_diff": twice(pax_tree.tree_diff),
    "tree_for_each": functools.partial(pax_tree.tree_for_each, do_nothing),
    "tree_for_each/two": twice(functools.partial(pax_tree.tree_for_each, do_nothing)),
    "tree_iter": lambda tree: list(pax_tree.tree_iter(tree)),
    "tree_select": lambda tree: pax_tree.tree_select(tree, "**"),
    "tree_mask": lambda tree: pax_tree.tree_mask(tree, "**"),
    "tree_summary": pax_tree.tree_summary,
    "tree_add": twice(pax_tree.tree_add),
    "tree_subtract": twice(pax_tree.tree_subtract),
    "tree_neg": pax_tree.tree_neg,
    "tree_scale": functools.partial(pax_tree.tree_scale, 2.0),
    "tree_zeros_like": pax_tree.tree_zeros_like,
    "tree_sum": pax_tree.tree_sum,
    "tree_dot": twice(pax_tree.tree_dot),
    "tree_norm": pax_tree.tree_norm,
    "tree_norm_sq": pax_tree.tree_norm_sq,
    "tree_numel": pax_tree.tree_numel,
    "tree_ravel": pax_tree.tree_ravel,
}
# The same of dm-tree's API, for which own classes are leaves.
DM_WALKS = {
    "dm.flatten": dm.flatten,
    "dm.flatten_with_path": dm.flatten_with_path,
    "dm.flatten_up_to": twice(dm.flatten_up_to),
    "dm.flatten_with_path_up_to": twice(dm.flatten_with_path_up_to),
    "dm.map_structure": functools.partial(dm.map_structure, identity),
    "dm.map_structure/two": twice(functools.partial(dm.map_structure, first)),
    "dm.map_structure_with_path": functools.partial(dm.map_structure_with_path, first),
    "dm.map_structure_up_to": lambda tree: dm.map_structure_up_to(tree, first, tree, tree),
    "dm.map_structure_with_path_up_to": lambda tree: dm.map_structure_with_path_up_to(
        tree, first, tree
    ),
    "dm.traverse": lambda tree: dm.traverse(do_nothing, tree),
    "dm.traverse/bottom_up": lambda tree: dm.traverse(do_nothing, tree, top_down=False),
    "dm.traverse_with_path": lambda tree: dm.traverse_with_path(do_nothing, tree),
    "dm.assert_same_structure": twice(dm.assert_same_structure),
    "dm.assert_shallow_structure": twice(dm.assert_shallow_structure),
    "dm.unflatten_as": lambda tree: dm.unflatten_as(tree, [1] * 4),
}
# Functions of leaves, called with the function and the tree.
WITH_FUNCTION = {
    "tree_map": pax_tree.tree_map,
    "tree_map/two": lambda f, tree: pax_tree.tree_map(f, tree, tree),
    "tree_map_with_path": pax_tree.tree_map_with_path,
    "tree_map_with_path/two": lambda f, tree: pax_tree.tree_map_with_path(f, tree, tree),
    "tree_reduce": lambda f, tree: pax_tree.tree_reduce(f, tree, 0),
    "tree_partition": pax_tree.tree_partition,
    "tree_for_each": pax_tree.tree_for_each,
    "tree_for_each/two": lambda f, tree: pax_tree.tree_for_each(f, tree, tree),
}
DM_WITH_FUNCTION = {
    "dm.map_structure": dm.map_structure,
    "dm.map_structure/two": lambda f, tree: dm.map_structure(f, tree, tree),
    "dm.map_structure_with_path": dm.map_structure_with_path,
    "dm.map_structure_up_to": lambda f, tree: dm.map_structure_up_to(tree, f, tree),
    "dm.map_structure_with_path_up_to": lambda f, tree: dm.map_structure_with_path_up_to(
        tree, f, tree
    ),
    "dm.traverse": dm.traverse,
    "dm.traverse/bottom_up": lambda f, tree: dm.traverse(f, tree, top_down=False),
    "dm.traverse_with_path": dm.traverse_with_path,
}
# Functions with the argument is_leaf, called with it and the tree.
WITH_IS_LEAF = {
    "tree_flatten": lambda f, tree: pax_tree.tree_flatten(tree, f),
    "tree_leaves": lambda f, tree: pax_tree.tree_leaves(tree, f),
    "tree_structure": lambda f, tree: pax_tree.tree_structure(tree, f),
    "tree_flatten_with_path": lambda f, tree: pax_tree.tree_flatten_with_path(tree, f),
    "tree_flatten_with_path/path": lambda f, tree: pax_tree.tree_flatten_with_path(
        tree, lambda path, node: f(node), is_leaf_takes_path=True
    ),
    "tree_leaves_with_path": lambda f, tree: pax_tree.tree_leaves_with_path(tree, f),
    "tree_map": lambda f, tree: pax_tree.tree_map(identity, tree, is_leaf=f),
    "tree_map/two": lambda f, tree: pax_tree.tree_map(first, tree, tree, is_leaf=f),
    "tree_map_with_path": lambda f, tree: pax_tree.tree_map_with_path(first, tree, is_leaf=f),
    "tree_reduce": lambda f, tree: pax_tree.tree_reduce(first, tree, 0, is_leaf=f),
    "tree_reduce_associative": lambda f, tree: pax_tree.tree_reduce_associative(
        first, tree, identity=0, is_leaf=f
    ),
    "tree_partition": lambda f, tree: pax_tree.tree_partition(do_nothing, tree, f),
    "tree_flatten_with_accessor": lambda f, tree: pax_tree.tree_flatten_with_accessor(tree, f),
    "tree_accessors": lambda f, tree: pax_tree.tree_accessors(tree, f),
    "tree_all": lambda f, tree: pax_tree.tree_all(tree, is_leaf=f),
    "tree_any": lambda f, tree: pax_tree.tree_any(tree, is_leaf=f),
    "all_leaves": lambda f, tree: pax_tree.all_leaves([tree], f),
    "broadcast_prefix": lambda f, tree: pax_tree.broadcast_prefix(tree, tree, f),
    "tree_broadcast": lambda f, tree: pax_tree.tree_broadcast(tree, tree, f),
    "tree_broadcast_common": lambda f, tree: pax_tree.tree_broadcast_common(tree, tree, f),
    "tree_diff": lambda f, tree: pax_tree.tree_diff(tree, tree, is_leaf=f),
    "tree_for_each": lambda f, tree: pax_tree.tree_for_each(do_nothing, tree, is_leaf=f),
    "tree_iter": lambda f, tree: list(pax_tree.tree_iter(tree, f)),
    "tree_select": lambda f, tree: pax_tree.tree_select(tree, "**", is_leaf=f),
    "tree_mask": lambda f, tree: pax_tree.tree_mask(tree, "**", is_leaf=f),
    "tree_summary": lambda f, tree: pax_tree.tree_summary(tree, is_leaf=f),
}


# Other calls, without arguments.
CALLS = {
    "DictKey": lambda: (hash(pax_tree.DictKey("a")), repr(pax_tree.DictKey("a"))),
    "SequenceKey": lambda: pax_tree.SequenceKey(3) == pax_tree.SequenceKey(idx=4),
    "GetAttrKey": lambda: pickle.loads(pickle.dumps(pax_tree.GetAttrKey("a"))),
    "FlattenedIndexKey": lambda: str(pax_tree.FlattenedIndexKey(key=3)),
    "PyTreeDef": lambda: (repr(STRUCTURE), hash(STRUCTURE)),
    "PyTreeDef/eq": lambda: pax_tree.tree_structure(MISMATCH) == STRUCTURE,
    "PyTreeDef/clone": lambda: copy.deepcopy(copy.copy(STRUCTURE)),
    "PyTreeDef/pickle": lambda: pickle.loads(pickle.dumps(STRUCTURE)),
    "PyTreeDef.num_leaves": lambda: STRUCTURE.num_leaves,
    "PyTreeDef.num_nodes": lambda: STRUCTURE.num_nodes,
    "PyTreeDef.unflatten": lambda: STRUCTURE.unflatten(iter(LEAVES)),
    "PyTreeDef.flatten_up_to": lambda: STRUCTURE.flatten_up_to(SMALL),
    "PyTreeDef.compose": lambda: STRUCTURE.compose(INNER),
    "PyTreeDef.children": lambda: STRUCTURE.children(),
    "PyTreeDef.node_data": lambda: STRUCTURE.node_data(),
    "PyTreeDef.paths": lambda: STRUCTURE.paths(),
    "PyTreeDef.from_node_data_and_children": lambda: pax_tree.PyTreeDef.from_node_data_and_children(
        STRUCTURE.node_data(), STRUCTURE.children()
    ),
    "Record": lambda: Rec(LEAF).x,
    "Record/copy": lambda: copy.deepcopy(copy.copy(RECORD)),
    "Record/pickle": lambda: pickle.loads(pickle.dumps(RECORD)),
    "Record/set": lambda: setattr(RECORD, "mode", "q") or setattr(RECORD, "mode", "p"),
    "RecordSpec": lambda: (repr(SPEC), hash(SPEC)),
    "RecordSpec.cls": lambda: SPEC.cls,
    "RecordSpec.names": lambda: SPEC.names,
    "RecordSpec.kinds": lambda: SPEC.kinds,
    "RecordSpec.statics": lambda: SPEC.statics,
    "RecordSpec.with_static": lambda: SPEC.with_static("mode", "q"),
    "RecordSpec.with_kinds": lambda: SPEC.with_kinds([3]),
    "flatten_one_level": lambda: pax_tree.flatten_one_level(SMALL),
    "flatten_one_level_with_keys": lambda: pax_tree.flatten_one_level_with_keys(SMALL),
    "is_tree_node": lambda: (pax_tree.is_tree_node(dict), pax_tree.is_tree_node(Pair)),
    "PyTreeAccessor": lambda: pax_tree.PyTreeAccessor(STRUCTURE.paths()[0])(SMALL),
    "PyTreeAccessor/code": lambda: pax_tree.PyTreeAccessor(STRUCTURE.paths()[0]).codify("tree"),
    "PyTreeDef.walk": lambda: STRUCTURE.walk(lambda *node: node, identity, LEAVES),
    "dm.is_nested": lambda: (dm.is_nested(SMALL), dm.is_nested(LEAF)),
    "dm.map_structure/none": lambda: dm.map_structure(lambda _: dm.MAP_TO_NONE, SMALL),
    "Partial": lambda: pax_tree.tree_map(identity, pax_tree.Partial(max, LEAF, key=abs))(-2.0),
    "Partial/pickle": lambda: pickle.loads(pickle.dumps(pax_tree.Partial(max, LEAF))),
    "TreeDiff": lambda: str(pax_tree.tree_diff(SMALL, MISMATCH)),
    "TreeDifference": lambda: repr(pax_tree.tree_diff([LEAF], [2])[0]),
    "tree_get_at": lambda: pax_tree.tree_get_at(SMALL, "['b'][1][0]"),
    "tree_get_at/path": lambda: pax_tree.tree_get_at(SMALL, STRUCTURE.paths()[0]),
    "tree_replace_at": lambda: pax_tree.tree_replace_at(SMALL, "['b'][1][0]", LEAF),
    "keystr": lambda: pax_tree.keystr((pax_tree.DictKey("a"), pax_tree.SequenceKey(0))),
    "record_flatten": lambda: pax_tree.record_flatten(RECORD),
    "record_unflatten": lambda: pax_tree.record_unflatten(SPEC, (LEAF,)).mode,
    "record_spec": lambda: pax_tree.record_spec(RECORD),
    "record_set": lambda: pax_tree.record_set(Rec(LEAF), "y", LEAF, 1),
    "record_with_spec": lambda: pax_tree.record_with_spec(RECORD, SPEC),
    "set_scope_hook": lambda: pax_tree.set_scope_hook(*pax_tree.set_scope_hook(None)),
    "tree_transpose": lambda: pax_tree.tree_transpose(OUTER, INNER, [{"x": LEAF}] * 2),
    "tree_unflatten": lambda: pax_tree.tree_unflatten(STRUCTURE, LEAVES),
    "treedef_children": lambda: pax_tree.treedef_children(STRUCTURE),
    "treedef_is_leaf": lambda: pax_tree.treedef_is_leaf(STRUCTURE),
    "treedef_tuple": lambda: pax_tree.treedef_tuple([STRUCTURE, INNER]),
}
# Public names that need no entry, and why.
ELSEWHERE = {
    "tree": "a module of the same functions",
    "dm": "a module, whose functions are entered as `dm.flatten` and so on",
    "dm.MAP_TO_NONE": "no function",
    "register_pytree_node": "keeps what it is given, for the structures that were made with it",
    "unregister_pytree_node": "undoes register_pytree_node",
    "register_pytree_node_class": "calls register_pytree_node",
    "register_pytree_with_keys": "calls register_pytree_node",
    "register_pytree_with_keys_class": "calls register_pytree_with_keys",
    "register_dataclass": "calls register_pytree_node",
    "register_static": "calls register_pytree_node",
    "PyTreeDef.to_jax": "needs JAX",
    "PyTreeDef.from_jax": "needs JAX",
    "PyTreeDef.to_torch": "needs PyTorch",
    "PyTreeDef.from_torch": "needs PyTorch",
}

# Calls that take so long that they are made less often.
SLOW = {
    "PyTreeDef/clone",
    "TreeDiff",
    "tree_diff",
    "tree_get_at",
    "tree_mask",
    "tree_replace_at",
    "tree_select",
    "tree_summary",
}

BAD_TREES = {
    "flatten": lambda: [1, BadFlatten(1)],
    "lt": lambda: [1, dict_with("lt")],
}
BAD_INPUTS = {
    **{name: (Broken, make()) for name, make in BAD_TREES.items()},
    "flatten_result": (ValueError, [1, BadResult(1)]),
    "deep": (RecursionError, functools.reduce(lambda tree, _: [tree], range(6000), 0)),
}
AUX_EQ = [WithAux("eq")]
# Calls that fail: the error, and a call without arguments.
ERRORS = {
    "PyTreeDef/hash": (Broken, lambda: hash(pax_tree.tree_structure(WithAux("hash")))),
    "PyTreeDef/repr": (Broken, lambda: repr(pax_tree.tree_structure(WithAux("repr")))),
    "PyTreeDef/eq": (
        Broken,
        lambda: operator.eq(*map(pax_tree.tree_structure, (AUX_EQ, AUX_EQ))),
    ),
    "PyTreeDef/new": (TypeError, pax_tree.PyTreeDef),
    "PyTreeDef/pickle": (
        Exception,
        lambda: pickle.dumps(pax_tree.tree_structure(WithAux("eq")), 9),
    ),
    "PyTreeDef.unflatten/few": (ValueError, lambda: STRUCTURE.unflatten(LEAVES[1:])),
    "PyTreeDef.unflatten/type": (TypeError, lambda: STRUCTURE.unflatten(3)),
    "PyTreeDef.unflatten/iter": (Broken, lambda: STRUCTURE.unflatten(map(broken, LEAVES))),
    "PyTreeDef.unflatten/class": (
        Broken,
        lambda: pax_tree.tree_structure([BadUnflatten(1)]).unflatten([1]),
    ),
    "PyTreeDef.flatten_up_to": (ValueError, lambda: STRUCTURE.flatten_up_to(MISMATCH)),
    "PyTreeDef.flatten_up_to/eq": (
        Broken,
        lambda: pax_tree.tree_structure(AUX_EQ).flatten_up_to(AUX_EQ),
    ),
    "PyTreeDef.compose": (TypeError, lambda: STRUCTURE.compose(3)),
    "PyTreeDef.paths": (
        Broken,
        lambda: pax_tree.tree_structure(Keyed(1)).compose(BAD_KEYS).paths(),
    ),
    "PyTreeDef.from_node_data_and_children": (
        ValueError,
        lambda: pax_tree.PyTreeDef.from_node_data_and_children((dict, ["a"]), []),
    ),
    "tree_flatten/arguments": (TypeError, lambda: pax_tree.tree_flatten(1, 2, 3)),
    "tree_flatten/keyword": (TypeError, lambda: pax_tree.tree_flatten(1, wrong=2)),
    "tree_leaves/none": (TypeError, lambda: pax_tree.tree_leaves()),
    "tree_map/none": (TypeError, lambda: pax_tree.tree_map()),
    "tree_map/mismatch": (ValueError, lambda: pax_tree.tree_map(first, SMALL, MISMATCH)),
    "tree_map/key": (ValueError, lambda: pax_tree.tree_map(first, SMALL, {"b": 1, "c": 1})),
    "tree_map/class": (ValueError, lambda: pax_tree.tree_map(first, [Keyed([1])], [Keyed((1,))])),
    "tree_map/eq": (Broken, lambda: pax_tree.tree_map(first, AUX_EQ, AUX_EQ)),
    "tree_map/unflatten": (Broken, lambda: pax_tree.tree_map(identity, BadUnflatten(1))),
    "tree_map_with_path/mismatch": (
        ValueError,
        lambda: pax_tree.tree_map_with_path(first, SMALL, MISMATCH),
    ),
    "flatten_one_level": (ValueError, lambda: pax_tree.flatten_one_level(LEAF)),
    "flatten_one_level/broken": (
        Broken,
        lambda: pax_tree.flatten_one_level(BadFlatten(1)),
    ),
    "flatten_one_level_with_keys": (
        ValueError,
        lambda: pax_tree.flatten_one_level_with_keys(LEAF),
    ),
    "is_tree_node": (TypeError, lambda: pax_tree.is_tree_node(1)),
    "PyTreeAccessor": (LookupError, lambda: pax_tree.PyTreeAccessor(STRUCTURE.paths()[0])(1)),
    "PyTreeAccessor/code": (ValueError, lambda: pax_tree.PyTreeAccessor(["x"]).codify()),
    "PyTreeDef.walk/few": (ValueError, lambda: STRUCTURE.walk(do_nothing, None, LEAVES[1:])),
    "PyTreeDef.walk/many": (ValueError, lambda: STRUCTURE.walk(do_nothing, None, 2 * LEAVES)),
    "PyTreeDef.walk/node": (Broken, lambda: STRUCTURE.walk(broken, None, LEAVES)),
    "PyTreeDef.walk/leaf": (Broken, lambda: STRUCTURE.walk(do_nothing, broken, LEAVES)),
    "tree_reduce_associative": (TypeError, lambda: pax_tree.tree_reduce_associative(first, [])),
    "tree_reduce/empty": (TypeError, lambda: pax_tree.tree_reduce(first, [])),
    "tree_transpose": (TypeError, lambda: pax_tree.tree_transpose(OUTER, INNER, SMALL)),
    "tree_unflatten": (ValueError, lambda: pax_tree.tree_unflatten(STRUCTURE, LEAVES * 2)),
    "dm.assert_same_structure": (
        TypeError,
        lambda: dm.assert_same_structure(SMALL, MISMATCH),
    ),
    "dm.assert_shallow_structure": (
        (TypeError, ValueError),
        lambda: dm.assert_shallow_structure(SMALL, MISMATCH),
    ),
    "dm.flatten_up_to": ((TypeError, ValueError), lambda: dm.flatten_up_to(SMALL, MISMATCH)),
    "dm.map_structure/types": (TypeError, lambda: dm.map_structure(first, SMALL, MISMATCH)),
    "dm.map_structure/none": (Exception, lambda: dm.map_structure()),
    "dm.map_structure/fails": (Broken, lambda: dm.map_structure(broken, SMALL)),
    "dm.traverse/fails": (Broken, lambda: dm.traverse(broken, SMALL)),
    "dm.unflatten_as/few": (ValueError, lambda: dm.unflatten_as(SMALL, [1])),
    "dm.unflatten_as/iter": (Exception, lambda: dm.unflatten_as(SMALL, map(broken, LEAVES))),
    "Partial": (TypeError, lambda: pax_tree.Partial(3)),
    "broadcast_prefix": (ValueError, lambda: pax_tree.broadcast_prefix(SMALL, MISMATCH)),
    "tree_broadcast_common": (
        ValueError,
        lambda: pax_tree.tree_broadcast_common(SMALL, MISMATCH),
    ),
    "tree_broadcast": (ValueError, lambda: pax_tree.tree_broadcast(SMALL, MISMATCH)),
    "tree_for_each": (ValueError, lambda: pax_tree.tree_for_each(do_nothing, SMALL, MISMATCH)),
    "tree_get_at": (LookupError, lambda: pax_tree.tree_get_at(SMALL, "['b'][2]")),
    "tree_get_at/type": (TypeError, lambda: pax_tree.tree_get_at(SMALL, 3)),
    "tree_replace_at": (LookupError, lambda: pax_tree.tree_replace_at(SMALL, "['c']", 1)),
    "tree_select": (TypeError, lambda: pax_tree.tree_select(SMALL, 3)),
    "tree_mask": (TypeError, lambda: pax_tree.tree_mask(SMALL, 3)),
    "tree_summary": (TypeError, lambda: pax_tree.tree_summary(SMALL, "x")),
    "tree_add": (ValueError, lambda: pax_tree.tree_add(SMALL, MISMATCH)),
    "tree_add/leaf": (TypeError, lambda: pax_tree.tree_add([1], ["x"])),
    "tree_subtract": (ValueError, lambda: pax_tree.tree_subtract(SMALL, MISMATCH)),
    "tree_neg": (TypeError, lambda: pax_tree.tree_neg(["x"])),
    "tree_scale": (TypeError, lambda: pax_tree.tree_scale(2.0, ["x"])),
    "tree_dot": (ValueError, lambda: pax_tree.tree_dot(SMALL, MISMATCH)),
    "tree_norm": (TypeError, lambda: pax_tree.tree_norm(["x"])),
    "tree_norm_sq": (TypeError, lambda: pax_tree.tree_norm_sq(["x"])),
    "tree_sum": (TypeError, lambda: pax_tree.tree_sum(["x"])),
    "tree_zeros_like": (TypeError, lambda: pax_tree.tree_zeros_like([object()])),
    "tree_ravel": (TypeError, lambda: pax_tree.tree_ravel(["x"])),
    "treedef_tuple": (TypeError, lambda: pax_tree.treedef_tuple([1])),
    "Record/missing": (AttributeError, lambda: RECORD.missing),
    "Record/delete": (AttributeError, lambda: delattr(RECORD, "missing")),
    "Record/static_hash": (Broken, lambda: setattr(RECORD, "mode", Key("a", "hash"))),
    "record_flatten": (TypeError, lambda: pax_tree.record_flatten(1)),
    "record_unflatten": (ValueError, lambda: pax_tree.record_unflatten(SPEC, ())),
    "record_spec": (TypeError, lambda: pax_tree.record_spec(1)),
    "record_set": (TypeError, lambda: pax_tree.record_set(RECORD, 1, 2, 3)),
    "record_with_spec": (TypeError, lambda: pax_tree.record_with_spec(RECORD, 1)),
    "register_pytree_node/class": (TypeError, lambda: pax_tree.register_pytree_node(1, 2, 3)),
    "register_pytree_node/again": (ValueError, lambda: pax_tree.register_static(Custom)),
    "unregister_pytree_node": (ValueError, lambda: pax_tree.unregister_pytree_node(Temporary)),
    "set_scope_hook": (TypeError, lambda: pax_tree.set_scope_hook(3)),
    "DictKey": (TypeError, lambda: pax_tree.DictKey()),
    "DictKey/hash": (Broken, lambda: hash(pax_tree.DictKey(Key("a", "hash")))),
    "DictKey/eq": (Broken, lambda: pax_tree.DictKey(Key("a", "eq")) == pax_tree.DictKey(1)),
    "DictKey/repr": (Broken, lambda: repr(pax_tree.DictKey(Key("a", "repr")))),
}


BAD_KEYS = pax_tree.tree_structure(BadKeys(1))


def public_names():
    """Every public function and class, and every method and attribute of the compiled classes."""
    yield from pax_tree.__all__
    yield from (f"dm.{name}" for name in dm.__all__)
    for cls in (pax_tree.PyTreeDef, pax_tree.RecordSpec):
        yield from (f"{cls.__name__}.{name}" for name in vars(cls) if not name.startswith("_"))


DM_BAD_INPUTS = {name: BAD_INPUTS[name] for name in ("lt", "deep")}


def name_of(case):
    """The public name that a case is of."""
    return case.partition("/")[0]
