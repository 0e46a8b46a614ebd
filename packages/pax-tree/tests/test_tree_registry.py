"""Registering classes."""

import dataclasses
import gc

import pytest

import pax_tree
from pax_tree import GetAttrKey


def make_class(flatten=lambda node: ((node.x,), None), register=True):
    class Node:
        def __init__(self, x):
            self.x = x

    if register:
        pax_tree.register_pytree_node(Node, flatten, lambda aux, children: Node(*children))
    return Node


def test_a_registered_class_is_a_node():
    Node = make_class()
    tree = [Node({"a": 1}), 2]
    assert pax_tree.tree_leaves(tree) == [1, 2]
    assert pax_tree.tree_map(lambda leaf: -leaf, tree)[0].x == {"a": -1}
    [(path, _), _] = pax_tree.tree_leaves_with_path(tree)
    assert pax_tree.keystr(path) == "[0][<flat index 0>]['a']"


def test_only_the_very_class_is_registered():
    class Derived(make_class()):
        pass

    derived = Derived(1)
    assert pax_tree.tree_leaves(derived) == [derived]


def test_registering_twice():
    Node = make_class()
    with pytest.raises(ValueError, match="Node is a pytree node already"):
        pax_tree.register_static(Node)


@pytest.mark.parametrize("cls", [list, dict, type(None), pax_tree.Record], ids=lambda c: c.__name__)
def test_built_in_nodes_cannot_be_registered(cls):
    with pytest.raises(ValueError, match="is a pytree node already"):
        pax_tree.register_static(cls)


def test_registering_what_is_no_class_or_function():
    with pytest.raises(TypeError, match="Only a class"):
        pax_tree.register_pytree_node(3, lambda n: ((), None), lambda a, c: None)
    with pytest.raises(TypeError, match="flatten function of Node must be callable"):
        pax_tree.register_pytree_node(make_class(register=False), 3, lambda a, c: None)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (3, r"of Node must return a pair \(children, aux\), but returned 3"),
        (((), None, 1), r"must return a pair"),
        ((3, None), r"with iterable children, but returned 3"),
    ],
    ids=["no_pair", "triple", "not_iterable"],
)
def test_bad_flatten_results_name_the_class(result, message):
    Node = make_class(lambda node: result)
    for function in (pax_tree.tree_flatten, pax_tree.tree_leaves_with_path):
        with pytest.raises(ValueError, match=message):
            function([Node(1)])


def test_bad_keyed_children():
    Node = make_class(register=False)
    pax_tree.register_pytree_with_keys(
        Node, lambda n: ((n.x,), None), lambda a, c: Node(*c), lambda n: ((n.x,), None)
    )
    assert pax_tree.tree_leaves(Node(1)) == [1]
    with pytest.raises(ValueError, match=r"\(key, child\) pairs as children, but returned 1"):
        pax_tree.tree_leaves_with_path(Node(1))


def test_children_may_be_any_iterable():
    Node = make_class(lambda node: (iter(node.x), None))
    assert pax_tree.tree_leaves(Node([1, 2])) == [1, 2]


def test_errors_of_flatten_and_unflatten_propagate():
    def fail(*_):
        raise LookupError("broken")

    Node = make_class(fail)
    with pytest.raises(LookupError, match="broken"):
        pax_tree.tree_flatten(Node(1))
    Other = make_class(register=False)
    pax_tree.register_pytree_node(Other, lambda node: ((node.x,), None), fail)
    with pytest.raises(LookupError, match="broken"):
        pax_tree.tree_map(lambda leaf: leaf, Other(1))


def test_with_keys():
    Node = make_class(register=False)
    pax_tree.register_pytree_with_keys(
        Node, lambda n: (((GetAttrKey("x"), n.x),), None), lambda a, c: Node(*c)
    )
    assert pax_tree.tree_leaves_with_path(Node(1)) == [((GetAttrKey("x"),), 1)]
    assert pax_tree.tree_leaves(Node([1])) == [1]
    with pytest.raises(ValueError, match=r"at \.x: expected a list of 0"):
        pax_tree.tree_map(lambda a, b: None, Node([]), Node([1]))


def test_static_data_must_agree():
    Node = make_class(lambda node: ((0,), node.x))
    pax_tree.tree_map(lambda *_: None, Node("a"), Node("a"))
    with pytest.raises(ValueError, match=r"with the static data 'a', got .* static data 'b'\."):
        pax_tree.tree_map(lambda *_: None, Node("a"), Node("b"))


def test_static():
    @pax_tree.register_static
    class Mode(str):
        __slots__ = ()

    tree = [Mode("train"), 1]
    assert pax_tree.tree_leaves(tree) == [1]
    assert pax_tree.tree_map(lambda leaf: leaf + 1, tree) == ["train", 2]


def test_named_tuples_may_be_registered():
    from collections import namedtuple

    Pair = namedtuple("Pair", "a b")
    assert pax_tree.tree_leaves(Pair(1, 2)) == [1, 2]
    pax_tree.register_pytree_node(Pair, lambda p: ((p.b,), p.a), lambda a, c: Pair(a, *c))
    assert pax_tree.tree_leaves(Pair(1, 2)) == [2]
    assert pax_tree.tree_map(lambda leaf: -leaf, Pair(1, 2)) == Pair(1, -2)


