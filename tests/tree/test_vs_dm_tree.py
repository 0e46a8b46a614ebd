"""pax_tree against dm-tree on the containers that both know: there None and own classes are leaves."""

from collections import OrderedDict, defaultdict, deque

import pytest
import tree as dm_tree

import pax_tree
from tests.tree.tree_cases import (
    NOT_BUILT_IN,
    Pair,
    contains,
    decode,
    more_leaves,
    run_on_many_trees,
    vary,
)


def is_leaf(node):
    return node is None or type(node) in NOT_BUILT_IN


def is_unsorted(node):
    return type(node) is OrderedDict and list(node) != sorted(node)  # sorted by dm-tree only


def dm_decode(data, leaf=lambda number: number):
    """A tree of which dm-tree takes the leaves in the same order."""
    tree = decode(data, leaf, without=["mixed"])
    if contains(tree, is_unsorted):
        tree = decode(data, leaf, without=["mixed", "ordered"])
    return tree


def is_alike_for_dm_tree(node):
    """Whether dm-tree does not look at the class of a mapping or at the size of a deque."""
    return isinstance(node, OrderedDict | defaultdict | deque)


def check_flatten(data):
    tree = dm_decode(data)
    leaves, structure = pax_tree.tree_flatten(tree, is_leaf)
    assert leaves == dm_tree.flatten(tree)
    doubled = [(leaf, leaf) for leaf in leaves]
    assert structure.unflatten(doubled) == dm_tree.unflatten_as(tree, doubled)
    lengths = [len(path) for path, _ in dm_tree.flatten_with_path(tree)]
    assert [len(path) for path in structure.paths()] == lengths


def check_map(data):
    tree = decode(data, without=["mixed"])
    mapped = pax_tree.tree_map(lambda x: [x], tree, is_leaf=is_leaf)
    assert mapped == dm_tree.map_structure(lambda x: [x], tree)
    structure = pax_tree.tree_structure(tree, is_leaf)
    assert mapped == dm_tree.map_structure_up_to(tree, lambda x: [x], tree)
    deeper = decode(data, more_leaves, without=["mixed"])
    if not contains(tree, lambda node: type(node) in NOT_BUILT_IN):
        up_to = dm_tree.flatten_up_to(dm_decode(data), dm_decode(data, more_leaves))
        assert (
            pax_tree.tree_structure(dm_decode(data), is_leaf).flatten_up_to(
                dm_decode(data, more_leaves)
            )
            == up_to
        )
        pairs = dm_tree.map_structure_up_to(tree, Pair, tree, deeper)
        assert pax_tree.tree_map(Pair, tree, deeper, is_leaf=is_leaf) == pairs
    assert structure.num_leaves == len(dm_tree.flatten(tree))


def check_same_structure(data):
    first, second = dm_decode(data), dm_decode((vary(data), data[::-1])[data[0] % 2])
    try:
        dm_tree.assert_same_structure(first, second)
    except (TypeError, ValueError):
        same = False
    else:
        same = True
    ours = pax_tree.tree_structure(first, is_leaf) == pax_tree.tree_structure(second, is_leaf)
    assert same or not ours
    if not contains([first, second], is_alike_for_dm_tree):
        assert same == ours


@pytest.mark.parametrize(
    ("check", "count"),
    [(check_flatten, 20_000), (check_map, 10_000), (check_same_structure, 10_000)],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_random_trees(check, count, record_property):
    run_on_many_trees(check, record_property, count)
