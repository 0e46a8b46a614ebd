"""Trees that change while they are walked over, and threads that share them."""

import contextlib
import gc
import operator
import random
import sysconfig
import threading
from collections import OrderedDict, defaultdict, deque

import pytest
from odd_classes import Key, Node, Pair, Rec
from public_calls import DM_WALKS, DM_WITH_FUNCTION, WALKS, WITH_FUNCTION, WITH_IS_LEAF, first

import pax_tree

pytestmark = pytest.mark.usefixtures("quick_collections")

ALL_WALKS, ALL_WITH_FUNCTION = WALKS | DM_WALKS, WITH_FUNCTION | DM_WITH_FUNCTION
# A walk may say that a container has changed, or differs from itself, or lacks what it had.
CHANGED = (RuntimeError, ValueError, LookupError)
# Containers of trees, and how each of them can be changed.
CONTAINERS = {
    "list": (lambda *trees: [*trees], list.clear),
    "list_grows": (lambda *trees: [*trees], lambda tree: tree.extend([[7]] * 99)),
    "dict": (lambda *trees: dict(zip("bacd", trees, strict=False)), dict.clear),
    "dict_grows": (
        lambda *trees: dict(zip("bacd", trees, strict=False)),
        lambda tree: tree.update({f"k{i}": [i] for i in range(99)}),
    ),
    "dict_replaced": (
        lambda *trees: dict(zip("bacd", trees, strict=False)),
        lambda tree: tree.update({key: [8] for key in tree}),
    ),
    "ordered": (lambda *trees: OrderedDict(zip("bacd", trees, strict=False)), OrderedDict.clear),
    "default": (
        lambda *trees: defaultdict(list, zip("bacd", trees, strict=False)),
        defaultdict.clear,
    ),
    "deque": (lambda *trees: deque(trees), deque.clear),
    "record": (lambda *trees: Rec([*trees]), lambda record: setattr(record, "x", None)),
}
each_container = pytest.mark.parametrize(("make", "change"), CONTAINERS.values(), ids=CONTAINERS)


class Callback(Node):
    """Calls a function whenever it is flattened."""


pax_tree.register_pytree_with_keys(
    Callback,
    lambda node: (((pax_tree.GetAttrKey("x"), node.x()),), None),
    lambda aux, children: children[0],
    lambda node: ((node.x(),), None),
)


def changer(make, change, callback_first=True):
    """A tree with a node or leaf that changes all containers above it, and the function for that."""

    def change_all():
        if containers:
            change(containers.pop())
            change(containers.pop())
        return 0

    last = Callback(change_all)
    inner = make([1], last, [2]) if callback_first else make([1], [2])
    tree = make([0], inner, [3.5])
    containers = [tree, inner]
    return tree, change_all


@each_container
@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
def test_flatten_may_change_the_containers_above(walk, make, change):
    tree, _ = changer(make, change)
    with contextlib.suppress(*CHANGED):
        walk(tree)


@each_container
@pytest.mark.parametrize("call", WITH_IS_LEAF.values(), ids=WITH_IS_LEAF)
@pytest.mark.parametrize("when", [0, 1, 3])
def test_is_leaf_may_change_the_containers_above(call, make, change, when):
    tree, change_all = changer(make, change, callback_first=False)
    asked = []

    def is_leaf(node):
        asked.append(node)
        if len(asked) == when + 1:
            change_all()
        return False

    with contextlib.suppress(*CHANGED):
        call(is_leaf, tree)


@each_container
@pytest.mark.parametrize("call", ALL_WITH_FUNCTION.values(), ids=ALL_WITH_FUNCTION)
def test_functions_of_leaves_may_change_the_containers_above(call, make, change):
    tree, change_all = changer(make, change, callback_first=False)
    expected = pax_tree.tree_leaves(tree)
    seen = []

    def f(*arguments):
        change_all()
        seen.extend(leaf for leaf in expected if any(leaf is given for given in arguments))
        return arguments[-1]

    try:
        call(f, tree)
    except CHANGED:
        return
    assert call not in WITH_FUNCTION.values() or any(seen[0] is leaf for leaf in expected)


