"""PyTreeDef: equality, hash, parts, composition, pickling."""

import copy
import pickle
import weakref
from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest

import pax_tree

Point = namedtuple("Point", "x y")


@pax_tree.register_pytree_node_class
class Custom:
    def __init__(self, x, aux="aux"):
        self.x, self.aux = x, aux

    def tree_flatten(self):
        return (self.x,), self.aux

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(*children, aux)


class Rec(pax_tree.Record):
    def __init__(self, x, mode="m"):
        self.x, self.mode = x, mode

    def _classify(self, name, value):
        return None if isinstance(value, str) else 1


TREES = {
    "leaf": 0,
    "none": None,
    "tuple": (0, (0,)),
    "list": [0, []],
    "dict": {"b": 0, "a": [0]},
    "mixed_keys": {1: 0, "a": 0},
    "ordered": OrderedDict(b=0, a=0),
    "default": defaultdict(list, b=0, a=0),
    "deque": deque([0, 0], maxlen=4),
    "named": Point(0, (0, 0)),
    "custom": Custom([0, 0]),
    "custom_other_aux": Custom([0, 0], "other"),
    "record": Rec([0]),
    "record_other_static": Rec([0], "other"),
    "nested": {"x": [Custom(Rec(Point(0, None)))], "y": deque([{}])},
}


@pytest.mark.parametrize("name", TREES)
def test_equal_only_to_itself(name):
    structure = pax_tree.tree_structure(TREES[name])
    for other, tree in TREES.items():
        assert (structure == pax_tree.tree_structure(tree)) == (name == other)
        assert (structure != pax_tree.tree_structure(tree)) == (name != other)
    assert hash(structure) == hash(pax_tree.tree_structure(TREES[name]))
    assert structure != "PyTreeDef"


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize(
    "clone",
    [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_are_equal(name, clone):
    structure = pax_tree.tree_structure(TREES[name])
    copied = clone(structure)
    assert copied == structure
    assert hash(copied) == hash(structure)
    assert repr(copied) == repr(structure)
    leaves = list(range(structure.num_leaves))
    assert pax_tree.tree_leaves(copied.unflatten(leaves)) == leaves


def test_pickle_keeps_the_order_of_dicts():
    structure = pickle.loads(pickle.dumps(pax_tree.tree_structure({"b": 0, "a": 1})))
    assert list(structure.unflatten([1, 2]).items()) == [("b", 2), ("a", 1)]


def test_order_of_insertion_does_not_count():
    a, b = pax_tree.tree_structure({"b": 0, "a": 1}), pax_tree.tree_structure({"a": 0, "b": 1})
    assert a == b
    assert hash(a) == hash(b)


def test_children_and_node_data():
    structure = pax_tree.tree_structure({"b": [0, 0], "a": None})
    assert [repr(child) for child in structure.children()] == [
        "PyTreeDef(None)",
        "PyTreeDef([*, *])",
    ]
    assert structure.node_data() == (dict, ["a", "b"])
    assert structure.num_nodes == 5
    assert pax_tree.tree_structure(0).node_data() is None
    assert pax_tree.tree_structure(0).children() == []
    assert pax_tree.tree_structure(Custom(1)).node_data() == (Custom, "aux")
    assert pax_tree.tree_structure(Point(1, 2)).node_data() == (Point, None)
    assert pax_tree.tree_structure(Rec(1)).node_data()[0] is Rec
    assert pax_tree.tree_structure(defaultdict(int, b=1, a=1)).node_data() == (
        defaultdict,
        (int, ("a", "b")),
    )


def test_compose():
    outer, inner = (
        pax_tree.tree_structure([0, (0, None)]),
        pax_tree.tree_structure({"a": 0, "b": 0}),
    )
    composed = outer.compose(inner)
    tree = [{"a": 0, "b": 0}, ({"a": 0, "b": 0}, None)]
    assert composed == pax_tree.tree_structure(tree)
    assert (composed.num_leaves, composed.num_nodes) == (4, 9)
    assert composed.unflatten(range(4))[1][0] == {"a": 2, "b": 3}
    assert outer.compose(pax_tree.tree_structure(None)).num_leaves == 0
    with pytest.raises(TypeError, match="takes a PyTreeDef"):
        outer.compose([])


def test_flatten_up_to():
    structure = pax_tree.tree_structure([0, {"a": 0}])
    assert structure.flatten_up_to([[1, 2], {"a": (3,)}]) == [[1, 2], (3,)]


def test_unhashable_static_data():
    structure = pax_tree.tree_structure(Custom(1, aux=[1]))
    assert structure == pax_tree.tree_structure(Custom(1, aux=[1]))
    assert structure != pax_tree.tree_structure(Custom(1, aux=[2]))
    assert hash(structure) == hash(pax_tree.tree_structure(Custom(1, aux=[1])))


def test_unpickling_an_unregistered_class_names_it():
    _, (state,) = pax_tree.tree_structure(Custom(1)).__reduce__()
    (_, *parts), *rest = state
    with pytest.raises(ValueError, match="class float, which is not registered"):
        pax_tree._C._make_treedef(((float, *parts), *rest))


@pytest.mark.parametrize(
    "state",
    [
        (),
        ((None, None, 0, None),) * 2,
        ((99, None, 0, None),),
        ((list, None, 2, None), (None, None, 0, None)),
        ((dict, None, 1, None),),
        ((dict, ["a"], 1, ("b",)), (None, None, 0, None)),
        ((dict, ["a"], 1, ("a", "b")), (None, None, 0, None)),
        ((None, None, 1, 1),),
        ((list, None, -1, None),),
        ((list, None, "0", None),),
        3,
    ],
    ids=[
        *("empty", "extra", "class", "short", "keys", "other keys", "more keys", "arity"),
        *("negative", "number", "type"),
    ],
)
def test_bad_pickles_are_errors(state):
    with pytest.raises((ValueError, TypeError)):
        pax_tree._C._make_treedef(state)


def test_weakref_and_no_constructor():
    structure = pax_tree.tree_structure([0])
    assert weakref.ref(structure)() is structure
    with pytest.raises(TypeError):
        pax_tree.PyTreeDef()
