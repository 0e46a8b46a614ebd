"""Prefixes, one level, walks, Partial and key paths against jax.tree and jax.tree_util."""

import dataclasses
import functools
import operator
import pickle
from collections import OrderedDict, defaultdict, namedtuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.tree_util as util
import optree
import pytest
import torch
import torch.utils._pytree as torch_pytree
from hypothesis import given, settings
from hypothesis import strategies as st

import pax_tree

Point = namedtuple("Point", "x y")
CASES = settings(max_examples=300, deadline=None)


def plain(trees):
    return st.one_of(
        st.lists(trees, max_size=3),
        st.lists(trees, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from("abc"), trees, max_size=3),
    )


def containers(trees):
    return st.one_of(
        plain(trees),
        st.builds(pax_tree.Partial, st.just(max), trees),
        st.builds(jax.tree_util.Partial, st.just(max), trees),
    )


TREES = st.recursive(st.one_of(st.none(), st.integers(0, 3)), containers, max_leaves=10)
PLAIN = st.recursive(st.one_of(st.none(), st.integers(0, 3)), plain, max_leaves=10)
IS_LEAF = st.sampled_from([None, lambda x: x is None, lambda x: isinstance(x, list)])


def outcome(function, *args):
    """The leaves and structure of the result, or the type of the error."""
    try:
        leaves, structure = jax.tree.flatten(function(*args), is_leaf=lambda x: x is None)
    except Exception as error:
        return type(error)
    return leaves, str(structure)


@st.composite
def prefixes(draw):
    tree = draw(st.recursive(st.one_of(st.none(), st.integers(0, 3)), plain, max_leaves=10))
    structure = pax_tree.tree_structure(tree, lambda _: draw(st.booleans()))
    prefix = structure.unflatten(range(structure.num_leaves))
    return draw(st.sampled_from([prefix, prefix, draw(TREES)])), tree


@CASES
@given(prefixes(), IS_LEAF)
def test_broadcast(pair, is_leaf):
    from jax._src.tree_util import broadcast_prefix

    ours, theirs = pax_tree.broadcast_prefix, broadcast_prefix
    assert outcome(ours, *pair, is_leaf) == outcome(theirs, *pair, is_leaf)
    ours, theirs = pax_tree.tree_broadcast, jax.tree.broadcast
    assert outcome(ours, *pair, is_leaf) == outcome(theirs, *pair, is_leaf)


@CASES
@given(st.lists(TREES, max_size=3), IS_LEAF)
def test_all_leaves(items, is_leaf):
    expected = jax.tree_util.all_leaves(iter(items), is_leaf)
    assert pax_tree.all_leaves(iter(items), is_leaf) == expected


def test_partial_is_a_node_of_all_libraries():
    partial = pax_tree.Partial(operator.mul, 2.0)
    assert jax.tree.leaves(partial) == torch_pytree.tree_leaves(partial) == [2.0]
    doubled = torch_pytree.tree_map(lambda x: 2 * x, partial)
    assert type(doubled) is pax_tree.Partial
    assert doubled(3.0) == 12.0
    theirs = jax.tree_util.Partial(operator.mul, 2.0, 3)
    assert pax_tree.tree_leaves(theirs) == [2.0, 3]
    assert type(pax_tree.tree_map(lambda x: x, theirs)) is jax.tree_util.Partial


@pytest.mark.parametrize("make", [pax_tree.Partial, jax.tree_util.Partial], ids=["ours", "theirs"])
def test_partial_under_jax(make):
    traces = []

    def scaled(scale, x):
        traces.append(x)
        return scale * x

    @jax.jit
    def call(function, x):
        return function(x)

    for scale in (2.0, 3.0):
        assert call(make(scaled, scale), 5.0) == 5 * scale
        assert call(make(functools.partial(scaled, scale)), 5.0) == 5 * scale
    assert len(traces) == 3  # scale is an argument of the first, static in the others
    gradient = jax.grad(lambda f: f(5.0))(make(scaled, 2.0))
    assert type(gradient) is make
    assert gradient.args == (5.0,)
    many = jax.vmap(lambda f: f(5.0))(make(scaled, jnp.arange(3.0)))
    assert many.tolist() == [0, 5, 10]


TREE = {"a": [1, {"b": (2, 3)}], "c": pax_tree.Partial(max, 4)}


