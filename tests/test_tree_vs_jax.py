"""pax_tree against jax.tree_util: the same leaves, order, structures, paths and errors."""

import dataclasses
import subprocess
import sys
from collections import OrderedDict, defaultdict, namedtuple

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import pax_tree

Pair = namedtuple("Pair", "a b")


@pax_tree.register_pytree_node_class
class Ours:
    """Registered here."""

    def __init__(self, children, aux=None):
        self.children, self.aux = list(children), aux

    def tree_flatten(self):
        return self.children, self.aux

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(children, aux)

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)


@jax.tree_util.register_pytree_with_keys_class
class Theirs(Ours):
    """Registered with JAX, with keys."""

    def tree_flatten_with_keys(self):
        keys = [jax.tree_util.GetAttrKey(f"child{i}") for i in range(len(self.children))]
        return list(zip(keys, self.children, strict=True)), self.aux


@pax_tree.register_dataclass
@dataclasses.dataclass
class Data:
    x: object
    mode: str = dataclasses.field(metadata={"static": True})


class Rec(pax_tree.Record):
    def __init__(self, **children):
        for name, child in children.items():
            pax_tree.record_set(self, name, child, 0)
        self.mode = "static"

    def __eq__(self, other):
        return pax_tree.record_flatten(self) == pax_tree.record_flatten(other)


def containers(trees):
    lists = st.lists(trees, max_size=4)
    texts = st.dictionaries(st.text("abc", max_size=2), trees, max_size=4)
    dicts = st.one_of(texts, st.dictionaries(st.integers(-3, 3), trees, max_size=4))
    return st.one_of(
        lists,
        lists.map(tuple),
        dicts,
        dicts.map(OrderedDict),
        st.builds(defaultdict, st.sampled_from([int, list]), dicts),
        st.builds(Pair, trees, trees),
        st.builds(Ours, lists, st.integers(0, 1)),
        st.builds(Theirs, lists, st.integers(0, 1)),
        st.builds(Data, trees, st.sampled_from("pq")),
        st.dictionaries(st.sampled_from("xyz"), trees, max_size=3).map(lambda d: Rec(**d)),
    )


TREES = st.recursive(st.one_of(st.none(), st.integers(0, 9)), containers, max_leaves=15)
CASES = settings(max_examples=1500, deadline=None)


@CASES
@given(TREES)
def test_flatten(tree):
    leaves, structure = pax_tree.tree_flatten(tree)
    expected, theirs = jax.tree_util.tree_flatten(tree)
    assert leaves == expected
    assert repr(structure) == repr(theirs)
    assert (structure.num_leaves, structure.num_nodes) == (theirs.num_leaves, theirs.num_nodes)
    assert structure.unflatten(leaves) == theirs.unflatten(leaves) == tree
    assert [repr(child) for child in structure.children()] == [repr(c) for c in theirs.children()]
    assert repr(structure.node_data()) == repr(theirs.node_data())


@CASES
@given(TREES)
def test_paths(tree):
    pairs = pax_tree.tree_leaves_with_path(tree)
    expected = jax.tree_util.tree_leaves_with_path(tree)
    assert [leaf for _, leaf in pairs] == [leaf for _, leaf in expected]
    for (path, _), (theirs, _) in zip(pairs, expected, strict=True):
        assert repr(path) == repr(theirs)
        assert pax_tree.keystr(path) == jax.tree_util.keystr(theirs)
        short = {"simple": True, "separator": "/"}
        assert pax_tree.keystr(path, **short) == jax.tree_util.keystr(theirs, **short)


@CASES
@given(TREES, st.sampled_from([list, tuple, dict, int, Pair, Ours, Rec]))
def test_is_leaf(tree, cls):
    def is_leaf(node):
        return type(node) is cls

    leaves, structure = pax_tree.tree_flatten(tree, is_leaf)
    expected, theirs = jax.tree_util.tree_flatten(tree, is_leaf)
    assert leaves == expected
    assert repr(structure) == repr(theirs)
    mapped = pax_tree.tree_map(lambda leaf: [leaf], tree, is_leaf=is_leaf)
    assert mapped == jax.tree_util.tree_map(lambda leaf: [leaf], tree, is_leaf=is_leaf)


def result_or_error(function, *more_errors):
    try:
        return function()
    except (ValueError, *more_errors):
        return ValueError


@CASES
@given(TREES, TREES)
def test_map_over_unrelated_trees(first, second):
    def pair(a, b):
        return Pair(a, b)

    ours = result_or_error(lambda: pax_tree.tree_map(pair, first, second))
    # JAX fails with AttributeError while it writes the message for keyed nodes of unequal arity
    theirs = result_or_error(lambda: jax.tree_util.tree_map(pair, first, second), AttributeError)
    assert ours == theirs
    same = pax_tree.tree_structure(first) == pax_tree.tree_structure(second)
    assert same == (jax.tree_util.tree_structure(first) == jax.tree_util.tree_structure(second))


@CASES
@given(TREES, st.data())
def test_map_over_trees_with_a_common_top(tree, data):
    deeper = pax_tree.tree_map(lambda _: data.draw(st.sampled_from([1, [2], None])), tree)

    def pair(a, b):
        return Pair(a, b)

    expected = jax.tree_util.tree_map(pair, tree, deeper)
    assert pax_tree.tree_map(pair, tree, deeper) == expected
    up_to = pax_tree.tree_structure(tree).flatten_up_to(deeper)
    assert up_to == jax.tree_util.tree_structure(tree).flatten_up_to(deeper)


@CASES
@given(TREES, TREES)
def test_compose_and_transpose(outer, inner):
    ours = [pax_tree.tree_structure(tree) for tree in (outer, inner)]
    theirs = [jax.tree_util.tree_structure(tree) for tree in (outer, inner)]
    assert repr(ours[0].compose(ours[1])) == repr(theirs[0].compose(theirs[1]))
    tree = ours[0].compose(ours[1]).unflatten(range(ours[0].num_leaves * ours[1].num_leaves))
    transposed = pax_tree.tree_transpose(*ours, tree)
    if ours[0].num_leaves > 0:  # JAX cannot transpose an outer tree without leaves
        assert transposed == jax.tree_util.tree_transpose(*theirs, tree)
    assert pax_tree.tree_structure(transposed) == ours[1].compose(ours[0])


@given(TREES)
def test_reduce_and_all(tree):
    def add(a, b):
        return a * 3 + b

    assert pax_tree.tree_reduce(add, tree, 1) == jax.tree_util.tree_reduce(add, tree, 1)
    assert pax_tree.tree_all(tree) == jax.tree_util.tree_all(tree)


def test_arrays_are_leaves():
    tree = {"a": jnp.ones(2), "b": np.ones(2)}
    assert len(pax_tree.tree_leaves(tree)) == 2
    doubled = jax.jit(lambda t: pax_tree.tree_map(lambda x: 2 * x, t))(tree)
    np.testing.assert_array_equal(doubled["a"], 2 * np.ones(2))


def test_records_under_jit_and_grad():
    record = Rec(w=jnp.ones(3), b=jnp.zeros(()))
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
    [(path, _)] = jax.tree_util.tree_leaves_with_path(Rec(x=1))
    assert path == (jax.tree_util.GetAttrKey("x"),)


def test_a_class_known_only_to_jax_is_a_node_here():
    tree = jax.tree_util.Partial(max, 1, key=abs)
    assert pax_tree.tree_leaves(tree) == jax.tree_util.tree_leaves(tree)
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
assert len(sys.meta_path) < hooks
"""


def test_classes_made_before_the_libraries_are_imported():
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
