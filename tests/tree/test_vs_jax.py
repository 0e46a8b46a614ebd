"""pax_tree against jax.tree_util: the same leaves, order, structures, paths and errors."""

import operator
import subprocess
import sys
from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_tree
from tests.tree.tree_cases import (
    NOT_BUILT_IN,
    Pair,
    Rec,
    contains,
    decode,
    more_leaves,
    run_on_many_trees,
    vary,
)

util = jax.tree_util


def is_deque(node):
    return type(node) is deque  # which is a leaf for JAX


def jax_tree(data):
    """A tree without unsortable keys, with which JAX raises and leaves its depth counted wrongly."""
    return decode(data, without=["mixed"])


def result_or_error(function, *more_errors):
    try:
        return function()
    except (ValueError, *more_errors):
        return ValueError


def check_flatten(data):
    tree = jax_tree(data)
    leaves, structure = pax_tree.tree_flatten(tree, is_deque)
    expected, theirs = util.tree_flatten(tree)
    assert leaves == pax_tree.tree_leaves(tree, is_deque) == expected
    assert repr(structure) == repr(theirs)
    assert pax_tree.tree_structure(tree, is_deque) == structure
    assert (structure.num_leaves, structure.num_nodes) == (theirs.num_leaves, theirs.num_nodes)
    assert structure.unflatten(leaves) == theirs.unflatten(leaves) == tree
    assert repr(structure.children()) == repr(theirs.children())
    assert repr(structure.node_data()) == repr(theirs.node_data())
    rebuilt = pax_tree.PyTreeDef.from_node_data_and_children
    assert rebuilt(structure.node_data(), structure.children()) == structure


def check_paths(data):
    tree = jax_tree(data)
    pairs, structure = pax_tree.tree_flatten_with_path(tree, is_deque)
    expected = util.tree_leaves_with_path(tree)
    assert [leaf for _, leaf in pairs] == [leaf for _, leaf in expected]
    assert structure.paths() == [path for path, _ in pairs]
    for (path, _), (theirs, _) in zip(pairs, expected, strict=True):
        assert repr(path) == repr(theirs)
        assert pax_tree.keystr(path) == util.keystr(theirs)
        short = {"simple": True, "separator": "/"}
        assert pax_tree.keystr(path, **short) == util.keystr(theirs, **short)
    mapped = pax_tree.tree_map_with_path(
        lambda p, x: (pax_tree.keystr(p), x), tree, is_leaf=is_deque
    )
    assert mapped == util.tree_map_with_path(lambda p, x: (util.keystr(p), x), tree)


def check_is_leaf(data):
    tree = jax_tree(data)
    classes = (list, tuple, dict, type(None), Pair, *NOT_BUILT_IN)
    chosen = (classes[data[0] % len(classes)], deque)

    def is_leaf(node):
        return type(node) in chosen

    leaves, structure = pax_tree.tree_flatten(tree, is_leaf)
    expected, theirs = util.tree_flatten(tree, is_leaf)
    assert leaves == expected
    assert repr(structure) == repr(theirs)
    mapped = pax_tree.tree_map(lambda leaf: [leaf], tree, is_leaf=is_leaf)
    assert mapped == util.tree_map(lambda leaf: [leaf], tree, is_leaf=is_leaf)
    chosen = (type(None), deque)
    none_is_leaf = pax_tree.tree_flatten(tree, is_deque, none_is_leaf=True)
    assert repr(none_is_leaf) == repr(util.tree_flatten(tree, is_leaf))


def check_map(data):
    first, second = choose_pair(data)
    ours = result_or_error(lambda: pax_tree.tree_map(Pair, first, second, is_leaf=is_deque))
    # JAX fails with AttributeError while it writes the message for keyed nodes of unequal arity
    theirs = result_or_error(lambda: util.tree_map(Pair, first, second), AttributeError)
    assert ours == theirs
    structures = [pax_tree.tree_structure(tree, is_deque) for tree in (first, second)]
    expected = [util.tree_structure(tree) for tree in (first, second)]
    assert operator.eq(*structures) == operator.eq(*expected)
    assert operator.ne(*structures) or len(set(map(hash, structures))) == 1
    up_to = result_or_error(lambda: structures[0].flatten_up_to(second))
    assert up_to == result_or_error(lambda: expected[0].flatten_up_to(second), AttributeError)


def choose_pair(data):
    """Unrelated trees, trees that differ in one place, and trees of which one goes deeper."""
    second = (data[::-1], vary(data), data, vary(data))[data[0] % 4]
    leaf = more_leaves if data[0] % 4 >= 2 else int
    return jax_tree(data), decode(second, leaf, without=["mixed"])


