"""Deep and cyclic trees, errors from user code, containers that change, threads."""

import gc
import operator
import sys
import threading
from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest

import pax_tree

Pair = namedtuple("Pair", "a b")


class Box(pax_tree.Record):
    def __init__(self, content):
        pax_tree.record_set(self, "content", content, 0)


WRAPPERS = {
    "list": lambda tree: [tree],
    "tuple": lambda tree: (tree,),
    "dict": lambda tree: {"a": tree},
    "ordered": lambda tree: OrderedDict(a=tree),
    "default": lambda tree: defaultdict(int, a=tree),
    "deque": lambda tree: deque([tree]),
    "named": lambda tree: Pair(tree, 1),
    "record": Box,
}
FUNCTIONS = {
    "flatten": pax_tree.tree_flatten,
    "leaves": pax_tree.tree_leaves,
    "map": lambda tree: pax_tree.tree_map(id, tree),
    "map_two": lambda tree: pax_tree.tree_map(lambda a, b: a, tree, tree),
    "leaves_with_path": pax_tree.tree_leaves_with_path,
    "map_with_path": lambda tree: pax_tree.tree_map_with_path(lambda p, x: x, tree),
}  # fmt: skip


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_deep_trees_end_in_recursion_error(wrap, function):
    tree = 0
    # CPython itself cannot free a deeper chain of defaultdicts
    for _ in range(5_000 if wrap is WRAPPERS["default"] else 20_000):
        tree = wrap(tree)
    with pytest.raises(RecursionError):
        function(tree)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_raised_recursion_limit_is_no_danger(function):
    tree = 0
    for _ in range(50_000):
        tree = [tree]
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)
    try:
        with pytest.raises(RecursionError, match="deeper than 5000 levels"):
            function(tree)
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_cycles_end_in_recursion_error(function):
    cycle = []
    cycle.append({"again": cycle})
    with pytest.raises(RecursionError):
        function(cycle)


def test_deep_structures_end_in_recursion_error():
    structure = pax_tree.tree_structure([0])
    for _ in range(14):
        structure = structure.compose(structure)
    for function in (
        repr,
        lambda s: s.unflatten([0]),
        lambda s: pax_tree._C._make_treedef(s.__reduce__()[1][0]),
    ):
        with pytest.raises(RecursionError):
            function(structure)
    assert structure == pax_tree.tree_structure(0).compose(structure)
    assert hash(structure) == hash(structure.compose(pax_tree.tree_structure(0)))


def broken(*_):
    raise LookupError("broken")


class BadHash:
    def __hash__(self):
        broken()


class BadEq:
    def __eq__(self, other):
        broken()

    def __hash__(self):
        return 1


class BadNew(namedtuple("BadNew", "a")):
    def __new__(cls, a):
        return broken() if a == "bad" else super().__new__(cls, a)


def make_custom(aux):
    class Custom:
        pass

    pax_tree.register_pytree_node(Custom, lambda c: ((0,), aux()), lambda a, c: Custom())
    return Custom()


RAISING = {
    "map": lambda: pax_tree.tree_map(broken, [1, {"a": 2}]),
    "map_with_path": lambda: pax_tree.tree_map_with_path(broken, [1, {"a": 2}]),
    "is_leaf": lambda: pax_tree.tree_leaves([1], is_leaf=broken),
    "is_leaf_truth": lambda: pax_tree.tree_leaves([1], is_leaf=lambda n: type("T", (), {"__bool__": broken})()),
    "aux_eq": lambda: pax_tree.tree_map(lambda a, b: 0, *[make_custom(BadEq)] * 2),
    "treedef_eq": lambda: operator.eq(*map(pax_tree.tree_structure, [make_custom(BadEq)] * 2)),
    "treedef_hash": lambda: hash(pax_tree.tree_structure(make_custom(BadHash))),
    "new": lambda: pax_tree.tree_map(lambda x: "bad", BadNew(1)),
    "reduce": lambda: pax_tree.tree_reduce(broken, [1, 2]),
    "leaves_iterator": lambda: pax_tree.tree_structure([0]).unflatten(broken() for _ in range(1)),
    "static_hash": lambda: setattr(pax_tree.Record(), "x", BadHash()),
}  # fmt: skip


@pytest.mark.parametrize("function", RAISING.values(), ids=RAISING)
def test_errors_of_user_code_propagate(function):
    with pytest.raises(LookupError, match="broken"):
        function()