class TestDataclass:
    def test_decorator_with_static_field(self):
        @pax_tree.register_dataclass
        @dataclasses.dataclass
        class Layer:
            weight: object
            name: str = dataclasses.field(metadata={"static": True})

        layer = Layer([1, 2], "dense")
        pairs, structure = pax_tree.tree_flatten_with_path(layer)
        assert [pax_tree.keystr(path) for path, _ in pairs] == [".weight[0]", ".weight[1]"]
        assert structure.unflatten([3, 4]) == Layer([3, 4], "dense")
        assert structure != pax_tree.tree_structure(Layer([1, 2], "conv"))

    def test_decorator_with_arguments_and_dropped_fields(self):
        @pax_tree.register_dataclass(data_fields=["x"], meta_fields=["n"], drop_fields=["cache"])
        @dataclasses.dataclass
        class Layer:
            x: object
            n: int
            cache: object = None

        mapped = pax_tree.tree_map(lambda leaf: -leaf, Layer(1, 2, "cached"))
        assert mapped == Layer(-1, 2, None)

    def test_call_on_a_plain_class(self):
        class Plain:
            def __init__(self, x):
                self.x = x

        pax_tree.register_dataclass(Plain, ["x"], [])
        assert pax_tree.tree_map(lambda leaf: -leaf, Plain(1)).x == -1

    @pytest.mark.parametrize(
        ("data", "meta", "error", "message"),
        [
            (["x"], None, TypeError, "both data_fields and meta_fields or neither"),
            (["x"], ["x"], ValueError, r"fields \['x'\] of .*Layer stand in both"),
            (["x"], [], ValueError, r"fields \['y'\] of .*Layer are neither"),
            (["x", "y"], ["z"], ValueError, r"no fields \['z'\]"),
        ],
        ids=["half", "overlap", "missing", "unknown"],
    )
    def test_wrong_fields(self, data, meta, error, message):
        @dataclasses.dataclass
        class Layer:
            x: int
            y: int

        with pytest.raises(error, match=message):
            pax_tree.register_dataclass(Layer, data, meta)

    def test_no_dataclass(self):
        with pytest.raises(TypeError, match="takes a dataclass"):
            pax_tree.register_dataclass(int)


def registered():
    @pax_tree.register_pytree_node_class
    class Node:
        def __init__(self, *children):
            self.children = children

        def tree_flatten(self):
            return self.children, None

        @classmethod
        def tree_unflatten(cls, aux, children):
            return cls(*children)

    return Node


def test_a_class_may_be_unregistered_while_it_is_walked():
    cls = registered()

    def forget(leaf):
        if leaf == 1:
            pax_tree.unregister_pytree_node(cls)
            gc.collect()
        return -leaf

    mapped = pax_tree.tree_map(forget, [cls(1, 2), 3])
    assert (mapped[0].children, mapped[1]) == ((-1, -2), -3)


def test_many_classes_come_and_go():
    kept = registered()
    for _ in range(300):
        pax_tree.unregister_pytree_node(registered())
    assert pax_tree.tree_leaves([kept(1)]) == [1]
    pax_tree.unregister_pytree_node(kept)
    assert len(pax_tree.tree_leaves([kept(1)])) == 1


@dataclasses.dataclass
class Square:
    side: float
    area: float = dataclasses.field(init=False)
    name: str = "square"

    def __post_init__(self):
        self.area = self.side**2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, r"The fields \['area'\] of Square have init=False.* drop_fields=\['area'\]"),
        (
            {"data_fields": ["side", "area"], "meta_fields": ["name"]},
            r"\['area'\] of Square have init=False",
        ),
        (
            {"drop_fields": ["area", "side"]},
            r"\['side'\] of Square are in drop_fields, but have no",
        ),
        (
            {"drop_fields": ["aera"]},
            r"Square has no fields \['aera'\]; it has \['area', 'name', 's",
        ),
        (
            {"data_fields": ["side", "x"], "meta_fields": ["name"], "drop_fields": ["area"]},
            r"Square has no fields \['x'\]",
        ),
        (
            {"data_fields": ["side"], "meta_fields": ["name"], "drop_fields": ["area", "name"]},
            r"\['name'\] of Square stand in drop_fields and in data_fields",
        ),
        ({"data_fields": ["side"], "meta_fields": [], "drop_fields": ["area"]}, r"\['name'\].*add"),
    ],
)
def test_fields_that_a_dataclass_cannot_be_made_with(fields, message):
    with pytest.raises(ValueError, match=message):
        pax_tree.register_dataclass(Square, **fields)


def test_a_dataclass_with_a_field_that_init_sets():
    pax_tree.register_dataclass(Square, drop_fields=["area"])
    doubled = pax_tree.tree_map(lambda x: 2 * x, Square(3.0, "s"))
    assert (doubled.area, doubled.name) == (36.0, "ss")
