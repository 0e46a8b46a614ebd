"""The interpreter's own named tuples: `time.struct_time`, `os.stat_result` and the like."""

import copy
import os
import pickle
import sys
import time

import pytest

import pax_tree

SEQUENCES = {
    "struct_time": time.localtime(86400.0),
    "stat_result": os.stat(os.curdir),
    "times_result": os.times(),
    "terminal_size": os.terminal_size((80, 24)),
}


def fields(value):
    return {name: getattr(value, name) for name in dir(value) if name.startswith(("tm_", "st_"))}


@pytest.mark.parametrize("name", SEQUENCES)
def test_are_nodes_that_lose_nothing(name):
    value = SEQUENCES[name]
    leaves, structure = pax_tree.tree_flatten({"a": [value]})
    assert leaves == list(value)
    for made in (structure.unflatten(leaves), pax_tree.tree_map(lambda x: x, {"a": [value]})):
        (back,) = made["a"]
        assert type(back) is type(value)
        assert back == value
        assert fields(back) == fields(value)
    assert pax_tree.is_tree_node(type(value))
    assert pickle.loads(pickle.dumps(structure)) == structure
    assert copy.deepcopy(structure) == structure
    assert hash(structure) == hash(pax_tree.tree_structure({"a": [value]}))


@pytest.mark.parametrize("name", SEQUENCES)
def test_paths_lead_to_the_items(name):
    value = SEQUENCES[name]
    accessors = pax_tree.tree_accessors(value)
    assert [accessor(value) for accessor in accessors] == list(value)
    code = [accessor.codify("value") for accessor in accessors]
    assert [eval(text, {"value": value}) for text in code] == list(value)
    assert pax_tree.tree_structure(value).paths() == accessors


def test_names():
    paths = [pax_tree.keystr(path) for path, _ in pax_tree.tree_leaves_with_path(time.gmtime(0))]
    assert paths[0] == ".tm_year"
    paths = [pax_tree.keystr(path) for path, _ in pax_tree.tree_leaves_with_path(os.stat("."))]
    assert paths[-1] == "[9]"  # has no name
    assert pax_tree.tree_get_at(time.gmtime(0), "tm_mday") == 1


def test_other_fields_are_static():
    summer, winter = (time.struct_time(range(9), {"tm_zone": zone}) for zone in ("A", "B"))
    structures = list(map(pax_tree.tree_structure, (summer, winter)))
    assert structures[0] != structures[1]
    with pytest.raises(ValueError, match="tm_zone"):
        pax_tree.tree_map(lambda x, y: x, summer, winter)


def test_those_that_cannot_be_made_are_leaves():
    assert pax_tree.tree_leaves([sys.flags, sys.version_info]) == [sys.flags, sys.version_info]
    assert not pax_tree.is_tree_node(type(sys.flags))


def test_a_tuple_with_their_attributes_is_a_leaf():
    class Own(tuple):
        n_fields = n_sequence_fields = 1
        n_unnamed_fields = 0

    assert pax_tree.tree_leaves(Own((1,))) == [(1,)]
