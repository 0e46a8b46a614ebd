"""tree_flatten, tree_leaves, tree_structure and tree_unflatten on every kind of container."""

import itertools
from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest

import pax_tree

Point = namedtuple("Point", "x y")


class Checked(namedtuple("Checked", "low high")):
    """A named tuple with a __new__ of its own."""

    def __new__(cls, low, high):
        return super().__new__(cls, min(low, high), max(low, high))


CASES = {
    "leaf": (1, [1], "*"),
    "none": (None, [], "None"),
    "tuple": ((1, (2,)), [1, 2], "(*, (*,))"),
    "empty_tuple": ((), [], "()"),
    "list": ([1, [], [2]], [1, 2], "[*, [], [*]]"),
    "dict": ({"b": 1, "a": 2}, [2, 1], "{'a': *, 'b': *}"),
    "dict_of_tuples": ({(1, 2): 3, (0, 1): 2}, [2, 3], "{(0, 1): *, (1, 2): *}"),
    "dict_mixed_keys": ({"a": 1, 1: 2, None: 3}, [3, 2, 1], "{None: *, 1: *, 'a': *}"),
    "named_tuple": (Point(1, [2]), [1, 2], "CustomNode(namedtuple[Point], [*, [*]])"),
    "named_tuple_with_new": (Checked(2, 1), [1, 2], "CustomNode(namedtuple[Checked], [*, *])"),
    "ordered_dict": (OrderedDict(b=1, a=2), [1, 2], "CustomNode(OrderedDict[('b', 'a')], [*, *])"),
    "defaultdict": (
        defaultdict(list, {"b": 1, "a": 2}),
        [2, 1],
        "CustomNode(defaultdict[(<class 'list'>, ('a', 'b'))], [*, *])",
    ),
    "deque": (deque([1, 2], maxlen=3), [1, 2], "CustomNode(deque[3], [*, *])"),
    "str": ("text", ["text"], "*"),
}


@pytest.mark.parametrize(("tree", "leaves", "text"), CASES.values(), ids=CASES)
def test_flatten_gives_leaves_and_structure_and_back(tree, leaves, text):
    got, structure = pax_tree.tree_flatten(tree)
    assert got == leaves
    assert pax_tree.tree_leaves(tree) == leaves
    assert repr(structure) == f"PyTreeDef({text})"
    assert structure == pax_tree.tree_structure(tree)
    assert structure.num_leaves == len(leaves)
    back = pax_tree.tree_unflatten(structure, iter(leaves))
    assert back == tree
    assert type(back) is type(tree)


def test_unflatten_keeps_what_leaves_do_not_hold():
    tree = {"d": defaultdict(list, b=1, a=2), "q": deque([1], maxlen=5), "o": OrderedDict(z=1, y=2)}
    back = pax_tree.tree_map(lambda leaf: leaf, tree)
    assert list(back) == ["d", "q", "o"]
    assert back["d"].default_factory is list
    assert list(back["d"]) == ["b", "a"]
    assert back["q"].maxlen == 5
    assert list(back["o"]) == ["z", "y"]


def test_ordered_dict_keeps_the_order_of_move_to_end():
    tree = OrderedDict(a=1, b=2)
    tree.move_to_end("a")
    assert pax_tree.tree_leaves(tree) == [2, 1]
    assert list(pax_tree.tree_map(lambda leaf: leaf, tree)) == ["b", "a"]


def test_subclasses_of_containers_are_leaves():
    class Names(list):
        pass

    class Table(dict):
        pass

    names, table = Names([1]), Table(a=1)
    leaves = pax_tree.tree_leaves([names, table])
    assert leaves[0] is names
    assert leaves[1] is table


@pytest.mark.parametrize(
    ("none_is_leaf", "leaves"), [(False, [1]), (True, [None, 1])], ids=["node", "leaf"]
)
def test_none(none_is_leaf, leaves):
    tree = [None, 1]
    assert pax_tree.tree_leaves(tree, none_is_leaf=none_is_leaf) == leaves
    got, structure = pax_tree.tree_flatten(tree, none_is_leaf=none_is_leaf)
    assert structure.unflatten(got) == tree


def test_is_leaf_is_asked_from_the_root_down():
    seen = []

    def is_leaf(node):
        seen.append(node)
        return isinstance(node, tuple)

    tree = {"a": (1, 2), "b": [3]}
    assert pax_tree.tree_leaves(tree, is_leaf) == [(1, 2), 3]
    assert seen == [tree, (1, 2), [3], 3]


def test_keys_with_an_order_of_their_own_propagate_errors():
    class Key:
        def __lt__(self, other):
            raise TypeError("no order today")

    with pytest.raises(TypeError, match="no order today"):
        pax_tree.tree_leaves({Key(): 1, Key(): 2})


@pytest.mark.parametrize(("count", "word"), [(1, "few"), (3, "many")])
def test_unflatten_needs_the_right_number_of_leaves(count, word):
    structure = pax_tree.tree_structure([0, 0])
    message = f"Too {word} leaves: the structure has 2, but {count} were given"
    with pytest.raises(ValueError, match=message):
        structure.unflatten([0] * count)


def test_unflatten_needs_an_iterable():
    with pytest.raises(TypeError, match="iterable of leaves"):
        pax_tree.tree_structure([0]).unflatten(3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: pax_tree.tree_flatten(),
        lambda: pax_tree.tree_flatten(1, None, False),
        lambda: pax_tree.tree_flatten(1, leaf=2),
        lambda: pax_tree.tree_flatten(1, tree=2),
        lambda: pax_tree.tree_map(),
    ],
    ids=["missing", "too_many", "unknown", "twice", "map_missing"],
)
def test_wrong_arguments_are_type_errors(call):
    with pytest.raises(TypeError, match=r"tree_(flatten|map)\(\)"):
        call()


def test_unflatten_takes_no_more_of_an_iterable_than_it_needs():
    structure, taken = pax_tree.tree_structure([1, 2]), itertools.count()
    with pytest.raises(ValueError, match="the structure has 2, but at least 3 were given"):
        structure.unflatten(taken)
    assert next(taken) == 3
    with pytest.raises(ValueError, match="the structure has 2, but 1 were given"):
        structure.unflatten(iter([1]))
    assert structure.unflatten(iter([3, 4])) == [3, 4]
    assert structure.unflatten({3: 0, 4: 0}) == [3, 4]
    with pytest.raises(TypeError, match="takes an iterable of leaves, but got a int"):
        structure.unflatten(3)


def test_errors_of_an_iterable_of_leaves_propagate():
    def leaves():
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        pax_tree.tree_structure([1, 2]).unflatten(leaves())