def test_leaves_are_never_compared_or_converted():
    class Weird:
        __eq__ = __hash__ = __bool__ = __len__ = __iter__ = __getattr__ = broken  # type: ignore[assignment]

    weird = [Weird(), float("nan"), int, pytest, type]
    leaves, structure = pax_tree.tree_flatten({"a": weird})
    for got, given in zip(leaves, weird, strict=True):
        assert got is given
    assert structure.unflatten(leaves)["a"][0] is weird[0]
    pax_tree.tree_map(lambda a, b: None, weird, weird)


@pytest.mark.parametrize("with_path", [False, True], ids=["map", "map_with_path"])
@pytest.mark.parametrize(
    ("make", "clear"),
    [
        (lambda: [[1], [2], [3]], list.clear),
        (lambda: {"a": [1], "b": [2]}, dict.clear),
        (lambda: {"a": [1], "b": [2]}, lambda d: d.update(c=3, b=4)),
        (lambda: OrderedDict(a=[1], b=[2]), OrderedDict.clear),
        (lambda: deque([[1], [2]]), deque.clear),
        (lambda: Box([[1], [2]]), lambda box: setattr(box, "content", None)),
    ],
    ids=["list", "dict", "dict_grows", "ordered", "deque", "record"],
)
def test_containers_may_change_during_a_map(make, clear, with_path):
    tree, other = make(), make()
    expected = pax_tree.tree_leaves(make())

    def f(*arguments):
        clear(tree)
        clear(other)
        gc.collect()
        return arguments[-1]

    function = pax_tree.tree_map_with_path if with_path else pax_tree.tree_map
    assert pax_tree.tree_leaves(function(f, tree, other)) == expected


def test_a_dict_that_changes_while_its_keys_are_sorted():
    class Key:
        def __lt__(self, other):
            tree.clear()
            return True

    tree = {Key(): 1, Key(): 2}
    with pytest.raises(RuntimeError, match="A dict changed while it was being flattened"):
        pax_tree.tree_leaves(tree)


def test_leaves_that_change_during_unflatten():
    class Shrink:
        def __init__(self, *_):
            leaves.clear()

    pax_tree.register_pytree_node(Shrink, lambda s: ((0,), None), lambda a, c: Shrink(c))
    leaves = [1, 2]
    structure = pax_tree.tree_structure([Shrink.__new__(Shrink), 0])
    with pytest.raises(RuntimeError, match="list of leaves changed"):
        structure.unflatten(leaves)


def test_a_walk_within_a_walk():
    class Outer:
        def __init__(self, x):
            self.x = x

    def flatten(node):
        leaves, structure = pax_tree.tree_flatten(node.x)
        return leaves, structure

    pax_tree.register_pytree_node(Outer, flatten, lambda s, leaves: Outer(s.unflatten(leaves)))
    tree = [0, Outer({"a": [1, Outer((2, 3))]}), 4]
    leaves, structure = pax_tree.tree_flatten(tree)
    assert leaves == [0, 1, 2, 3, 4]
    assert pax_tree.tree_leaves(structure.unflatten(leaves)) == leaves
    assert (
        pax_tree.tree_leaves(pax_tree.tree_map(lambda x: pax_tree.tree_leaves([x])[0], tree))
        == leaves
    )


def test_custom_nodes_in_cycles_are_collected():
    class Node:
        pass

    pax_tree.register_pytree_node(Node, lambda n: ((), n), lambda a, c: a)
    node = Node()
    node.structure = pax_tree.tree_structure(node)
    alive = []
    type(node).__del__ = lambda self: alive.append(1)
    del node
    gc.collect()
    assert alive == [1]


def test_threads_share_trees():
    trees = [
        {f"k{i}": [i, (i, {"x": i, "y": None})] for i in range(j, 0, -1)} for j in range(1, 20)
    ]
    expected = [pax_tree.tree_leaves(tree) for tree in trees]
    failures = []

    def work():
        try:
            for _ in range(50):
                for tree, leaves in zip(trees, expected, strict=True):
                    got, structure = pax_tree.tree_flatten(tree)
                    mapped = pax_tree.tree_map(operator.neg, tree)
                    assert got == leaves
                    assert structure.unflatten(leaves) == tree
                    assert pax_tree.tree_leaves(mapped) == [-leaf for leaf in leaves]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_million_leaves():
    tree = [list(range(1000)) for _ in range(1000)]
    leaves, structure = pax_tree.tree_flatten(tree)
    assert len(leaves) == structure.num_leaves == 1_000_000
    assert structure.unflatten(leaves) == tree
