"""PyTreeDef to and from the structures of JAX and PyTorch."""

import copy
import pickle
import re
from collections import OrderedDict, defaultdict, deque, namedtuple

import jax
import pytest
import torch
import torch.utils._pytree as pytree

import pax_tree
from pax_tree import PyTreeDef
from tests.tree.tree_cases import Theirs, contains, decode, run_on_many_trees

Pair = namedtuple("Pair", "x y")


def check_jax(data):
    tree = decode(data, without=["mixed", "deque"])
    leaves, structure = pax_tree.tree_flatten(tree)
    theirs = jax.tree_util.tree_structure(tree)
    converted = structure.to_jax()
    assert converted == theirs
    assert hash(converted) == hash(theirs)
    assert converted.unflatten(leaves) == tree
    back = PyTreeDef.from_jax(theirs)
    assert back == structure
    assert hash(back) == hash(structure)
    assert back.unflatten(leaves) == tree
    assert back.to_jax() == theirs


def is_unsorted(node):
    return isinstance(node, dict) and list(node) != in_order(node)


def in_order(node):
    """The keys of a dict in the order of its leaves."""
    return pax_tree.tree_structure(dict.fromkeys(node, 0)).node_data()[1]


def check_torch(data):
    tree = decode(data, without=["none"])
    if contains(tree, lambda node: node is None or isinstance(node, Theirs)):
        return check_refused(pax_tree.tree_structure(tree))
    spec_leaves, spec = pytree.tree_flatten(tree)
    ours = PyTreeDef.from_torch(spec)
    assert ours.unflatten(spec_leaves) == tree
    assert ours.to_torch() == spec
    leaves, structure = pax_tree.tree_flatten(tree)
    converted = structure.to_torch()
    assert converted.unflatten(leaves) == tree
    assert PyTreeDef.from_torch(converted) == structure
    if leaves == spec_leaves and not contains(tree, is_unsorted):
        assert converted == spec
        assert ours == structure
    return None


def check_refused(structure):
    with pytest.raises(ValueError, match="cannot be made a TreeSpec of PyTorch: at"):
        structure.to_torch()


def check_pickle(data):
    structure = pax_tree.tree_structure(decode(data))
    protocol = data[0] % (pickle.HIGHEST_PROTOCOL + 1)
    for clone in (
        pickle.loads(pickle.dumps(structure, protocol)),
        copy.copy(structure),
        copy.deepcopy(structure),
    ):
        assert clone == structure
        assert hash(clone) == hash(structure)
        assert repr(clone) == repr(structure)
        leaves = range(structure.num_leaves)
        assert clone.unflatten(leaves) == structure.unflatten(leaves)