@pytest.mark.parametrize("name", ["list", "dict", "ordered", "deque", "record"])
@pytest.mark.parametrize("with_path", [False, True], ids=["map", "map_with_path"])
def test_a_map_sees_each_container_as_it_was(name, with_path):
    make, change = CONTAINERS[name]
    tree, other = make([1], [2], [3]), make([1], [2], [3])
    expected = pax_tree.tree_leaves(tree)

    def f(*arguments):
        change(tree)
        change(other)
        return arguments[-1]

    function = pax_tree.tree_map_with_path if with_path else pax_tree.tree_map
    assert pax_tree.tree_leaves(function(f, tree, other)) == expected


class Clearing(Key):
    """A key that empties its dict when it is compared."""

    tree: dict

    def __lt__(self, other):
        self.tree.clear()
        return True

    def __eq__(self, other):
        if self.method == "eq":
            self.tree.clear()
        return self is other

    __hash__ = Key.__hash__


def change_by_comparing(make):
    tree = make({Clearing("b"): [1], Clearing("a"): [2]})
    Clearing.tree = tree
    return tree


each_dict = pytest.mark.parametrize(
    "make", [dict, lambda d: defaultdict(int, d)], ids=["dict", "default"]
)


@each_dict
@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
def test_keys_may_change_their_dict(walk, make):
    with pytest.raises(RuntimeError, match="changed while it was being"):
        walk(change_by_comparing(make))


@each_dict
@pytest.mark.parametrize("walk", DM_WALKS.values(), ids=DM_WALKS)
def test_keys_may_change_their_dict_for_dm_tree(walk, make):
    with contextlib.suppress(*CHANGED):  # a defaultdict makes the missing values anew
        walk(change_by_comparing(make))


def test_leaves_that_change_during_unflatten():
    class Shrink:
        def __init__(self, *_):
            leaves.clear()

    pax_tree.register_pytree_node(Shrink, lambda s: ((0,), None), lambda a, c: Shrink(c))
    leaves = [1, 2]
    structure = pax_tree.tree_structure([Shrink.__new__(Shrink), 0])
    if sysconfig.get_config_var("Py_GIL_DISABLED"):  # then the list is copied first
        assert structure.unflatten(leaves)[1] == 2
    else:
        with pytest.raises(RuntimeError, match="list of leaves changed"):
            structure.unflatten(leaves)


def test_a_walk_within_a_walk():
    class Outer:
        def __init__(self, x):
            self.x = x

    pax_tree.register_pytree_node(
        Outer,
        lambda node: pax_tree.tree_flatten(node.x),
        lambda structure, leaves: Outer(structure.unflatten(leaves)),
    )
    tree = [0, Outer({"a": [1, Outer((2, 3))]}), 4]
    leaves, structure = pax_tree.tree_flatten(tree)
    assert leaves == [0, 1, 2, 3, 4]
    assert pax_tree.tree_leaves(structure.unflatten(leaves)) == leaves
    mapped = pax_tree.tree_map(lambda x: pax_tree.tree_leaves([x])[0], tree)
    assert pax_tree.tree_leaves(mapped) == leaves


class Member:
    """An object that says when it is gone, and can hold anything."""

    def __del__(self):
        Member.gone += 1


pax_tree.register_pytree_node(Member, lambda m: ((), m), lambda aux, _: aux)


def through_custom(member):
    member.held = pax_tree.tree_structure(member)


def through_dict_keys(member):
    member.held = pax_tree.tree_structure({member: 1, "b": [2]})


def through_factory(member):
    member.held = pax_tree.tree_structure(defaultdict(member.__init__, a=1))


def through_ordered_keys(member):
    member.held = pax_tree.tree_structure([OrderedDict({member: 1})])


