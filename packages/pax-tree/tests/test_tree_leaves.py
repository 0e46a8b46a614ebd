"""Going through leaves: tree_any, tree_all, all_leaves, tree_for_each, tree_iter."""

from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pax_tree

Pair = namedtuple("Pair", "a b")


def containers(trees):
    lists = st.lists(trees, max_size=4)
    dicts = st.dictionaries(st.text(max_size=2), trees, max_size=4)
    return st.one_of(
        lists,
        lists.map(tuple),
        lists.map(deque),
        dicts,
        dicts.map(OrderedDict),
        dicts.map(lambda d: defaultdict(list, d)),
        st.builds(Pair, trees, trees),
        st.builds(pax_tree.Partial, st.just(max), trees),
    )


TREES = st.recursive(st.one_of(st.none(), st.integers(0, 3)), containers, max_leaves=20)
OPTIONS = st.fixed_dictionaries(
    {
        "none_is_leaf": st.booleans(),
        "is_leaf": st.sampled_from([None, lambda x: isinstance(x, tuple), lambda x: x is None]),
    }
)


@given(TREES, OPTIONS)
def test_iter_and_for_each_see_the_leaves_in_order(tree, options):
    leaves, seen = pax_tree.tree_leaves(tree, **options), []
    assert list(pax_tree.tree_iter(tree, **options)) == leaves
    assert pax_tree.tree_for_each(seen.append, tree, **options) is None
    assert seen == leaves


@given(TREES, OPTIONS)
def test_any_and_all(tree, options):
    leaves = pax_tree.tree_leaves(tree, **options)
    assert pax_tree.tree_any(tree, **options) is any(leaves)
    assert pax_tree.tree_all(tree, **options) is all(leaves)
    expected = sum(x or 0 for x in leaves if not isinstance(x, tuple))
    total = pax_tree.tree_reduce(
        lambda total, x: total + (0 if isinstance(x, tuple) else x or 0), tree, 0, **options
    )
    assert total == expected


@given(TREES, OPTIONS)
def test_all_leaves(tree, options):
    assert pax_tree.all_leaves(pax_tree.tree_leaves(tree, **options), **options)
    leaves = pax_tree.tree_leaves(tree, **options)
    assert pax_tree.all_leaves(iter([0, tree]), **options) == (
        len(leaves) == 1 and leaves[0] is tree
    )


def test_iter_opens_nothing_before_it_has_to():
    opened = []

    class Noisy:
        def __init__(self, name):
            self.name = name

    pax_tree.register_pytree_node(
        Noisy, lambda x: (opened.append(x.name), ([x.name], None))[1], lambda aux, c: Noisy(*c)
    )
    leaves = pax_tree.tree_iter([Noisy("first"), Noisy("second")])
    assert opened == []
    assert next(leaves) == "first"
    assert opened == ["first"]
    assert list(leaves) == ["second"]


def test_iter_survives_changes():
    numbers, others = [1, 2], [3, 4]
    tree, seen = {"a": numbers, "b": others, "c": 5}, []
    for leaf in pax_tree.tree_iter(tree):
        seen.append(leaf)
        numbers.clear()
        others[:] = [30]
        tree.clear()
    assert seen == [1, 2, 30, 5]


def test_deep_and_cyclic_trees():
    deep = []
    for _ in range(500):
        deep = [deep, 1]
    assert list(pax_tree.tree_iter(deep)) == 500 * [1]
    one, other = [], []
    one.append(other)
    other.append(one)
    own = []
    own.append(own)
    for cyclic in (one, own):
        with pytest.raises(RecursionError):
            list(pax_tree.tree_iter(cyclic))


def test_exceptions_pass():
    def fail(*_):
        raise KeyError("mine")

    for call in (
        lambda: pax_tree.tree_for_each(fail, [1]),
        lambda: pax_tree.tree_for_each(print, [1], is_leaf=fail),
        lambda: list(pax_tree.tree_iter([1], fail)),
        lambda: pax_tree.all_leaves([1], fail),
        lambda: pax_tree.tree_any([1], is_leaf=fail),
    ):
        with pytest.raises(KeyError, match="mine"):
            call()


def test_for_each_checks_all_trees_before_the_first_call():
    calls = []
    message = r"^tree_for_each: the trees must have the same structure, but the first and number 3 "
    with pytest.raises(ValueError, match=message + r"differ at \['b'\]: expected a list of 1"):
        pax_tree.tree_for_each(
            lambda *leaves: calls.append(leaves),
            {"a": 1, "b": [2]},
            {"a": 1, "b": [2]},
            {"a": 1, "b": 2},
        )
    assert calls == []
    pax_tree.tree_for_each(lambda *leaves: calls.append(leaves), [1, None], [[2, 3], None])
    assert calls == [(1, [2, 3])]
