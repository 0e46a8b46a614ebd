"""Laws that hold for every tree."""

import pickle
from collections import OrderedDict, defaultdict, deque, namedtuple

from hypothesis import given
from hypothesis import strategies as st

import pax_tree

Pair = namedtuple("Pair", "a b")


class Rec(pax_tree.Record):
    def __init__(self, children, static):
        for i, child in enumerate(children):
            pax_tree.record_set(self, f"child{i}", child, i)
        self.static = static


def containers(trees):
    keys = st.one_of(st.text(max_size=2), st.integers(0, 5))
    dicts = st.dictionaries(keys, trees, max_size=4)
    return st.one_of(
        st.lists(trees, max_size=4),
        st.lists(trees, max_size=4).map(tuple),
        dicts,
        dicts.map(OrderedDict),
        dicts.map(lambda d: defaultdict(list, d)),
        st.lists(trees, max_size=4).map(deque),
        st.builds(Pair, trees, trees),
        st.builds(Rec, st.lists(trees, max_size=3), st.integers(0, 2)),
    )


TREES = st.recursive(st.one_of(st.none(), st.integers()), containers, max_leaves=20)


@given(TREES)
def test_unflatten_undoes_flatten(tree):
    leaves, structure = pax_tree.tree_flatten(tree)
    back = structure.unflatten(leaves)
    again, same = pax_tree.tree_flatten(back)
    assert again == leaves
    assert same == structure
    assert hash(same) == hash(structure)
    assert structure.flatten_up_to(back) == leaves


@given(TREES)
def test_map_is_flatten_and_unflatten(tree):
    leaves, structure = pax_tree.tree_flatten(tree)
    mapped = pax_tree.tree_map(lambda a, b: (a, b), tree, tree)
    assert structure.flatten_up_to(mapped) == [(leaf, leaf) for leaf in leaves]


@given(TREES)
def test_paths_are_unique_and_in_the_order_of_the_leaves(tree):
    pairs, structure = pax_tree.tree_flatten_with_path(tree)
    assert [leaf for _, leaf in pairs] == pax_tree.tree_leaves(tree)
    assert len({path for path, _ in pairs}) == len(pairs)
    assert structure == pax_tree.tree_structure(tree)
    seen = []
    pax_tree.tree_map_with_path(lambda path, leaf: seen.append((path, leaf)), tree)
    assert seen == pairs


@given(TREES)
def test_children_make_up_the_structure(tree):
    structure = pax_tree.tree_structure(tree)
    children = structure.children()
    is_leaf = structure == pax_tree.tree_structure(0)
    assert structure.num_nodes == 1 + sum(child.num_nodes for child in children)
    assert structure.num_leaves == is_leaf + sum(child.num_leaves for child in children)


@given(TREES)
def test_pickled_structures_are_equal(tree):
    structure = pax_tree.tree_structure(tree)
    assert pickle.loads(pickle.dumps(structure)) == structure


@given(TREES, TREES)
def test_compose_puts_trees_under_leaves(outer, inner):
    composed = pax_tree.tree_structure(outer).compose(pax_tree.tree_structure(inner))
    replaced = pax_tree.tree_map(lambda _: inner, outer)
    assert composed == pax_tree.tree_structure(replaced)


@given(TREES)
def test_none_is_leaf_only_adds_leaves(tree):
    leaves = pax_tree.tree_leaves(tree, none_is_leaf=True)
    assert [leaf for leaf in leaves if leaf is not None] == pax_tree.tree_leaves(tree)
