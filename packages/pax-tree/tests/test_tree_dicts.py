"""Dicts of every inner form: the core reads and fills them in place, and remembers key orders."""

import functools
import gc
import string
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pax_tree


def fresh(text):
    """A str of this text that is no other object."""
    return "".join(list(text)) if len(text) > 1 else text


class Names(str):
    """A str that is not exactly one."""


class Loud:
    """A key whose comparisons run code."""

    def __init__(self, rank, run):
        self.rank, self.run = rank, run

    def __hash__(self):
        return self.rank

    def __eq__(self, other):
        return self is other

    def __lt__(self, other):
        self.run()
        return self.rank < other.rank


def attributes(**values):
    """A dict that shares its keys with others of the class."""

    class Box:
        def __init__(self):
            self.__dict__.update(values)

    Box()
    return vars(Box())


def with_gap(values):
    """The same items in a dict from which something was deleted."""
    dictionary = {"gap": 0, **values, "end": 1}
    del dictionary["gap"], dictionary["end"]
    return dictionary


def was_mixed(values):
    """The same items in a dict that had a key that is no str."""
    dictionary = {0: 0, **values}
    del dictionary[0]
    return dictionary


texts = st.one_of(
    st.text(max_size=20),
    st.text(string.ascii_lowercase, min_size=1, max_size=20),
    st.sampled_from(["weight", "bias", "π", "\U0001d4d0", "é", ""]),
)
forms = st.sampled_from([dict, with_gap, was_mixed, lambda values: attributes(**values)])


@given(st.lists(texts, unique=True, max_size=70), forms, forms)
def test_leaves_lie_in_the_order_of_the_sorted_keys(keys, form, other):
    tree = form({key: i for i, key in enumerate(keys)})
    again = other({fresh(key): -i for i, key in enumerate(keys)})
    for _ in range(2):
        leaves, structure = pax_tree.tree_flatten(tree)
        assert leaves == [tree[key] for key in sorted(tree)] == pax_tree.tree_leaves(tree)
        rebuilt = structure.unflatten(leaves)
        assert rebuilt == tree
        assert list(rebuilt) == list(tree)
        assert structure == pax_tree.tree_structure(again)
        summed = pax_tree.tree_map(lambda x, y: x + y, tree, again)
        assert summed == dict.fromkeys(keys, 0)
        assert list(summed) == keys


@given(st.lists(texts, unique=True, min_size=2, max_size=6), st.data())
def test_dicts_of_one_size_are_told_apart(keys, data):
    others = data.draw(st.lists(texts, unique=True, min_size=len(keys), max_size=len(keys)))
    trees = [dict.fromkeys(k, 0) for k in (keys, others, keys[:1] + others[1:])]
    for tree in (*trees, *reversed(trees)):
        assert [str(k) for k in pax_tree.tree_structure(tree).node_data()[1]] == sorted(tree)


def test_str_of_a_subclass_are_their_own_keys():
    plain, special = {"b": 1, "a": 2}, {Names("b"): 1, Names("a"): 2}
    pax_tree.tree_leaves(plain)
    leaves, structure = pax_tree.tree_flatten(special)
    assert leaves == [2, 1]
    assert {type(key) for key in structure.unflatten(leaves)} == {Names}
    assert {type(key) for key in pax_tree.tree_map(lambda x: x, plain)} == {str}


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 6, 10, 63, 64, 65, 300, 5000])
def test_every_size(size):
    tree = {f"key {i}": float(i) for i in reversed(range(size))}
    leaves, structure = pax_tree.tree_flatten(tree)
    assert leaves == [tree[key] for key in sorted(tree)]
    rebuilt = structure.unflatten(leaves)
    assert rebuilt == tree == pax_tree.tree_map(lambda x: x, tree)
    rebuilt["another"] = rebuilt.pop("key 0", None)
    assert list(rebuilt)[-1] == "another"
    assert pax_tree.tree_map(lambda x: x, tree) == structure.unflatten(leaves) == tree


def test_dicts_that_were_built_are_collected():
    class Node:
        pass

    structure = pax_tree.tree_structure({"a": 0, "b": 0, "c": 0})
    nodes = [Node() for _ in range(3)]
    tree = structure.unflatten(nodes)
    assert gc.is_tracked(tree)
    assert not gc.is_tracked(structure.unflatten([1, 2, 3])) or sys.version_info >= (3, 14)
    for node in nodes:
        node.tree = tree
    del node, nodes, tree
    assert gc.collect() >= 4


def test_a_dict_that_comparing_its_keys_changes_is_an_error():
    tree = {}
    tree[Loud(2, lambda: tree.clear())] = 1
    tree[Loud(1, lambda: tree.clear())] = 2
    with pytest.raises(RuntimeError, match="A dict changed while it was being flattened"):
        pax_tree.tree_leaves(tree)


def test_errors_of_comparing_keys_propagate():
    def fail():
        raise LookupError("no order")

    with pytest.raises(LookupError, match="no order"):
        pax_tree.tree_leaves({Loud(2, fail): 1, Loud(1, fail): 2})


class Counter:
    """What calls a bound method and a partial function use the place before the arguments."""

    def __init__(self):
        self.seen = []

    def see(self, leaf):
        self.seen.append(leaf)
        return [leaf]


def test_functions_of_every_kind_see_the_leaves_in_order():
    tree = {"b": 1, "a": {"d": 2, "c": [3, 4]}, "e": 5}
    expected = {"b": [1], "a": {"d": [2], "c": [[3], [4]]}, "e": [5]}
    counter = Counter()
    for function in (counter.see, functools.partial(Counter.see, counter), lambda x: [x]):
        mapped = pax_tree.tree_map(function, tree)
        assert mapped == expected
        assert list(mapped) == list(tree)
        assert gc.is_tracked(mapped)
    assert counter.seen == 2 * [3, 4, 2, 1, 5]
    assert tree == {"b": 1, "a": {"d": 2, "c": [3, 4]}, "e": 5}


@pytest.mark.parametrize("number", range(4))
def test_a_function_that_fails_leaves_the_tree_alone(number):
    class Leaf:
        pass

    leaves = [Leaf() for _ in range(4)]
    tree = dict(zip("dbca", leaves, strict=True))
    before = [sys.getrefcount(leaf) for leaf in leaves]
    calls = []

    def fail(leaf):
        calls.append(None)
        if len(calls) > number:
            raise LookupError("stop")
        return leaf

    with pytest.raises(LookupError, match="stop"):
        pax_tree.tree_map(fail, tree)
    assert list(tree) == list("dbca")
    assert list(tree.values()) == leaves
    assert [sys.getrefcount(leaf) for leaf in leaves] == before


def test_a_function_may_change_the_dict_and_see_no_copy():
    tree = {"only in this test": 1.5, "a": 2.5, "c": {"x": 3.5, "y": 4.5}}
    expected = [1.5, 2.5, 3.5, 4.5]

    def change(leaf):
        gc.collect()
        for other in gc.get_objects():
            if type(other) is dict and other is not tree and "only in this test" in other:
                other.clear()
        tree.clear()
        tree.update(dict.fromkeys(range(100), leaf))
        return leaf

    mapped = pax_tree.tree_map(change, tree)
    assert sorted(pax_tree.tree_leaves(mapped)) == expected
    assert list(mapped) == ["only in this test", "a", "c"]


def test_a_dict_that_was_large_is_mapped_too():
    tree = {f"k{i}": i for i in range(1000)}
    kept = list(tree)[:3]
    for key in list(tree)[3:]:
        del tree[key]
    assert pax_tree.tree_map(str, tree) == {key: key[1:] for key in kept}
