"""Tree arithmetic on numbers and NumPy arrays."""

import operator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import pax_tree

DTYPES = ["float32", "float64", "complex64", "int32", "bool", "float16"]


def arrays(draw, shape, dtype):
    values = draw(hnp.arrays(np.int8, shape, elements=st.integers(-4, 4)))
    imaginary = 1j * values[::-1] if dtype == "complex64" and shape else 0
    return np.asarray(values + imaginary, dtype)


@st.composite
def vectors(draw, count=2):
    """Trees of one structure and the same shapes and dtypes."""
    forms = draw(
        st.recursive(
            st.one_of(
                st.none(),
                st.tuples(
                    hnp.array_shapes(min_dims=0, max_dims=2, max_side=3), st.sampled_from(DTYPES)
                ),
                st.sampled_from([float, int, complex]),
            ).map(lambda form: [form]),
            lambda trees: st.one_of(
                st.lists(trees, max_size=3), st.dictionaries(st.sampled_from("ab"), trees)
            ),
            max_leaves=6,
        )
    )

    def is_form(node):
        return isinstance(node, list) and len(node) == 1 and not isinstance(node[0], list | dict)

    def make(form):
        if isinstance(form[0], type):
            return form[0](draw(st.integers(-4, 4)))
        return None if form[0] is None else arrays(draw, *form[0])

    return [pax_tree.tree_map(make, forms, is_leaf=is_form) for _ in range(count)]


def same(ours, expected):
    np.testing.assert_array_equal(ours, expected, strict=True)
    assert type(ours) is type(expected)


@given(vectors(), st.sampled_from([1, 2, 0.5, -1, 1.0]))
def test_elementwise_operations_are_those_of_the_leaves(pair, number):
    a, b = pax_tree.tree_map(lambda x: x + x, pair)  # numbers also where the leaves are bools
    plain = type(number) is int and number == 1

    def scaled(x, y):
        return x + number * y

    expected = [
        (pax_tree.tree_add(a, b), operator.add),
        (pax_tree.tree_add(a, b, alpha=number), operator.add if plain else scaled),
        (pax_tree.tree_scale(number, a), lambda x, y: number * x),
        (pax_tree.tree_zeros_like(a), lambda x, y: zeros(x)),
    ]
    if not any("bool" in str(getattr(x, "dtype", "")) for x in pax_tree.tree_leaves(a)):
        expected += [
            (pax_tree.tree_subtract(a, b), operator.sub),
            (pax_tree.tree_neg(a), lambda x, y: -x),
        ]
    for got, function in expected:
        assert pax_tree.tree_structure(got) == pax_tree.tree_structure(a)
        pax_tree.tree_for_each(lambda g, x, y: same(g, function(x, y)), got, a, b)


def zeros(x):
    return np.zeros_like(x) if hasattr(x, "dtype") else type(x)(0)


@given(vectors())
def test_reductions_are_those_of_the_concatenation(pair):
    a, b = pair
    one, other = (np.concatenate([*map(np.ravel, pax_tree.tree_leaves(t)), []]) for t in pair)
    close = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(pax_tree.tree_sum(a), one.sum(), **close)
    np.testing.assert_allclose(pax_tree.tree_dot(a, b), np.vdot(one, other), **close)
    np.testing.assert_allclose(pax_tree.tree_norm_sq(a), np.linalg.norm(one) ** 2, **close)
    np.testing.assert_allclose(pax_tree.tree_norm(a), np.linalg.norm(one), rtol=2e-3)
    assert pax_tree.tree_numel(a) == one.size
    assert type(pax_tree.tree_numel(a)) is int
    for value in (pax_tree.tree_norm_sq(a), pax_tree.tree_norm(a)):
        assert not np.iscomplexobj(value)
        assert np.shape(value) == ()


@pytest.mark.parametrize("tree", [{}, None, [None, ()], {"a": []}])
def test_trees_without_leaves(tree):
    for f in (pax_tree.tree_sum, pax_tree.tree_norm, pax_tree.tree_norm_sq, pax_tree.tree_numel):
        assert f(tree) == 0
    assert type(pax_tree.tree_norm(tree)) is float
    assert pax_tree.tree_dot(tree, tree) == 0
    for result in (
        pax_tree.tree_add(tree, tree),
        pax_tree.tree_subtract(tree, tree),
        pax_tree.tree_neg(tree),
        pax_tree.tree_scale(2.0, tree),
        pax_tree.tree_zeros_like(tree),
    ):
        assert result == tree


def test_any_class_with_operators():
    tree = {"a": Fraction(1, 2), "b": [Fraction(3)]}
    assert pax_tree.tree_add(tree, tree, Fraction(1, 3)) == {
        "a": Fraction(2, 3),
        "b": [Fraction(4)],
    }
    assert pax_tree.tree_sum(tree) == Fraction(7, 2)
    assert pax_tree.tree_dot(tree, tree) == pax_tree.tree_norm_sq(tree) == Fraction(37, 4)
    assert pax_tree.tree_zeros_like(tree) == {"a": 0, "b": [0]}


def test_bools_count_as_numbers():
    assert (pax_tree.tree_sum([True]), pax_tree.tree_sum([np.array([True, True])])) == (1, 2)
    assert pax_tree.tree_dot([True, 2], [3, 4]) == 11


def test_alpha_may_be_an_array():
    got = pax_tree.tree_add([np.ones(2)], [np.ones(2)], np.float64(1.0))
    np.testing.assert_array_equal(got[0], [2, 2])
    got = pax_tree.tree_add([np.ones(2)], [np.ones(2)], np.array([1.0, 2.0]))
    np.testing.assert_array_equal(got[0], [2, 3])


def test_differing_trees_are_errors():
    for f in (pax_tree.tree_add, pax_tree.tree_subtract, pax_tree.tree_dot):
        with pytest.raises(ValueError, match=r"differ at \['a'\]: expected a list of 1 child"):
            f({"a": [1]}, {"a": 1})
    message = r"must have the same shape, but at \['a'\]\[1\] they have \[2\] and \[1\]\."
    with pytest.raises(ValueError, match=message):
        pax_tree.tree_dot({"a": [1, np.ones(2)]}, {"a": [1, np.ones(1)]})
    with pytest.raises(ValueError, match=r"at the root they have \[2\] and \[\]\."):
        pax_tree.tree_dot(np.ones(2), 1.0)


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_do_not_overflow(dtype):
    most = 1 if dtype == "bool" else int(np.iinfo(dtype).max)
    tree = {"a": np.array([most, most], dtype), "b": [np.array(most, dtype)[()]]}
    exact = 3 * most * most
    assert float(pax_tree.tree_norm_sq(tree)) == pytest.approx(exact, rel=1e-6)
    assert float(pax_tree.tree_dot(tree, tree)) == pytest.approx(exact, rel=1e-6)
    assert float(pax_tree.tree_norm(tree)) == pytest.approx(exact**0.5, rel=1e-6)
    floats = pax_tree.tree_map(lambda leaf: leaf.astype("float64"), tree)
    assert float(pax_tree.tree_dot(tree, floats)) == pytest.approx(exact, rel=1e-6)
    assert float(pax_tree.tree_dot(floats, tree)) == pytest.approx(exact, rel=1e-6)


def test_python_integers_stay_exact():
    tree = [10**30, 3]
    assert pax_tree.tree_dot(tree, tree) == pax_tree.tree_norm_sq(tree) == 10**60 + 9
