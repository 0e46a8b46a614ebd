"""tree_get_at and tree_replace_at."""

import dataclasses
import re
from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pax_tree

Pair = namedtuple("Pair", "a b")


@pax_tree.register_dataclass
@dataclasses.dataclass
class Layer:
    weight: object
    name: str = dataclasses.field(default="dense", metadata={"static": True})


class Rec(pax_tree.Record):
    def __init__(self, x):
        pax_tree.record_set(self, "x", x, 0)


def containers(trees):
    keys = st.one_of(st.text("ab", max_size=2), st.integers(0, 3), st.just((1, 2)))
    lists, dicts = st.lists(trees, max_size=3), st.dictionaries(keys, trees, max_size=3)
    return st.one_of(
        lists,
        lists.map(tuple),
        lists.map(deque),
        dicts,
        dicts.map(OrderedDict),
        dicts.map(lambda d: defaultdict(list, d)),
        st.builds(Pair, trees, trees),
        st.builds(Layer, trees),
        st.builds(Rec, trees),
    )


class Leaf:
    """Equal to nothing else."""


LEAVES = st.one_of(st.none(), st.builds(Leaf))
TREES = st.recursive(LEAVES, containers, max_leaves=15)


def plain(path):
    names = {
        pax_tree.DictKey: "key",
        pax_tree.SequenceKey: "idx",
        pax_tree.GetAttrKey: "name",
    }
    return [getattr(key, names[type(key)]) for key in path]


@given(TREES)
def test_every_leaf_is_found_and_replaced(tree):
    for path, leaf in pax_tree.tree_leaves_with_path(tree, none_is_leaf=True):
        for spelling in (path, plain(path), pax_tree.keystr(path)):
            assert pax_tree.tree_get_at(tree, spelling) is leaf
            changed = pax_tree.tree_replace_at(tree, spelling, "new")
            expected = pax_tree.tree_map_with_path(
                lambda p, x: "new" if p == path else x, tree, none_is_leaf=True
            )
            assert pax_tree.tree_structure(changed, none_is_leaf=True) == pax_tree.tree_structure(
                tree, none_is_leaf=True
            )
            assert pax_tree.tree_leaves(changed, none_is_leaf=True) == pax_tree.tree_leaves(
                expected, none_is_leaf=True
            )
        assert pax_tree.tree_get_at(tree, path) is leaf  # the given tree has not changed


def spellings(tree):
    """All texts for all places, each once for each place."""
    paths = {path[:n] for path, _ in with_empty_nodes(tree) for n in range(len(path) + 1)}
    forms = [{}, {"simple": True, "separator": "/"}, {"simple": True, "separator": "."}]
    return [text for path in paths for text in {pax_tree.keystr(path, **form) for form in forms}]


def with_empty_nodes(tree):
    def is_leaf(node):
        return not pax_tree.tree_leaves(node, lambda child: child is not node)

    return pax_tree.tree_leaves_with_path(tree, is_leaf)


@given(TREES)
def test_simple_text_means_the_same_or_says_that_it_has_several_meanings(tree):
    for path, leaf in pax_tree.tree_leaves_with_path(tree):
        for separator in "/.":
            text = pax_tree.keystr(path, simple=True, separator=separator)
            if not text:
                assert pax_tree.tree_get_at(tree, text) is tree
            elif sum(spelt == text for spelt in spellings(tree)) > 1:
                with pytest.raises(LookupError, match="meanings"):
                    pax_tree.tree_get_at(tree, text)
            else:
                assert pax_tree.tree_get_at(tree, text) is leaf


def test_the_rest_is_shared():
    tree = {"a": [[1], [2]], "b": [3]}
    changed = pax_tree.tree_replace_at(tree, "a/0", {"x": None})
    assert changed == {"a": [{"x": None}, [2]], "b": [3]}
    assert changed["b"] is tree["b"]
    assert changed["a"][1] is tree["a"][1]
    assert list(pax_tree.tree_replace_at({"b": 1, "a": 2}, ("b",), 0)) == ["b", "a"]
    assert pax_tree.tree_replace_at(tree, (), 5) == 5
    assert pax_tree.tree_get_at(tree, "") is tree


def test_subtrees_and_names_with_separators():
    tree = {"0.weight": 1, "layers": {"a/b": [2, 3]}}
    assert pax_tree.tree_get_at(tree, "0.weight") == 1
    assert pax_tree.tree_get_at(tree, "layers/a/b/1") == 3
    assert pax_tree.tree_get_at(tree, "['layers']['a/b']") == [2, 3]
    assert pax_tree.tree_get_at([Layer({"x": 1})], "[0].weight['x']") == 1
    assert pax_tree.tree_get_at([Layer({"x": 1})], "0.weight.x") == 1


class Custom:
    """Registered without keys."""

    def __init__(self, *children):
        self.children = children


pax_tree.register_pytree_node(Custom, lambda c: (c.children, None), lambda _, c: Custom(*c))


class Twins(Custom):
    pass


pax_tree.register_pytree_with_keys(
    Twins, lambda c: ([("twin", x) for x in c.children], None), lambda _, c: Twins(*c)
)


def test_classes_without_keys_are_indexed():
    tree = [Custom(1, Custom(2))]
    assert pax_tree.tree_get_at(tree, (0, 1, 0)) == 2
    assert pax_tree.tree_get_at(tree, "[0][<flat index 1>][<flat index 0>]") == 2
    assert pax_tree.tree_replace_at(tree, "0/0", 5)[0].children[0] == 5


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (("layers", 2, "w"), "['layers'] has no child 2: it is a list with the children [0], [1]."),
        ("layers/2/w", "['layers'] has no child '2/w': it is a list with the children [0], [1]."),
        (("layer",), "the tree has no child 'layer': it is a dict with the children ['empty'], "),
        (("layers", 0, "w", 1), "['layers'][0]['w'] has no child 1: it is a leaf of type int."),
        (("layers", 1, 0), "['layers'][1] has no child 0: it is None, with no children."),
        (("empty", "x"), "['empty'] has no child 'x': it is a dict with no children."),
        (("many", 9), "with the children [0], [1], [2], [3], [4], [5], [6], [7] and 1 more."),
        (("layers", "0"), "['layers'] has no child '0'"),
    ],
)
@pytest.mark.parametrize("name", ["tree_get_at", "tree_replace_at"])
def test_errors_name_what_exists(name, path, message):
    tree = {"layers": [{"w": 1}, None], "empty": {}, "many": 9 * [0]}
    rest = (0,) if name == "tree_replace_at" else ()
    with pytest.raises(LookupError, match=f"^{name}: .*{re.escape(message)}"):
        getattr(pax_tree, name)(tree, path, *rest)


def test_ambiguous_and_wrong_paths():
    with pytest.raises(LookupError, match=r"'a.b' has 2 meanings: \['a.b'\], \['a'\]\['b'\]; give"):
        pax_tree.tree_get_at({"a.b": 1, "a": {"b": 2}}, "a.b")
    with pytest.raises(LookupError, match=r"'1' has 2 meanings: \[1\], \['1'\]"):
        pax_tree.tree_get_at({1: 1, "1": 2}, "1")
    assert pax_tree.tree_get_at({1: 1, "1": 2}, ("1",)) == 2
    with pytest.raises(LookupError, match=r"\[0\] has 2 children 'twin'\."):
        pax_tree.tree_get_at([Twins(1, 2)], (0, "twin"))
    for wrong in (0, None, {"a"}):
        with pytest.raises(TypeError, match="takes a path as a tuple of keys or as text, but got"):
            pax_tree.tree_get_at([1], wrong)