@pytest.mark.parametrize(
    ("check", "count"),
    [(check_jax, 10_000), (check_torch, 10_000), (check_pickle, 5000)],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_random_trees(check, count, record_property):
    run_on_many_trees(check, record_property, count)


def test_what_cannot_be_converted_is_named():
    to_jax = pax_tree.tree_structure({"a": [1, deque([2])]}).to_jax
    with pytest.raises(ValueError, match=re.escape("at ['a'][1], a deque is a node here")):
        to_jax()
    to_torch = pax_tree.tree_structure(Pair(1, OrderedDict(b=None))).to_torch
    with pytest.raises(ValueError, match=re.escape("at .y['b'], None is a node without leaves")):
        to_torch()
    with pytest.raises(ValueError, match="at the root, None is a node"):
        pax_tree.tree_structure(None).to_torch()
    with pytest.raises(ValueError, match=re.escape("at [0], the class Theirs is not registered")):
        pax_tree.tree_structure([Theirs([1])]).to_torch()


@pytest.mark.parametrize(
    "keys", [[frozenset({1}), frozenset({2})], [1.0, float("nan"), 2.0]], ids=["sets", "nan"]
)
def test_dicts_whose_leaves_jax_orders_as_they_were_filled(keys):
    for tree in (dict.fromkeys(keys, 0), defaultdict(int, dict.fromkeys(keys, 0))):
        with pytest.raises(ValueError, match=r"at \['a'\], the leaves of a dict with the keys"):
            pax_tree.tree_structure({"a": tree}).to_jax()
        back = PyTreeDef.from_jax(jax.tree.structure(tree))
        assert back.unflatten(jax.tree.leaves(tree)) == tree


def test_none_as_a_leaf():
    structure = pax_tree.tree_structure([None, {"a": None}], none_is_leaf=True)
    assert structure.to_torch() == pytree.tree_structure([None, {"a": None}])
    assert structure.to_torch().unflatten([1, None]) == [1, {"a": None}]


def test_the_order_of_leaves_is_kept():
    tree = {"b": 1, "a": defaultdict(int, z=2, y=3)}
    leaves, spec = pytree.tree_flatten(tree)
    assert leaves == [1, 2, 3]
    structure = PyTreeDef.from_torch(spec)
    assert structure.unflatten(leaves) == tree
    assert structure.to_torch() == spec
    ours, ours_structure = pax_tree.tree_flatten(tree)
    assert ours == [3, 2, 1]
    assert ours_structure.to_torch().unflatten(ours) == tree


@pytest.mark.parametrize("wrong", [3, None, [1], pax_tree.tree_structure([0])], ids=repr)
def test_only_structures_are_converted(wrong):
    with pytest.raises(TypeError, match="from_jax takes a PyTreeDef of JAX"):
        PyTreeDef.from_jax(wrong)
    with pytest.raises(TypeError, match="from_torch takes a TreeSpec of PyTorch"):
        PyTreeDef.from_torch(wrong)


def make_registered_everywhere():
    class Node:
        def __init__(self, x):
            self.x = x

    jax.tree_util.register_pytree_node(Node, lambda n: ((n.x,), "jax"), lambda a, c: Node(*c))
    pytree.register_pytree_node(Node, lambda n: ([n.x], "torch"), lambda c, a: Node(*c))
    pax_tree.register_pytree_node(Node, lambda n: ((n.x,), "ours"), lambda a, c: Node(*c))
    return Node


def test_classes_that_others_take_apart_differently():
    node = make_registered_everywhere()(1)
    structure = pax_tree.tree_structure(node)
    message = "class Node is not registered alike here and with"
    for convert, argument in (
        (PyTreeDef.to_jax, structure),
        (PyTreeDef.to_torch, structure),
        (PyTreeDef.from_jax, jax.tree_util.tree_structure(node)),
        (PyTreeDef.from_torch, pytree.tree_structure(node)),
    ):
        with pytest.raises(ValueError, match=message):
            convert(argument)


@pytest.mark.parametrize(
    "register", [pax_tree.register_pytree_node, jax.tree_util.register_pytree_node]
)
def test_named_tuples_with_a_registration_of_their_own(register):
    Own = namedtuple("Own", "x y")
    register(Own, lambda n: ((n.y,), n.x), lambda aux, c: Own(aux, *c))
    tree = [Own("static", 1)]
    structure = pax_tree.tree_structure(tree)
    assert repr(structure) == repr(jax.tree_util.tree_structure(tree))
    assert structure.unflatten([2]) == [Own("static", 2)]
    # neither makes structures of such classes but by flattening
    for convert in (structure.to_jax, structure.to_torch):
        with pytest.raises(ValueError, match="class Own is not registered alike"):
            convert()


def test_classes_that_only_one_library_knows():
    size = torch.Size([2, 3])
    spec = pytree.tree_structure([size])
    assert PyTreeDef.from_torch(spec) == pax_tree.tree_structure([size])
    assert pax_tree.tree_structure([size]).to_torch() == spec
    with pytest.raises(ValueError, match="class Size is not registered alike here and with JAX"):
        pax_tree.tree_structure([size]).to_jax()
    partial = jax.tree_util.tree_structure(jax.tree_util.Partial(max, 1))
    assert PyTreeDef.from_jax(partial).to_jax() == partial


@pytest.mark.parametrize(
    ("node_data", "children", "error", "message"),
    [
        (3, 0, TypeError, r"must be a pair \(class, static data\)"),
        ((3, None), 0, TypeError, "must be a pair"),
        ((dict, ["a"]), 2, ValueError, "as many different keys as children"),
        ((dict, ["a", "a"]), 2, ValueError, "as many different keys as children"),
        (
            (dict, None),
            0,
            ValueError,
            "class dict with 0 children cannot have the static data None",
        ),
        ((dict, [[]]), 1, TypeError, "unhashable"),
        ((defaultdict, ["a"]), 1, ValueError, "pair of the default factory and the keys"),
        ((type(None), None), 1, ValueError, "it has no children"),
        ((int, None), 1, ValueError, "Objects of class int are leaves"),
        ((pax_tree.Record, None), 1, ValueError, "it must be a RecordSpec"),
        (None, 1, ValueError, "A leaf has no children"),
    ],
)
def test_impossible_parts(node_data, children, error, message):
    leaf = pax_tree.tree_structure(0)
    with pytest.raises(error, match=message):
        PyTreeDef.from_node_data_and_children(node_data, [leaf] * children)


def test_children_that_are_no_structures():
    with pytest.raises(TypeError, match="children must be PyTreeDefs, but number 1 is a int"):
        PyTreeDef.from_node_data_and_children((list, None), [pax_tree.tree_structure(0), 3])
    with pytest.raises(TypeError, match="takes 2 arguments"):
        PyTreeDef.from_node_data_and_children((list, None))
