"""tree_diff."""

import copy
import math
import re
from collections import OrderedDict, defaultdict, deque, namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pax_tree

Pair = namedtuple("Pair", "a b")


class Rec(pax_tree.Record):
    def __init__(self, x, name):
        pax_tree.record_set(self, "x", x, 0)
        self.name = name


class Loud:
    """Cannot be compared."""

    def __eq__(self, other):
        raise RuntimeError("do not compare me")

    __hash__ = None


class Shy:
    """Cannot be printed."""

    def __repr__(self):
        raise RuntimeError("do not print me")


class Elementwise:
    """Compares like an array, and has no shape."""

    def __init__(self, *values):
        self.values = np.array(values)

    def __eq__(self, other):
        return self.values == other.values

    def __ne__(self, other):
        return self.values != other.values

    __hash__ = None

    def __repr__(self):
        return "Elementwise"


def lines(a, b, **options):
    difference = pax_tree.tree_diff(a, b, **options)
    assert bool(difference) == (len(difference) > 0)
    assert str(difference).split("\n") == [str(one) for one in difference] or not difference
    return str(difference)


@pytest.mark.parametrize(
    ("a", "b", "kind", "text"),
    [
        (1, 2, "value", "the root: 1 against 2, a difference of 1"),
        ([1], [1.0], "type", "[0]: int 1 against float 1.0"),
        ([True], [False], "value", "[0]: True against False"),
        ([1j], [1.0 + 1j], "value", "[0]: 1j against (1+1j), a difference of 1"),
        ([math.inf], [-math.inf], "value", "[0]: inf against -inf, a difference of inf"),
        ([math.nan], [1.0], "value", "[0]: nan against 1.0, a difference of nan"),
        (["x"], ["y"], "value", "[0]: 'x' against 'y'"),
        ([1], [[1]], "structure", "[0]: int 1 against list of 1"),
        ([None], [3], "structure", "[0]: None against int 3"),
        ({"a": [1]}, {"a": []}, "missing", "['a'][0]: only in the first tree: int 1"),
        ({}, {"a": (1, 2)}, "missing", "['a']: only in the second tree: tuple of 2"),
        ([[1, 2]], [(1, 2)], "type", "[0]: list of 2 against tuple of 2"),
        ([Pair(1, 2)], [(1, 2)], "type", "[0]: Pair of 2 against tuple of 2"),
        (deque([1], 3), deque([1]), "static", "the root: static data 3 against None"),
        (
            OrderedDict(a=1, b=2),
            OrderedDict(b=2, a=1),
            "static",
            "the root: static data ('a', 'b') against ('b', 'a')",
        ),
        (np.ones(2), np.ones(3), "shape", "the root: shape [2] against [3]"),
        (np.ones(2), np.ones(2, np.int16), "dtype", "the root: dtype float64 against int16"),
        (
            np.arange(6).reshape(2, 3),
            np.array([[0, 1, 2], [3, 7, 5]]),
            "value",
            "the root: values differ in 1 of 6 elements, by at most 3",
        ),
        (
            np.array([255], np.uint8),
            np.array([0], np.uint8),
            "value",
            "the root: values differ in 1 of 1 elements, by at most 255",
        ),
        (
            np.array([True, False]),
            np.array([True, True]),
            "value",
            "the root: values differ in 1 of 2 elements",
        ),
        (np.array(["a"]), np.array(["b"]), "value", "the root: values differ in 1 of 1 elements"),
        (
            np.float32(1),
            np.float32(1.5),
            "value",
            "the root: values differ in 1 of 1 elements, by at most 0.5",
        ),
        (
            [Loud()],
            [Loud()],
            "error",
            "[0]: comparing the leaves raised RuntimeError: do not compare me",
        ),
        (
            [Shy()],
            [Shy()],
            "value",
            "[0]: (repr raised RuntimeError) against (repr raised RuntimeError)",
        ),
        (
            [Elementwise(1, 2)],
            [Elementwise(1, 3)],
            "value",
            "[0]: Elementwise against Elementwise",
        ),
    ],
)
def test_one_difference(a, b, kind, text):
    [difference] = pax_tree.tree_diff(a, b)
    assert (difference.kind, lines(a, b)) == (kind, text)


