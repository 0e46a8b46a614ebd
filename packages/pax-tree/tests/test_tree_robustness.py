"""Deep and cyclic trees, errors from user code, odd leaves, huge trees."""

import contextlib
import functools
import itertools
import pickle
import subprocess
import sys
from collections import OrderedDict, defaultdict, deque

import pytest
from odd_classes import BadUnflatten, Broken, Custom, Key, Keyed, Pair, Rec, broken, dict_with
from public_calls import (
    AUX_EQ,
    DM_WALKS,
    DM_WITH_FUNCTION,
    WALKS,
    WITH_FUNCTION,
    WITH_IS_LEAF,
    first,
)

import pax_tree

ALL_WALKS = WALKS | DM_WALKS
each_walk = pytest.mark.parametrize("walk", ALL_WALKS.values(), ids=ALL_WALKS)
WRAPPERS = {
    "list": lambda tree: [tree],
    "tuple": lambda tree: (tree,),
    "dict": lambda tree: {"a": tree},
    "ordered": lambda tree: OrderedDict(a=tree),
    "default": lambda tree: defaultdict(int, a=tree),
    "deque": lambda tree: deque([tree]),
    "named": lambda tree: Pair(tree, 1),
    "record": Rec,
    "custom": Custom,
    "keyed": Keyed,
}
LEAVES_OF_DM_TREE = ("record", "custom", "keyed")
WALKS_AND_WRAPPERS = [
    pytest.param(function, wrap, id=f"{walk}-{wrapper}")
    for walk, function in ALL_WALKS.items()
    for wrapper, wrap in WRAPPERS.items()
    if walk not in DM_WALKS or wrapper not in LEAVES_OF_DM_TREE
]
# What walks over a structure.
OVER_STRUCTURES = {
    "repr": repr,
    "unflatten": lambda structure: structure.unflatten([0]),
    "flatten_up_to": lambda structure: structure.flatten_up_to(nest(20_000)),
    "paths": pax_tree.PyTreeDef.paths,
    "unpickle": lambda structure: pickle.loads(pickle.dumps(structure)),
}
each_over_structures = pytest.mark.parametrize(
    "function", OVER_STRUCTURES.values(), ids=OVER_STRUCTURES
)


def nest(depth, wrap=lambda tree: [tree]):
    return functools.reduce(lambda tree, _: wrap(tree), range(depth), 0)


def deep_structure():
    structure = pax_tree.tree_structure([0])
    for _ in range(14):
        structure = structure.compose(structure)
    return structure


def room():
    """How many more calls the recursion limit allows."""
    try:
        return 1 + room()
    except RecursionError:
        return 0


@pytest.mark.parametrize(("walk", "wrap"), WALKS_AND_WRAPPERS)
def test_deep_trees_end_in_recursion_error(walk, wrap):
    # Deeper than 5,000 levels, which is the limit where that of the interpreter is higher; CPython
    # itself cannot free a much deeper chain of some of these.
    tree = nest(5_500 if wrap in (WRAPPERS["default"], Custom, Keyed) else 20_000, wrap)
    before = room()
    with pytest.raises(RecursionError):
        walk(tree)
    assert room() == before


@contextlib.contextmanager
def recursion_limit(limit):
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(limit)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


@each_walk
def test_a_raised_recursion_limit_is_no_danger(walk):
    tree = nest(8_000)
    with recursion_limit(10**6), contextlib.suppress(RecursionError):
        walk(tree)


COMPILED = ["tree_flatten", "tree_leaves_with_path", "tree_map", "tree_map/two", "dm.map_structure"]


@pytest.mark.parametrize("walk", COMPILED)
def test_compiled_walks_have_a_limit_of_their_own(walk):
    tree = nest(100_000)
    with recursion_limit(10**6), pytest.raises(RecursionError):
        ALL_WALKS[walk](tree)


def cyclic_list():
    tree = []
    tree.append({"again": tree})
    return tree


