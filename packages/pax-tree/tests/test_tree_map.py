"""tree_map, tree_reduce, tree_all, tree_transpose."""

import operator
from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest

import pax_tree

Point = namedtuple("Point", "x y")


def test_map_keeps_containers_and_key_order():
    tree = {"b": (1, [2]), "a": Point(3, None)}
    result = pax_tree.tree_map(lambda leaf: -leaf, tree)
    assert result == {"b": (-1, [-2]), "a": Point(-3, None)}
    assert list(result) == ["b", "a"]


def test_map_calls_in_the_order_of_the_leaves():
    seen = []
    pax_tree.tree_map(seen.append, {"b": 1, "a": [2, 3]})
    assert seen == [2, 3, 1]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_map_over_several_trees(count):
    trees = [{"a": [k, 2 * k], "b": {"c": 3 * k}} for k in range(1, count + 1)]
    total = pax_tree.tree_map(lambda *leaves: sum(leaves), *trees)
    s = sum(range(1, count + 1))
    assert total == {"a": [s, 2 * s], "b": {"c": 3 * s}}


def test_map_matches_dicts_by_key():
    other = {"a": 10, "b": 20}
    assert pax_tree.tree_map(operator.add, {"b": 2, "a": 1}, other) == {"b": 22, "a": 11}


def test_map_matches_dicts_whose_keys_have_no_order():
    assert pax_tree.tree_map(operator.add, {1: 1, "a": 2}, {"a": 20, 1: 10}) == {1: 11, "a": 22}


def test_rest_may_be_deeper_than_the_first():
    assert pax_tree.tree_map(lambda a, b: (a, b), [1, 2], [{"x": 3}, None]) == [
        (1, {"x": 3}),
        (2, None),
    ]


def test_is_leaf_and_none_is_leaf():
    tree = [None, (1, 2)]
    assert pax_tree.tree_map(type, tree, none_is_leaf=True) == [type(None), (int, int)]
    assert pax_tree.tree_map(len, tree, is_leaf=lambda n: isinstance(n, tuple)) == [None, 2]


def test_keywords():
    assert pax_tree.tree_map(f=operator.neg, tree=[1]) == [-1]


MISMATCHES = {
    "length": ({"a": [1, 2]}, {"a": [1]}, "at ['a']: expected a list of 2 children, got a list of 1 child."),
    "type": ([(1,)], [[1]], "at [0]: expected a tuple of 1 child, got a list of 1 child."),
    "leaf": ({"a": {1: ()}}, {"a": {1: 5}}, "at ['a'][1]: expected a tuple of 0 children, got a leaf of type int."),
    "key": ({"a": 1}, {"b": 1}, "at the root: expected a dict with the key 'a', got one with the keys ['b']."),
    "keys": ({"a": 1}, {}, "at the root: expected a dict with the keys ['a'], got a dict with the keys []."),
    "none": ([None], [3], "at [0]: expected None, got a leaf of type int."),
    "dict_kind": ({"a": 1}, OrderedDict(a=1), "got an OrderedDict with the keys ['a']."),
    "order": (OrderedDict(a=1, b=2), OrderedDict(b=1, a=2), "got an OrderedDict with the keys ['b', 'a']."),
    "factory": (defaultdict(list), defaultdict(int), "with the keys [] and the factory <class 'int'>."),
    "maxlen": (deque([1]), deque([1], maxlen=2), "got a deque of 1 child with maxlen=2."),
    "named_tuple": ([Point(1, 2)], [(1, 2)], "at [0]: expected a named tuple Point, got a tuple of 2 children."),
    "field": (Point(1, [2]), Point(1, []), "at .y: expected a list of 1 child, got a list of 0 children."),
}  # fmt: skip