@pytest.mark.parametrize(
    "tree",
    [
        math.nan,
        np.array([math.nan, 1.0, -math.inf]),
        np.array([complex(math.nan, 1)]),
        np.float64("nan"),
        Elementwise(1, 2),
        np.array(["a", "b"]),
        np.zeros((0, 3)),
        np.array(["2020-01-01", "NaT"], "datetime64[D]"),
        {"a": (1, [None, "x"]), "b": Rec({}, "n"), "c": range(3)},
    ],
)
def test_no_difference(tree):
    for other in (tree, copy.deepcopy(tree)):
        assert not pax_tree.tree_diff(tree, other)
        assert lines([tree], [other]) == "no differences"
    assert not pax_tree.tree_diff(math.nan, float("nan"))
    loud = Loud()
    assert not pax_tree.tree_diff([loud], [loud])


def test_static_data_of_classes():
    assert len(pax_tree.tree_diff([Rec(1, "a")], [Rec(1, "b")])) == 1
    text = lines([Rec(1, "a")], [Rec(2, "b")])
    assert re.fullmatch(r"\[0\]: static data .* against .*\n\[0\].x: 1 against 2, .*", text)
    text = lines({"d": defaultdict(int, a=1)}, {"d": defaultdict(list, a=1)})
    assert text.startswith("['d']: static data (<class 'int'>")


def test_type_differences_do_not_hide_what_is_below():
    assert lines({"a": [1, 2]}, {"a": (1, 3)}).split("\n") == [
        "['a']: list of 2 against tuple of 2",
        "['a'][1]: 2 against 3, a difference of 1",
    ]
    assert lines([{"x": 1}], [[1]]) == "[0]: dict of 1 against list of 1"


def test_tolerances():
    a, b = {"x": 1.0, "y": np.array([1.0, 2.0])}, {"x": 1.01, "y": np.array([1.01, 2.5])}
    assert len(pax_tree.tree_diff(a, b)) == 2
    [left] = pax_tree.tree_diff(a, b, rtol=0.02)
    assert str(left) == "['y']: values differ in 1 of 2 elements, by at most 0.5"
    assert left.max_abs == 0.5
    assert not pax_tree.tree_diff(a, b, atol=0.6)
    for one in (1.0, np.array([1.0])):
        assert pax_tree.tree_diff(one, one * math.inf, rtol=1.0, atol=1.0)
        assert pax_tree.tree_diff(one, one * math.nan, rtol=1.0, atol=1.0)


def test_leaf_options():
    assert lines([None], [None], none_is_leaf=True) == "no differences"
    assert lines([None], [1], none_is_leaf=True) == "[0]: None against int 1"
    assert lines([(1, 2)], [(1, 3)], is_leaf=lambda x: isinstance(x, tuple)) == (
        "[0]: (1, 2) against (1, 3)"
    )


LEAVES = st.one_of(st.none(), st.integers(0, 2), st.floats(), st.text("ab", max_size=1))
TREES = st.recursive(
    LEAVES,
    lambda trees: st.one_of(
        st.lists(trees, max_size=3),
        st.lists(trees, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from("abc"), trees, max_size=3),
        st.builds(Pair, trees, trees),
    ),
    max_leaves=10,
)


@given(TREES, TREES)
def test_empty_if_and_only_if_equal(a, b):
    assert not pax_tree.tree_diff(a, copy.deepcopy(a))
    leaves_a, structure_a = pax_tree.tree_flatten(a)
    leaves_b, structure_b = pax_tree.tree_flatten(b)
    same = structure_a == structure_b and all(
        type(x) is type(y) and (x == y or (x != x and y != y))
        for x, y in zip(leaves_a, leaves_b, strict=True)
    )
    found, other_way = pax_tree.tree_diff(a, b), pax_tree.tree_diff(b, a)
    assert bool(found) == (not same)
    assert {(d.path, d.kind) for d in found} == {(d.path, d.kind) for d in other_way}


@given(TREES, st.data())
def test_a_replaced_leaf_is_found_at_its_path(tree, data):
    paths = [path for path, _ in pax_tree.tree_leaves_with_path(tree)]
    if paths:
        path = data.draw(st.sampled_from(paths))
        [difference] = pax_tree.tree_diff(tree, pax_tree.tree_replace_at(tree, path, b"new"))
        assert difference.path == path


def test_long_leaves_are_cut():
    text = lines(["x" * 1000], ["y\n" * 1000])
    assert len(text) < 150
    assert "\n" not in text
