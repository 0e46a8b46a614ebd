"""Partial."""

import copy
import functools
import operator
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pax_tree
from pax_tree import Partial


def record(*args, **keywords):
    return args, keywords


ARGS = st.lists(st.integers(), max_size=3)
KEYWORDS = st.dictionaries(st.sampled_from(["self", "func", "cls", "x"]), st.integers(), max_size=3)


@given(ARGS, KEYWORDS, ARGS, KEYWORDS)
def test_calls_like_functools_partial(args, keywords, more, others):
    ours, theirs = Partial(record, *args, **keywords), functools.partial(record, *args, **keywords)
    assert ours(*more, **others) == theirs(*more, **others)
    assert isinstance(ours, functools.partial)
    assert (ours.func, ours.args, ours.keywords) == (theirs.func, theirs.args, theirs.keywords)
    leaves, structure = pax_tree.tree_flatten(ours)
    assert leaves == [*args, *(keywords[name] for name in sorted(keywords))]
    back = structure.unflatten(leaves)
    assert type(back) is Partial
    assert back(*more, **others) == theirs(*more, **others)
    assert pax_tree.tree_structure(Partial(record, *args, **keywords)) == structure


def test_paths_and_structure():
    partial = Partial(record, [1, 2], scale=3)
    paths = [pax_tree.keystr(path) for path, _ in pax_tree.tree_leaves_with_path(partial)]
    assert paths == [".args[0][0]", ".args[0][1]", ".keywords['scale']"]
    structure = pax_tree.tree_structure(partial)
    assert structure != pax_tree.tree_structure(Partial(max, [1, 2], scale=3))
    with pytest.raises(ValueError, match="differ at"):
        pax_tree.tree_map(max, Partial(record, 1), Partial(max, 1))


def test_a_partial_inside_stays_one_function():
    inner = functools.partial(record, 1, a=2)
    for outer in (Partial(inner, 3), Partial(Partial(record, 1, a=2), 3)):
        assert pax_tree.tree_leaves(outer) == [3]
        assert outer(4) == ((1, 3, 4), {"a": 2})
        assert pax_tree.tree_map(lambda x: 10 * x, outer)(4) == ((1, 30, 4), {"a": 2})
    same = pax_tree.tree_structure(Partial(inner, 5))
    assert pax_tree.tree_structure(Partial(inner, 3)) == same
    assert hash(pax_tree.tree_structure(Partial(inner, 3))) == hash(same)
    assert pax_tree.tree_structure(Partial(functools.partial(record, 1, a=2), 3)) != same
    assert repr(inner) in repr(Partial(inner, 3))


def test_copies_and_pickles():
    for partial in (Partial(operator.add, 1), Partial(functools.partial(operator.add, 1))):
        for other in (
            copy.copy(partial),
            copy.deepcopy(partial),
            pickle.loads(pickle.dumps(partial)),
        ):
            assert type(other) is Partial
            assert other(*range(2 - len(partial.args) - (partial.args == ()))) == partial(
                *range(2 - len(partial.args) - (partial.args == ()))
            )


def test_arguments_are_leaves_of_arithmetic():
    partial = Partial(np.add, np.ones(2))
    doubled = pax_tree.tree_scale(2, partial)
    np.testing.assert_array_equal(doubled(1), [3, 3])


def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match="callable"):
        Partial(5)
    with pytest.raises(TypeError):
        Partial()


@pytest.mark.parametrize(
    "function", [record, functools.partial(record, 1, a=2), Partial(record, 1), operator.add]
)
def test_the_function_is_the_one_given(function):
    partial = Partial(function, 3)
    assert partial.func is function
    assert partial.func == function
    assert hash(partial.func) == hash(function)
    again = Partial(partial.func, *partial.args, **partial.keywords)
    assert pax_tree.tree_structure(again) == pax_tree.tree_structure(partial)
    assert again(4) == partial(4)