def cyclic_custom():
    tree = Keyed(None)
    tree.x = [tree]
    return tree


def cyclic_record():
    content = []
    content.append(Rec(content))
    return content


def cyclic_deque():
    tree = OrderedDict()
    tree["a"] = deque([defaultdict(int, b=tree)])
    return tree


@pytest.mark.parametrize("make", [cyclic_list, cyclic_deque])
@each_walk
def test_cycles_end_in_recursion_error(make, walk):
    with pytest.raises(RecursionError):
        walk(make())


@pytest.mark.parametrize("make", [cyclic_custom, cyclic_record])
@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
def test_cycles_through_own_classes_end_in_recursion_error(make, walk):
    with pytest.raises(RecursionError):
        walk(make())


@each_over_structures
@pytest.mark.parametrize("limit", [None, 10**6])
def test_deep_structures_end_in_recursion_error(function, limit):
    structure = deep_structure()
    with recursion_limit(limit or sys.getrecursionlimit()), pytest.raises(RecursionError):
        function(structure)


def test_deep_structures_are_compared_and_hashed():
    structure = deep_structure()
    leaf = pax_tree.tree_structure(0)
    assert structure == leaf.compose(structure)
    assert hash(structure) == hash(structure.compose(leaf))


class BadTruth:
    __bool__ = broken


ALL_WITH_FUNCTION = WITH_FUNCTION | DM_WITH_FUNCTION


@pytest.mark.parametrize("call", ALL_WITH_FUNCTION.values(), ids=ALL_WITH_FUNCTION)
def test_errors_of_functions_of_leaves_propagate(call):
    for tree in (1, [1, {"a": (2,)}], Keyed([Rec(1)])):
        with pytest.raises(Broken, match="broken"):
            call(broken, tree)


@pytest.mark.parametrize("call", WITH_IS_LEAF.values(), ids=WITH_IS_LEAF)
@pytest.mark.parametrize("when", range(4))
def test_errors_of_is_leaf_propagate(call, when):
    def fail_late(_):
        return broken() if next(count) >= when else False

    count = itertools.count()
    with pytest.raises(Broken, match="broken"):
        call(fail_late, [1, {"a": (2,)}])
    with pytest.raises(Broken, match="broken"):
        call(lambda _: BadTruth(), [1])


@pytest.mark.parametrize("make", [dict, OrderedDict, lambda d: defaultdict(int, d)])
@pytest.mark.parametrize("method", ["lt", "eq", "hash", "repr"])
@each_walk
def test_errors_of_keys_propagate(walk, method, make):
    keys = [Key("b"), Key("a")]
    tree = make(dict.fromkeys(keys, 1))
    for key in keys:
        key.method = method
    try:
        walk(tree)
    except (Broken, ValueError):  # dm.unflatten_as is called with leaves of another number
        return
    assert method != "lt" or isinstance(tree, OrderedDict)


def test_errors_of_keys_propagate_from_structures():
    structure = pax_tree.tree_structure(dict_with("repr"))
    with pytest.raises(Broken):
        repr(structure)
    keys = [Key("b"), Key("a")]
    structures = [
        pax_tree.tree_structure(dict.fromkeys(some)) for some in (keys, [Key("a"), Key("b")])
    ]
    keys[0].method = keys[1].method = "eq"
    with pytest.raises(Broken):
        structures[0] == structures[1]
    keys[0].method = "hash"
    for function in (hash, lambda s: s.unflatten([])):
        with pytest.raises(Broken):
            function(structures[0])


