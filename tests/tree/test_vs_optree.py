"""pax_tree against optree, which agrees with it, also in the order of keys of different classes."""

import operator
import os
import time
from collections import deque

import optree
import pytest
import torch

import pax_tree
from tests.tree.tree_cases import (
    NAMESPACE,
    NOT_BUILT_IN,
    Pair,
    decode,
    more_leaves,
    run_on_many_trees,
    vary,
)

SPACE = {"namespace": NAMESPACE}


def result_or_error(function):
    try:
        return function()
    except ValueError:
        return ValueError


def check_flatten(data):
    tree, none_is_leaf = decode(data), data[0] % 2 == 0
    leaves, structure = pax_tree.tree_flatten(tree, none_is_leaf=none_is_leaf)
    expected, theirs = optree.tree_flatten(tree, none_is_leaf=none_is_leaf, **SPACE)
    assert leaves == expected
    assert (structure.num_leaves, structure.num_nodes) == (theirs.num_leaves, theirs.num_nodes)
    back = structure.unflatten(leaves)
    assert back == theirs.unflatten(expected) == tree
    if isinstance(tree, dict):
        assert list(back) == list(theirs.unflatten(expected)) == list(tree)
    assert len(structure.children()) == len(theirs.children())
    assert pax_tree.tree_leaves(tree, none_is_leaf=none_is_leaf) == leaves


def check_map(data):
    tree, none_is_leaf = decode(data), data[0] % 2 == 0
    options = {"none_is_leaf": none_is_leaf}
    theirs = optree.tree_map(lambda x: [x], tree, **options, **SPACE)
    assert pax_tree.tree_map(lambda x: [x], tree, **options) == theirs
    deeper = decode(data, more_leaves)
    if none_is_leaf:  # speaks of the first tree here, and of all trees there
        deeper = tree
    theirs = result_or_error(lambda: optree.tree_map(Pair, tree, deeper, **options, **SPACE))
    ours = result_or_error(lambda: pax_tree.tree_map(Pair, tree, deeper, **options))
    assert ours == theirs


def check_is_leaf(data):
    tree = decode(data)
    classes = (list, tuple, dict, deque, Pair, *NOT_BUILT_IN)

    def is_leaf(node):
        return type(node) is classes[data[0] % len(classes)]

    leaves, structure = pax_tree.tree_flatten(tree, is_leaf)
    expected, theirs = optree.tree_flatten(tree, is_leaf, **SPACE)
    assert leaves == expected
    assert structure.num_nodes == theirs.num_nodes
    assert structure.unflatten(leaves) == theirs.unflatten(expected)


def check_equality(data):
    trees = [decode(data), decode((vary(data), data[::-1])[data[0] % 2])]
    ours = [pax_tree.tree_structure(tree) for tree in trees]
    theirs = [optree.tree_structure(tree, **SPACE) for tree in trees]
    assert operator.eq(*ours) == operator.eq(*theirs)


def check_accessors(data):
    tree, none_is_leaf = decode(data, without=("custom", "data", "record")), data[0] % 2 == 0
    found = pax_tree.tree_flatten_with_accessor(tree, none_is_leaf=none_is_leaf)
    accessors, leaves, structure = found
    theirs, expected, _ = optree.tree_flatten_with_accessor(
        tree, none_is_leaf=none_is_leaf, **SPACE
    )
    assert leaves == expected
    assert [accessor(tree) for accessor in accessors] == leaves
    assert [accessor.codify() for accessor in accessors] == [one.codify() for one in theirs]
    assert len(set(accessors)) == len(set(theirs)) == len(leaves)
    assert accessors == structure.paths()


@pytest.mark.parametrize(
    ("check", "count"),
    [
        (check_flatten, 20_000),
        (check_map, 10_000),
        (check_is_leaf, 10_000),
        (check_equality, 10_000),
        (check_accessors, 5_000),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_random_trees(check, count, record_property):
    run_on_many_trees(check, record_property, count)


@pytest.mark.parametrize(
    "value", [time.gmtime(0), os.stat(os.curdir), torch.max(torch.eye(2), dim=0)], ids=repr
)
def test_struct_sequences(value):
    leaves, structure = pax_tree.tree_flatten(value)
    expected, theirs = optree.tree_flatten(value)
    assert all(a is b or a == b for a, b in zip(leaves, expected, strict=True))
    assert structure.num_nodes == theirs.num_nodes
    if "torch" not in type(value).__module__:  # of which the keys are PyTorch's
        code = [accessor.codify() for accessor in pax_tree.tree_accessors(value)]
        assert code == [accessor.codify() for accessor in optree.tree_accessors(value)]


def test_struct_sequences_are_not_exchanged():
    structure = pax_tree.tree_structure([time.gmtime(0)])
    for convert in (structure.to_jax, structure.to_torch):
        with pytest.raises(ValueError, match=r"at \[0\], the class struct_time is not registered"):
            convert()