def check_compose_and_transpose(data):
    outer, inner = jax_tree(data[: len(data) // 2]), jax_tree(data[len(data) // 2 :])
    ours = [pax_tree.tree_structure(tree, is_deque) for tree in (outer, inner)]
    theirs = [util.tree_structure(tree) for tree in (outer, inner)]
    composed = ours[0].compose(ours[1])
    assert repr(composed) == repr(theirs[0].compose(theirs[1]))
    assert repr(pax_tree.treedef_tuple(ours)) == repr(util.treedef_tuple(theirs))
    for mine, their in zip(ours, theirs, strict=True):
        assert pax_tree.treedef_is_leaf(mine) == util.treedef_is_leaf(their)
        assert repr(pax_tree.treedef_children(mine)) == repr(util.treedef_children(their))
    tree = composed.unflatten(range(ours[0].num_leaves * ours[1].num_leaves))
    transposed = pax_tree.tree_transpose(*ours, tree)
    if ours[0].num_leaves > 0:  # JAX cannot transpose an outer tree without leaves
        assert transposed == util.tree_transpose(*theirs, tree)
    assert pax_tree.tree_structure(transposed) == ours[1].compose(ours[0])


def check_reduce_and_all(data):
    tree = jax_tree(data)
    if contains(tree, is_deque):
        tree = decode(data, without=["mixed", "deque"])

    def add(a, b):
        return a * 3 + b

    assert pax_tree.tree_reduce(add, tree, 1) == util.tree_reduce(add, tree, 1)
    assert pax_tree.tree_all(tree) == util.tree_all(tree)


@pytest.mark.parametrize(
    ("check", "count"),
    [
        (check_flatten, 20_000),
        (check_paths, 10_000),
        (check_is_leaf, 10_000),
        (check_map, 20_000),
        (check_compose_and_transpose, 10_000),
        (check_reduce_and_all, 5000),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_random_trees(check, count, record_property):
    run_on_many_trees(check, record_property, count)


def test_keys_that_do_not_compare():
    tree = {"a": 1, 2: (3, None)}
    assert pax_tree.tree_leaves(tree) == [3, 1]
    with pytest.raises(ValueError, match="Comparator raised exception while sorting"):
        util.tree_flatten(tree)


def test_arrays_are_leaves():
    tree = {"a": jnp.ones(2), "b": np.ones(2)}
    assert len(pax_tree.tree_leaves(tree)) == 2
    doubled = jax.jit(lambda t: pax_tree.tree_map(lambda x: 2 * x, t))(tree)
    np.testing.assert_array_equal(doubled["a"], 2 * np.ones(2))


def test_records_under_jit_and_grad():
    record = Rec({"w": jnp.ones(3), "b": jnp.zeros(())}, "static")
    traces = []

    @jax.jit
    def loss(r):
        traces.append(pax_tree.record_spec(r))
        return (r.w**2).sum() + r.b

    assert loss(record) == loss(pax_tree.tree_map(lambda x: x, record)) == 3.0
    assert len(traces) == 1
    gradient = jax.grad(loss)(record)
    assert pax_tree.record_spec(gradient) is pax_tree.record_spec(record)
    np.testing.assert_array_equal(gradient.w, 2 * np.ones(3))
    record.mode = "other"
    loss(record)
    assert [spec.statics["mode"] for spec in traces] == ["static", "other"]


def test_keys_of_records_are_those_of_jax():
    [(path, _)] = util.tree_leaves_with_path(Rec({"x": 1}, "static"))
    assert path == (util.GetAttrKey("x"),)


def test_a_class_known_only_to_jax_is_a_node_here():
    tree = util.Partial(max, 1, key=abs)
    assert pax_tree.tree_leaves(tree) == util.tree_leaves(tree)
    assert pax_tree.tree_map(lambda x: x, tree)(-3) == -3


LATE = """
import sys
import pax_tree

class Rec(pax_tree.Record):
    def _classify(self, name, value):
        return 0

@pax_tree.register_static
class Mode(str):
    pass

class Keyed:
    def __init__(self, x):
        self.x = x

pax_tree.register_pytree_with_keys(
    Keyed, lambda k: (((pax_tree.GetAttrKey("x"), k.x),), None), lambda aux, xs: Keyed(*xs)
)
record = Rec()
record.x = [1, Mode("m")]
hooks = len(sys.meta_path)
import jax
assert jax.tree.leaves([record, Keyed(2)]) == [1, 2]
paths = [path for path, _ in jax.tree_util.tree_leaves_with_path([record, Keyed(2)])]
assert [jax.tree_util.keystr(path) for path in paths] == ["[0].x[0]", "[1].x"]
assert paths[1][1] == jax.tree_util.GetAttrKey("x")
class Later(Rec):
    pass
later = Later()
later.y = 3
assert jax.tree.leaves(later) == [3]
import torch
assert torch.utils._pytree.tree_leaves([record, Keyed(2), later]) == [1, 2, 3]
import torch._dynamo
assert len(sys.meta_path) < hooks
"""


def test_classes_made_before_the_libraries_are_imported():
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