def test_paths_of_other_libraries_lead_to_the_same_places():
    theirs = jax.tree_util.tree_leaves_with_path(TREE)
    torchs = torch_pytree.tree_leaves_with_path(TREE)
    for paths in (theirs, torchs):
        for path, leaf in paths:
            assert pax_tree.tree_get_at(TREE, path) == leaf
            assert pax_tree.tree_get_at(TREE, pax_tree.keystr(path)) == leaf
            changed = pax_tree.tree_replace_at(TREE, path, -leaf)
            assert len(pax_tree.tree_diff(TREE, changed)) == 1
            assert pax_tree.tree_sum(changed) == 10 - 2 * leaf


def test_keystr_of_other_libraries():
    for path, _ in jax.tree_util.tree_leaves_with_path(TREE):
        for form in ({}, {"simple": True, "separator": "/"}):
            assert pax_tree.keystr(path, **form) == jax.tree_util.keystr(path, **form)
    for (path, _), (ours, _) in zip(
        torch_pytree.tree_leaves_with_path(TREE), pax_tree.tree_leaves_with_path(TREE), strict=True
    ):
        assert pax_tree.keystr(path, simple=True, separator="/") == pax_tree.keystr(
            ours, simple=True, separator="/"
        )


def test_diff_and_summary_of_jax_and_torch():
    def tree(x):
        return {
            "jax": jnp.array([1.0, x, jnp.nan], jnp.bfloat16),
            "key": jax.random.key(int(x)),
            "torch": torch.tensor([1.0, x, torch.nan], dtype=torch.bfloat16, requires_grad=True),
            "mask": torch.tensor([x > 2]),
            "complex": torch.tensor([1j * x]),
        }

    assert not pax_tree.tree_diff(tree(2), tree(2))
    assert str(pax_tree.tree_diff(tree(2), tree(3))).split("\n") == [
        "['complex']: values differ in 1 of 1 elements, by at most 1",
        "['jax']: values differ in 1 of 3 elements, by at most 1",
        "['key']: values differ in 1 of 1 elements",
        "['mask']: values differ in 1 of 1 elements",
        "['torch']: values differ in 1 of 3 elements, by at most 1",
    ]
    [difference] = pax_tree.tree_diff([torch.ones(2, dtype=torch.int8)], [torch.ones(2)])
    assert str(difference) == "[0]: dtype int8 against float32"
    [difference] = pax_tree.tree_diff([jnp.ones(2)], [torch.ones(2)])
    assert str(difference) == "[0]: ArrayImpl float32[2] against Tensor float32[2]"
    [difference] = pax_tree.tree_diff(
        [torch.ones(1, device="meta")], [torch.ones(1, device="meta")]
    )
    assert difference.kind == "error"
    rows = pax_tree.tree_summary(tree(2)).split("\n")
    assert [row.split()[-1] for row in rows[2:-2]] == ["8", "6", "8", "1", "6"]
    spec = pax_tree.tree_summary(jax.ShapeDtypeStruct((2, 3), "float32"))
    assert spec.split("\n")[-1].split() == ["total", "1", "leaf", "float32", "6", "24"]


NODES = {
    "dict": {"b": 1, "a": [2]},
    "list": [1, (2, 3)],
    "tuple": (1,),
    "none": None,
    "ordered": OrderedDict(b=1, a=2),
    "default": defaultdict(int, b=1, a=2),
    "named": Point(1, [2]),
    "partial": util.Partial(max, 1, key=2),
}


@pytest.mark.parametrize("name", NODES)
def test_one_level(name):
    children, static = pax_tree.flatten_one_level(NODES[name])
    theirs, their_static = util.flatten_one_level(NODES[name])
    assert (list(children), static) == (list(theirs), their_static)
    pairs, static = pax_tree.flatten_one_level_with_keys(NODES[name])
    theirs, their_static = util.flatten_one_level_with_keys(NODES[name])
    assert ([child for _, child in pairs], static) == ([c for _, c in theirs], their_static)
    if name != "named":  # whose keys are all of the first field there
        assert [str(key) for key, _ in pairs] == [str(key) for key, _ in theirs]


@pytest.mark.parametrize("cls", [dict, list, int, str, type(None), Point, util.Partial, object])
def test_classes_of_nodes(cls):
    assert pax_tree.is_tree_node(cls) == util.is_tree_node(cls)


def test_leaves_have_no_level():
    with pytest.raises(ValueError, match="of type int is a leaf"):
        pax_tree.flatten_one_level(1)
    with pytest.raises(ValueError, match="can't tree-flatten"):
        util.flatten_one_level(1)


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("of_leaf", [None, lambda leaf: ("leaf", leaf)])
def test_walk(name, of_leaf):
    tree = [NODES[name], (None, NODES[name])]
    leaves, structure = pax_tree.tree_flatten(tree)
    of_their_leaf = of_leaf or (lambda leaf: leaf)  # JAX says that it takes None, and does not
    theirs = util.tree_structure(tree).walk(lambda *node: node, of_their_leaf, leaves)
    assert structure.walk(lambda *node: node, of_leaf, iter(leaves)) == theirs