@pytest.mark.parametrize(
    "call",
    [
        lambda: pax_tree.tree_map(first, AUX_EQ, AUX_EQ),
        lambda: pax_tree.tree_structure(AUX_EQ) == pax_tree.tree_structure(AUX_EQ),
        lambda: pax_tree.tree_structure(AUX_EQ).flatten_up_to(AUX_EQ),
        lambda: pax_tree.tree_map(first, BadUnflatten(1)),
        lambda: pax_tree.tree_structure(BadUnflatten(1)).unflatten([1]),
        lambda: pax_tree.tree_structure([0]).unflatten(broken() for _ in range(1)),
        lambda: pax_tree.tree_structure([0]).unflatten(BadIterable()),
        lambda: pax_tree.tree_map(lambda _: "bad", BadNew(1)),
        lambda: setattr(Rec(1), "mode", Key("a", "hash")),
    ],
)
def test_errors_of_classes_propagate(call):
    with pytest.raises(Broken, match="broken"):
        call()


class BadIterable:
    __iter__ = broken


class BadNew(Pair):
    def __new__(cls, x, y=1):
        return broken() if x == "bad" else super().__new__(cls, x, y)


class Weird:
    """Nothing that one could ask an object works."""

    __eq__ = __hash__ = __bool__ = __len__ = __iter__ = __getattr__ = __lt__ = broken


class Liar:
    """Says that it is a list."""

    __class__ = list


class EqualToArrays:
    def __eq__(self, other):
        return [True, False]

    __hash__ = None


class Meta(type):
    """Classes that cannot be compared or hashed, and have no attributes."""

    __eq__ = __bool__ = broken
    __hash__ = type.__hash__


WEIRD = [
    Weird(), Liar(), EqualToArrays(), Meta("Odd", (), {})(), Meta("Odd", (), {}),
    float("nan"), int, type, pytest, NotImplemented, ..., object(), print, iter([]), lambda: None,
    b"bytes", "text", range(3), {1, 2}, frozenset(), memoryview(b""), 10**100, Exception(), slice(3),
]  # fmt: skip


@pytest.mark.parametrize("leaf", WEIRD, ids=lambda leaf: type(leaf).__name__)
def test_leaves_are_never_compared_or_converted(leaf):
    tree = {"a": [leaf, (leaf,)], "b": Rec(Keyed(leaf))}
    leaves, structure = pax_tree.tree_flatten(tree)
    assert [id(got) for got in leaves] == [id(leaf)] * 3
    assert structure.unflatten(leaves)["a"][0] is leaf
    assert [id(got) for _, got in pax_tree.tree_leaves_with_path(tree)] == [id(leaf)] * 3
    assert pax_tree.tree_map(first, tree, tree)["a"][0] is leaf
    assert structure.flatten_up_to(tree)[2] is leaf
    with pytest.raises(ValueError, match=r"at \['a'\]"):
        pax_tree.tree_map(first, {"a": [1]}, {"a": leaf})


def test_subclasses_of_containers_are_leaves():
    for cls in (list, dict, deque, OrderedDict, tuple, defaultdict):
        derived = type("Derived", (cls,), {})()
        assert pax_tree.tree_leaves([derived])[0] is derived


TEN_MILLION = """
import resource, sys
import pax_tree

tree = [list(range(1000))] * 10_000
assert len(pax_tree.tree_leaves(tree)) == 10_000_000
leaves, structure = pax_tree.tree_flatten(tree)
assert structure.num_leaves == len(leaves) == 10_000_000
assert structure.unflatten(leaves) == tree
del leaves, structure
assert pax_tree.tree_map(lambda leaf: leaf, tree)[-1] == tree[-1]
if sys.platform == "linux":  # where the maximum of getrusage is at least what the parent used
    with open("/proc/self/status", encoding="ascii") as file:
        status = dict(line.split(":", 1) for line in file)
    print(int(status["VmHWM"].split()[0]) // 1024)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024**2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="asks for the memory as POSIX does")
def test_ten_million_leaves_in_two_gibibytes(record_property):
    done = subprocess.run(
        [sys.executable, "-c", TEN_MILLION], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    record_property("mebibytes", int(done.stdout))
    assert int(done.stdout) < 2048
