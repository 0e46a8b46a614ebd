"""Broadcasting prefixes: broadcast_prefix, tree_broadcast, tree_map(broadcast=True)."""

import contextlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pax_tree


def containers(trees):
    return st.one_of(
        st.lists(trees, max_size=3),
        st.lists(trees, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from("abc"), trees, max_size=3),
    )


TREES = st.recursive(st.one_of(st.none(), st.integers()), containers, max_leaves=15)


@st.composite
def prefixes(draw):
    """A tree, and one in which some subtrees without None are leaves."""
    tree = draw(TREES)

    def cut(node):
        return draw(st.booleans()) if node is not None else False

    ends = pax_tree.tree_structure(tree, cut)
    return ends.unflatten([f"leaf {i}" for i in range(ends.num_leaves)]), tree


@given(prefixes())
def test_every_leaf_of_the_full_tree_gets_the_leaf_above_it(pair):
    prefix, tree = pair
    above = dict(pax_tree.tree_leaves_with_path(prefix))
    expected = [
        next(above[path[:n]] for n in range(len(path) + 1) if path[:n] in above)
        for path, _ in pax_tree.tree_leaves_with_path(tree)
    ]
    assert pax_tree.broadcast_prefix(prefix, tree) == expected
    full = pax_tree.tree_broadcast(prefix, tree)
    assert pax_tree.tree_leaves(full) == expected
    assert pax_tree.tree_structure(full) == pax_tree.tree_structure(tree)


@given(prefixes())
def test_map_with_broadcasting_is_map_over_the_broadcast_tree(pair):
    prefix, tree = pair
    full = pax_tree.tree_broadcast(prefix, tree)
    expected = pax_tree.tree_map(lambda *leaves: leaves, tree, full, full)
    got = pax_tree.tree_map(lambda *leaves: leaves, tree, prefix, full, broadcast=True)
    assert got == expected
    expected = pax_tree.tree_map_with_path(lambda *leaves: leaves, tree, full)
    assert pax_tree.tree_map_with_path(lambda *a: a, tree, prefix, broadcast=True) == expected


def test_broadcasting_keeps_no_references():
    leaf, axis = object(), object()
    tree, prefix = {"a": [leaf, (leaf, leaf)], "b": [leaf]}, {"a": axis, "b": [axis]}
    before = sys.getrefcount(leaf), sys.getrefcount(axis)
    for _ in range(1000):
        pax_tree.tree_map(first, tree, prefix, axis, broadcast=True)
        for wrong, is_leaf in (({"a": axis, "b": None}, None), (prefix, fail)):
            with contextlib.suppress(ValueError):
                pax_tree.tree_map(first, tree, wrong, broadcast=True, is_leaf=is_leaf)
    assert (sys.getrefcount(leaf), sys.getrefcount(axis)) == before


def first(leaf, *_):
    return leaf


def fail(node):
    if type(node) is object:
        raise ValueError("no")
    return False


def test_map_broadcasts_only_when_asked():
    for options in ({}, {"broadcast": False}):
        with pytest.raises(ValueError, match=r"number 2 differ at \['a'\]: expected a list of 2"):
            pax_tree.tree_map(max, {"a": [1, 2]}, {"a": 5}, **options)
    assert pax_tree.tree_map(max, {"a": [1, 9]}, {"a": 5}, broadcast=True) == {"a": [5, 9]}
    with pytest.raises(ValueError, match="no truth"):
        pax_tree.tree_map(max, [1], [2], broadcast=NoTruth())


class NoTruth:
    def __bool__(self):
        raise ValueError("no truth")


def test_none_and_is_leaf_in_prefixes():
    tree, prefix = {"a": [1, None], "b": 2}, {"a": None, "b": 3}
    with pytest.raises(ValueError, match=r"at \['a'\]: expected None, got a list of 2 children"):
        pax_tree.broadcast_prefix(prefix, tree)
    with pytest.raises(ValueError, match=r"at \['a'\]: expected a list of 2 children, got None"):
        pax_tree.tree_map(max, tree, prefix, broadcast=True)
    assert pax_tree.broadcast_prefix(prefix, tree, lambda x: x is None) == [None, 3]
    assert pax_tree.broadcast_prefix(prefix, tree, none_is_leaf=True) == [None, None, 3]
    assert pax_tree.tree_broadcast(prefix, tree, none_is_leaf=True) == {"a": [None, None], "b": 3}
    pairs = pax_tree.tree_map(lambda *p: p, tree, prefix, none_is_leaf=True, broadcast=True)
    assert pairs == {"a": [(1, None), (None, None)], "b": (2, 3)}
    axes = pax_tree.tree_map(
        lambda *p: p, [[1, 2]], [(0,)], is_leaf=lambda x: x == (0,), broadcast=True
    )
    assert axes == [[(1, (0,)), (2, (0,))]]


@pytest.mark.parametrize(
    ("prefix", "tree", "place"),
    [
        ([1, 2], [1, 2, 3], "at the root: expected a list of 2 children, got a list of 3"),
        ({"a": [1]}, {"a": {"b": 1}}, r"at \['a'\]: expected a list of 1 child, got a dict"),
        ({"a": 1, "b": 2}, {"a": 1, "c": 2}, "at the root: expected a dict with the key 'b'"),
        ([0, [1]], [0, 5], r"at \[1\]: expected a list of 1 child, got a leaf of type int"),
        ([0, None], [0, 5], r"at \[1\]: expected None, got a leaf of type int"),
    ],
)
@pytest.mark.parametrize("name", ["broadcast_prefix", "tree_broadcast"])
def test_errors_name_the_place_and_both_sides(name, prefix, tree, place):
    message = f"^{name}: prefix_tree must be a prefix of full_tree, but they differ {place}"
    with pytest.raises(ValueError, match=message):
        getattr(pax_tree, name)(prefix, tree)


def test_an_error_of_a_class_is_passed_on():
    class Bad:
        pass

    def fail(_):
        raise ValueError("my own")

    pax_tree.register_pytree_node(Bad, fail, lambda *_: Bad())
    with pytest.raises(ValueError, match=r"^my own$"):
        pax_tree.broadcast_prefix([1], [Bad()])
