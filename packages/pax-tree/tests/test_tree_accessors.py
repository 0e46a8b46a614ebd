"""The ways to the leaves: called, as text, and compared."""

import copy
import pickle
import weakref
from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest
from odd_classes import Custom, Keyed

import pax_tree
from pax_tree import DictKey, GetAttrKey, PyTreeAccessor, SequenceKey

Point = namedtuple("Point", "x y")
TREES = {
    "leaf": 1,
    "dict": {"b": 1, "a": {2: 3, "": 4}},
    "sequences": [1, (2, 3), deque([4])],
    "named_tuple": [Point(1, [2])],
    "dicts": (OrderedDict(b=1, a=2), defaultdict(list, c=3)),
    "without_keys": [Custom([1, Custom(2)])],
    "with_keys": {"k": Keyed([1, {"a": 2}])},
    "none": [None, 1, {}],
}


@pytest.mark.parametrize("none_is_leaf", [False, True])
@pytest.mark.parametrize("name", TREES)
def test_lead_to_the_leaves(name, none_is_leaf):
    tree = TREES[name]
    found = pax_tree.tree_flatten_with_accessor(tree, none_is_leaf=none_is_leaf)
    accessors, leaves, structure = found
    assert (leaves, structure) == pax_tree.tree_flatten(tree, none_is_leaf=none_is_leaf)
    assert [accessor(tree) for accessor in accessors] == leaves
    code = [accessor.codify("tree") for accessor in accessors]
    assert [eval(text, {"tree": tree, "pax_tree": pax_tree}) for text in code] == leaves
    assert accessors == structure.paths()
    assert accessors == pax_tree.tree_accessors(tree, none_is_leaf=none_is_leaf)


def test_is_leaf():
    accessors, leaves, _ = pax_tree.tree_flatten_with_accessor([(1, 2), 3], lambda x: x == (1, 2))
    assert leaves == [(1, 2), 3]
    assert [accessor.path for accessor in accessors] == [(0,), (1,)]


def test_are_their_paths():
    path = (DictKey("a"), SequenceKey(0), GetAttrKey("x"))
    accessor = PyTreeAccessor(path)
    assert accessor == path
    assert hash(accessor) == hash(path)
    assert {path: 1}[accessor] == 1
    assert accessor.path == ("a", 0, "x")
    assert pax_tree.keystr(accessor) == "['a'][0].x"
    assert pax_tree.tree_get_at({"a": [Point(5, 6)]}, accessor) == 5
    assert type(accessor[:2]) is type(accessor[:1] + path[1:2]) is PyTreeAccessor
    assert accessor[:2] + accessor[2:] == accessor
    assert accessor[0] == DictKey("a")
    assert eval(repr(accessor), vars(pax_tree)) == accessor
    assert PyTreeAccessor() == ()
    assert PyTreeAccessor()(5) == 5
    for copied in (copy.deepcopy(accessor), pickle.loads(pickle.dumps(accessor))):
        assert type(copied) is PyTreeAccessor
        assert copied == accessor


def test_can_be_referenced_weakly():  # as jax.jit wants
    accessor = PyTreeAccessor([DictKey("a")])
    assert weakref.ref(accessor)() is accessor


def test_code_of_names_that_are_no_identifiers():
    accessor = PyTreeAccessor([GetAttrKey("a-b"), GetAttrKey("c")])
    assert accessor.codify("root") == "getattr(root, 'a-b').c"
    assert PyTreeAccessor().codify() == "*"


def test_what_cannot_be_found_is_said():
    accessor = PyTreeAccessor([DictKey("a"), SequenceKey(2)])
    with pytest.raises(LookupError, match=r"PyTreeAccessor: \['a'\] has no child 2: it is a list"):
        accessor({"a": [1, 2]})
    with pytest.raises(ValueError, match=r"codify: t\['a'\] has a child under 'own', a key of the"):
        PyTreeAccessor([DictKey("a"), "own"]).codify("t")
