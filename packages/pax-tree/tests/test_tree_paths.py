"""Key paths: keys, keystr and the functions with paths."""

import pickle
from collections import OrderedDict, deque, namedtuple

import pytest

import pax_tree
from pax_tree import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey

Point = namedtuple("Point", "x y")

KEYS = {
    "dict": (DictKey("a"), "DictKey(key='a')", "['a']"),
    "sequence": (SequenceKey(0), "SequenceKey(idx=0)", "[0]"),
    "attribute": (GetAttrKey("b"), "GetAttrKey(name='b')", ".b"),
    "index": (FlattenedIndexKey(3), "FlattenedIndexKey(key=3)", "[<flat index 3>]"),
}


@pytest.mark.parametrize(("key", "representation", "text"), KEYS.values(), ids=KEYS)
def test_keys(key, representation, text):
    assert repr(key) == representation
    assert str(key) == text
    (field,) = key.__match_args__
    twin = type(key)(**{field: getattr(key, field)})
    assert key == twin
    assert hash(key) == hash(twin)
    assert key != type(key)("other")
    assert pickle.loads(pickle.dumps(key)) == key
    with pytest.raises(AttributeError):
        setattr(key, field, 1)


def test_keys_of_different_types_differ():
    assert DictKey(0) != SequenceKey(0)
    assert len({DictKey(0), SequenceKey(0), FlattenedIndexKey(0), GetAttrKey(0)}) == 4


def test_match():
    match DictKey("a"):
        case DictKey(key):
            assert key == "a"


def test_keystr():
    path = (DictKey("a"), SequenceKey(0), GetAttrKey("b"), FlattenedIndexKey(3))
    assert pax_tree.keystr(path) == "['a'][0].b[<flat index 3>]"
    assert pax_tree.keystr(path, simple=True, separator="/") == "a/0/b/3"


def test_paths_of_every_container():
    tree = {"b": [1, (2,)], "a": Point(3, None), "o": OrderedDict(z=4), "q": deque([5])}
    pairs, structure = pax_tree.tree_flatten_with_path(tree)
    assert [(pax_tree.keystr(path), leaf) for path, leaf in pairs] == [
        ("['a'].x", 3),
        ("['b'][0]", 1),
        ("['b'][1][0]", 2),
        ("['o']['z']", 4),
        ("['q'][0]", 5),
    ]
    assert structure == pax_tree.tree_structure(tree)
    assert pax_tree.tree_leaves_with_path(tree) == pairs


def test_map_with_path():
    tree = {"a": [1, 2], "b": 3}
    result = pax_tree.tree_map_with_path(
        lambda path, x, y: (pax_tree.keystr(path), x + y), tree, tree
    )
    assert result == {"a": [("['a'][0]", 2), ("['a'][1]", 4)], "b": ("['b']", 6)}
    assert pax_tree.tree_map_with_path(lambda path, x: path, 1) == ()


def test_is_leaf_takes_path():
    def at_a(path, node):
        return path == (DictKey("a"),)

    tree = {"a": [1, 2], "b": [3]}
    leaves = pax_tree.tree_leaves_with_path(tree, at_a, is_leaf_takes_path=True)
    assert [leaf for _, leaf in leaves] == [[1, 2], 3]
    result = pax_tree.tree_map_with_path(
        lambda _, x: str(x), tree, is_leaf=at_a, is_leaf_takes_path=True
    )
    assert result == {"a": "[1, 2]", "b": ["3"]}


def test_none_is_leaf_and_long_lists():
    assert pax_tree.tree_leaves_with_path([None], none_is_leaf=True) == [((SequenceKey(0),), None)]
    assert pax_tree.tree_leaves_with_path([0] * 300)[-1][0] == (SequenceKey(299),)


def test_a_mismatch_with_paths():
    with pytest.raises(ValueError, match=r"tree_map_with_path: .* at \['a'\]"):
        pax_tree.tree_map_with_path(lambda path, x, y: None, {"a": [1]}, {"a": []})