def through_record_child(member):
    member.held = Rec(member)


def through_record_static(member):
    member.held = Rec(1, mode=member)


def through_record_structure(member):
    member.held = pax_tree.tree_structure(Rec(1, mode=member))


def through_path_key(member):
    member.held = pax_tree.DictKey((member,))


def through_path_keys(member):
    member.held = [path for path, _ in pax_tree.tree_leaves_with_path({member: 1, "b": 2})]


def through_unflattened(member):
    member.held = pax_tree.tree_structure([Rec(0)]).unflatten([[member]])


@pytest.mark.parametrize(
    "tie",
    [
        through_custom, through_dict_keys, through_factory, through_ordered_keys,
        through_record_child, through_record_static, through_record_structure, through_path_key,
        through_path_keys, through_unflattened,
    ],
)  # fmt: skip
def test_cycles_are_collected(tie):
    gc.collect()
    Member.gone = 0
    for _ in range(10):
        tie(Member())
    gc.collect()
    remembered = 4 if tie is through_record_static else 0  # the class's last static values
    assert Member.gone >= 10 - remembered


def in_threads(work, count=8):
    failures = []

    def run():
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_threads_share_trees():
    trees = [
        {f"k{i}": [i, Pair(i, {"x": i, "y": Rec(i)})] for i in range(j, 0, -1)}
        for j in range(1, 15)
    ]
    expected = [pax_tree.tree_leaves(tree) for tree in trees]
    structures = [pax_tree.tree_structure(tree) for tree in trees]

    def work():
        for _ in range(20):
            for tree, leaves, same in zip(trees, expected, structures, strict=True):
                got, structure = pax_tree.tree_flatten(tree)
                mapped = pax_tree.tree_map(operator.neg, tree)
                assert got == leaves
                assert structure == same
                assert hash(structure) == hash(same)
                assert pax_tree.tree_leaves(structure.unflatten(leaves)) == leaves
                assert pax_tree.tree_leaves(mapped) == [-leaf for leaf in leaves]
                assert structure.paths() == [
                    path for path, _ in pax_tree.tree_leaves_with_path(tree)
                ]

    in_threads(work)


def test_threads_share_trees_that_change():
    tree = {f"k{i}": [0, OrderedDict(a=(0, 0)), deque([0])] for i in range(5)}
    tree["record"] = Rec([0])
    structure, finished = pax_tree.tree_structure(tree), threading.Event()

    def change():
        chance = random.Random(0)
        while not finished.is_set():
            container = tree[f"k{chance.randrange(5)}"]
            chance.choice([container.reverse, container[:].clear, lambda: tree.update(new=[0])])()
            tree.pop("new", None)
            tree["record"].x = [0] * chance.randrange(3)

    def work():
        for _ in range(100):
            for call in (
                lambda: pax_tree.tree_leaves(tree),
                lambda: pax_tree.tree_leaves(pax_tree.tree_map(first, tree, tree)),
                lambda: pax_tree.tree_leaves(pax_tree.tree_map_with_path(lambda _, x: x, tree)),
                lambda: structure.unflatten([0] * structure.num_leaves) and [0],
                lambda: pax_tree.tree_flatten(tree)[0],
            ):
                with contextlib.suppress(*CHANGED):
                    assert set(call()) == {0}

    changing = threading.Thread(target=change)
    changing.start()
    try:
        in_threads(work)
    finally:
        finished.set()
        changing.join()


def test_threads_register_and_adopt():
    def work():
        for _ in range(50):
            cls = type("Local", (Node,), {})
            pax_tree.register_pytree_node_class(cls)
            tree = [cls(1), {"a": cls(2)}]
            assert pax_tree.tree_leaves(tree) == [1, 2]
            assert pax_tree.tree_structure(tree) == pax_tree.tree_structure(tree)
            pax_tree.unregister_pytree_node(cls)
            assert pax_tree.tree_leaves(tree) == [tree[0], tree[1]["a"]]

    in_threads(work)