@pytest.mark.parametrize(("first", "second", "message"), MISMATCHES.values(), ids=MISMATCHES)
def test_a_mismatch_says_where_and_what(first, second, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        pax_tree.tree_map(lambda a, b: None, first, second)
    assert str(caught.value).startswith("tree_map: the trees must have the same structure")
    assert str(caught.value).endswith(message)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        pax_tree.tree_structure(first).flatten_up_to(second)
    assert str(caught.value).endswith(message)


def test_a_mismatch_names_the_tree():
    with pytest.raises(ValueError, match="the first and number 3 differ at"):
        pax_tree.tree_map(lambda *leaves: None, [1], [2], (3,))


def test_reduce():
    assert pax_tree.tree_reduce(operator.sub, [10, {"a": 1, "b": 2}]) == 7
    assert pax_tree.tree_reduce(operator.add, [], 5) == 5
    assert pax_tree.tree_reduce(
        operator.add, [(1,), (2,)], is_leaf=lambda n: isinstance(n, tuple)
    ) == (1, 2)
    with pytest.raises(TypeError, match="needs an initializer"):
        pax_tree.tree_reduce(operator.add, [None])


def test_all():
    assert pax_tree.tree_all([])
    assert not pax_tree.tree_all({"a": 1, "b": 0})
    assert not pax_tree.tree_all([()], is_leaf=lambda n: n == ())


def test_transpose():
    outer, inner = pax_tree.tree_structure((0, 0, 0)), pax_tree.tree_structure({"a": 0, "b": [0]})
    tree = tuple({"a": k, "b": [10 * k]} for k in range(3))
    expected = {"a": (0, 1, 2), "b": [(0, 10, 20)]}
    assert pax_tree.tree_transpose(outer, inner, tree) == expected
    assert pax_tree.tree_transpose(outer, None, tree) == expected


@pytest.mark.parametrize(
    ("tree", "message"),
    [([{"a": 1}, {"b": 2}], r"differ at \[1\]"), ([{"a": 1}, {"a": [2]}], "subtrees where leaves")],
    ids=["key", "deeper"],
)
def test_transpose_of_another_structure(tree, message):
    outer, inner = pax_tree.tree_structure([0, 0]), pax_tree.tree_structure({"a": 0})
    with pytest.raises(TypeError, match=message):
        pax_tree.tree_transpose(outer, inner, tree)
    with pytest.raises(TypeError, match="needs inner_treedef"):
        pax_tree.tree_transpose(pax_tree.tree_structure([]), None, [])


def test_the_short_names():
    tree = {"a": [1, 2]}
    leaves, structure = pax_tree.tree.flatten(tree)
    assert pax_tree.tree.unflatten(structure, leaves) == tree
    assert pax_tree.tree.map(operator.neg, tree) == {"a": [-1, -2]}
    assert pax_tree.tree.reduce(operator.add, tree) == 3
    assert pax_tree.tree.structure(tree) == structure


class Cached:
    """Keeps the leaves and the structure of a tree."""

    def __init__(self, tree):
        self.leaves, self.structure = pax_tree.tree_flatten(tree)


pax_tree.register_pytree_node(
    Cached,
    lambda cached: (cached.leaves, cached.structure),
    lambda structure, leaves: Cached(structure.unflatten(list(leaves))),
)


def test_transpose_of_a_class_whose_static_data_depend_on_its_children():
    outer, inner = (
        pax_tree.tree_structure(Cached({"a": 1, "b": 2})),
        pax_tree.tree_structure([1, 2]),
    )
    parts = pax_tree.tree_transpose(outer, inner, Cached({"a": [3, 4], "b": [5, 6]}))
    assert [part.leaves for part in parts] == [[3, 5], [4, 6]]
    nested = pax_tree.tree_transpose(
        pax_tree.tree_structure((0, Cached({"a": 1}))), inner, ([1, 2], Cached({"a": [3, 4]}))
    )
    assert [(part[0], part[1].leaves) for part in nested] == [(1, [3]), (2, [4])]
    for other in (Cached({"a": [3, 4], "c": [5, 6]}), Cached({"a": [3, 4, 5], "b": 6})):
        with pytest.raises(TypeError, match="tree_transpose takes a tree of the structure"):
            pax_tree.tree_transpose(outer, inner, other)