@given(st.lists(st.integers(), max_size=20))
def test_reduce_associative(numbers):
    def operation(a, b):
        return (a, b)

    ours = pax_tree.tree_reduce_associative(operation, numbers, identity=None)
    assert ours == util.tree_reduce_associative(operation, numbers, identity=None)
    assert pax_tree.tree.reduce_associative is pax_tree.tree_reduce_associative


def test_static_fields():
    for static, register in (
        (pax_tree.tree.static, pax_tree.register_dataclass),
        (jax.tree.static, util.register_dataclass),
    ):

        @register
        @dataclasses.dataclass
        class Layer:
            weight: float
            name: str = static(default="dense", metadata={"unit": "m"})

        for leaves in (pax_tree.tree_leaves, jax.tree.leaves):
            assert leaves(Layer(1.0)) == [1.0]
        assert dataclasses.fields(Layer)[1].metadata == {"static": True, "unit": "m"}


@pytest.mark.parametrize("ravel", [pax_tree.tree_ravel, jax.flatten_util.ravel_pytree])
def test_functions_that_unravel_are_equal_for_like_trees(ravel):
    like = [{"b": jnp.ones(2), "a": jnp.zeros(3)}, {"a": jnp.ones(3), "b": jnp.zeros(2)}]
    first, second = (ravel(tree)[1] for tree in like)
    assert first == second
    assert hash(first) == hash(second)
    for other in ({"b": jnp.ones(3), "a": jnp.zeros(2)}, {"b": jnp.ones(2), "c": jnp.zeros(3)}):
        assert first != ravel(other)[1]
    assert pax_tree.tree_leaves(pax_tree.tree_ravel([1, 2])[1]) == [pax_tree.tree_ravel([3, 4])[1]]


@given(st.lists(st.integers(0, 20), max_size=8))
def test_partition_against_optree(numbers):
    tree = {"a": numbers, "b": (3, None, 12)}
    ours = pax_tree.tree_partition(lambda x: x > 10, tree, fillvalue=-1)
    assert ours == optree.tree_partition(lambda x: x > 10, tree, fillvalue=-1)


@CASES
@given(PLAIN, PLAIN, IS_LEAF, st.booleans())
def test_broadcast_common_against_optree(tree, other, is_leaf, none_is_leaf):
    def call(function):
        try:
            return function(tree, other, is_leaf, none_is_leaf=none_is_leaf)
        except ValueError:
            return ValueError

    assert call(pax_tree.tree_broadcast_common) == call(optree.tree_broadcast_common)


def test_broadcast_common_says_where_trees_differ():
    with pytest.raises(ValueError, match=r"the trees differ at \['a'\]\[0\]: expected a tuple"):
        pax_tree.tree_broadcast_common({"a": [(1, 2)]}, {"a": [[1, 2]]})


def test_accessors_and_ways_back_are_functions_for_jit():
    tree = {"a": [jnp.ones(2), jnp.zeros(3)]}
    accessor = pax_tree.tree_accessors(tree)[1]
    assert jax.jit(accessor)(tree).shape == (3,)
    flat, unravel = pax_tree.tree_ravel(tree)
    for function in (unravel, pickle.loads(pickle.dumps(unravel))):
        assert jax.jit(function)(flat)["a"][1].shape == (3,)


KEYS = [
    ("DictKey", "a"),
    ("DictKey", 1),
    ("SequenceKey", 1),
    ("GetAttrKey", "a"),
    ("FlattenedIndexKey", 1),
]


@pytest.mark.parametrize(("name", "value"), KEYS)
def test_keys_have_the_text_of_those_of_jax_and_are_not_equal(name, value):
    ours, theirs = getattr(pax_tree, name)(value), getattr(util, name)(value)
    assert (str(ours), repr(ours)) == (str(theirs), repr(theirs))
    for options in ({}, {"simple": True, "separator": "/"}):
        text = util.keystr([theirs, theirs], **options)
        assert pax_tree.keystr([ours, theirs], **options) == text
    # JAX's say so of all other objects, so that ours cannot be equal to them in both directions.
    assert (theirs == ours, ours == theirs, theirs == object()) == (False, False, False)
