"""tree_ravel on numbers and NumPy arrays."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import pax_tree

INT = np.asarray(1).dtype.name  # of 32 bits on some machines
ARRAYS = st.sampled_from(
    ["float32", "float64", "complex64", "int32", "bool", "float16", "uint8"]
).flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
        elements=st.integers(0, 1) if dtype == "bool" else st.integers(0, 100),
    )
)
TREES = st.recursive(
    st.one_of(st.none(), ARRAYS),
    lambda trees: st.one_of(
        st.lists(trees, max_size=3), st.dictionaries(st.sampled_from("ab"), trees, max_size=2)
    ),
    max_leaves=8,
)


@given(TREES)
def test_round_trip(tree):
    flat, unravel = pax_tree.tree_ravel(tree, library=np)
    leaves = pax_tree.tree_leaves(tree)
    assert flat.shape == (pax_tree.tree_numel(tree),)
    assert flat.dtype == (np.result_type(*(x.dtype for x in leaves)) if leaves else float)
    np.testing.assert_array_equal(
        flat, np.concatenate([*map(np.ravel, leaves), np.zeros(0, flat.dtype)])
    )
    back = unravel(flat)
    assert pax_tree.tree_structure(back) == pax_tree.tree_structure(tree)
    for got, leaf in zip(pax_tree.tree_leaves(back), leaves, strict=True):
        np.testing.assert_array_equal(got, leaf, strict=True)
        assert type(got) is np.ndarray
    if leaves:
        np.testing.assert_array_equal(pax_tree.tree_ravel(tree)[0], flat, strict=True)


def test_numbers_among_arrays():
    flat, unravel = pax_tree.tree_ravel([np.float32([1, 2]), 3, True, 0.1, np.float64(7)])
    np.testing.assert_array_equal(flat, [1, 2, 3, 1, 0.1, 7], strict=True)
    back = unravel(flat)
    assert [str(x.dtype) for x in back] == ["float32", INT, "bool", "float64", "float64"]
    assert [x.shape for x in back] == [(2,), (), (), (), ()]


def test_complex_numbers_keep_both_parts():
    tree = [np.complex64([1 + 2j]), np.float64(3), np.array([True])]
    flat, unravel = pax_tree.tree_ravel(tree)
    np.testing.assert_array_equal(flat, np.array([1 + 2j, 3, 1]), strict=True)
    for got, leaf in zip(unravel(flat), tree, strict=True):
        np.testing.assert_array_equal(got, np.asarray(leaf), strict=True)


def test_numbers_alone_are_a_list():
    flat, unravel = pax_tree.tree_ravel({"b": 1, "a": [2.5, True]})
    assert flat == [2.5, True, 1]
    assert unravel([0, 1, 2]) == {"b": 2, "a": [0, 1]}
    assert unravel(np.arange(3)) == {"b": 2, "a": [0, 1]}
    with pytest.raises(ValueError, match=r"unravel takes a list of 3 numbers, but got 2\."):
        unravel([1, 2])
    flat, unravel = pax_tree.tree_ravel({"b": 1, "a": [2.5, True]}, library=np)
    np.testing.assert_array_equal(flat, np.array([2.5, 1.0, 1.0]), strict=True)
    assert [str(x.dtype) for x in pax_tree.tree_leaves(unravel(flat))] == [
        "float64",
        "bool",
        INT,
    ]


def test_trees_without_leaves():
    flat, unravel = pax_tree.tree_ravel({"a": None, "b": []})
    assert flat == []
    assert unravel(flat) == unravel(np.zeros(0)) == {"a": None, "b": []}
    flat, unravel = pax_tree.tree_ravel((), library=np)
    assert (flat.shape, unravel(flat)) == ((0,), ())


@pytest.mark.parametrize("tree", [[1.0, (2,)], {"b": np.ones((2, 2)), "a": np.int8(3)}], ids=str)
def test_the_way_back_is_copied_and_pickled(tree):
    flat, unravel = pax_tree.tree_ravel(tree)
    for copied in (copy.deepcopy(unravel), pickle.loads(pickle.dumps(unravel))):
        assert copied == unravel
        assert hash(copied) == hash(unravel)
        assert str(copied(flat)) == str(unravel(flat))


def test_lists_of_other_lengths():
    _, unravel = pax_tree.tree_ravel([1.0, 2.0])
    for wrong, got in ([1.0], 1), ([1.0] * 5, 5), (itertools.count(), "more"), (iter([1.0]), 1):
        with pytest.raises(ValueError, match=f"a list of 2 numbers, but got {got}"):
            unravel(wrong)


def test_wrong_vectors():
    _, unravel = pax_tree.tree_ravel([np.ones(2, np.float32), np.ones(3, np.float32)])
    for shape in ((4,), (6,), (5, 1), ()):
        with pytest.raises(ValueError, match=r"a vector of shape \(5,\), but got \("):
            unravel(np.ones(shape, np.float32))
    with pytest.raises(TypeError, match=r"of dtype float32, but got float64; convert it first\."):
        unravel(np.ones(5))
    np.testing.assert_array_equal(unravel(np.arange(5, dtype=np.float32))[1], [2, 3, 4])


def test_wrong_leaves():
    message = r"tree_ravel takes a tree of numbers and arrays, but at \['a'\]\[1\] stands a str\."
    for first in (1, np.ones(2)):
        with pytest.raises(TypeError, match=message):
            pax_tree.tree_ravel({"a": [first, "text"]})


def test_arrays_that_are_views_or_not_contiguous():
    base = np.arange(12.0).reshape(3, 4)
    tree = [base.T, base[::2, ::-1]]
    flat, unravel = pax_tree.tree_ravel(tree)
    for got, leaf in zip(unravel(flat), tree, strict=True):
        np.testing.assert_array_equal(got, leaf)
    assert not np.shares_memory(flat, base)
    assert not np.shares_memory(pax_tree.tree_ravel([base[0]])[0], base)
