"""tree_summary."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import pax_tree

MODEL = {
    "layers": [{"w": np.ones((1000, 20), np.float32), "b": np.zeros(20, np.float32)}, None],
    "step": 3,
    "mask": np.array([True]),
}
TABLE = """\
path                type                dtype    elements   bytes
-----------------------------------------------------------------
['layers']          list of 2           float32    20,020  80,080
['layers'][0]       dict of 2           float32    20,020  80,080
['layers'][0]['b']  ndarray [20]        float32        20      80
['layers'][0]['w']  ndarray [1000, 20]  float32    20,000  80,000
['layers'][1]       None                                0
['mask']            ndarray [1]         bool            1       1
['step']            int                                 1
-----------------------------------------------------------------
total               4 leaves            mixed      20,022  80,081"""


def cells(text):
    lines = text.split("\n")
    assert len({len(line) for line in lines if line.startswith("---")}) == 1
    return [re.split(r"  +", line) for line in lines if not line.startswith("---")]


def test_the_whole_table():
    assert pax_tree.tree_summary(MODEL) == TABLE


def test_depth():
    assert cells(pax_tree.tree_summary(MODEL, 1)) == [
        ["path", "type", "dtype", "elements", "bytes"],
        ["['layers']", "list of 2", "float32", "20,020", "80,080"],
        ["['mask']", "ndarray [1]", "bool", "1", "1"],
        ["['step']", "int", "1"],
        ["total", "4 leaves", "mixed", "20,022", "80,081"],
    ]
    full = cells(TABLE)
    assert cells(pax_tree.tree_summary(MODEL, depth=2)) == [*full[:3], *full[5:]]
    assert cells(pax_tree.tree_summary(MODEL, 0)) == [full[0], full[-1]]
    assert pax_tree.tree_summary(MODEL, 9) == TABLE


def test_leaves_of_all_kinds():
    class Broken:
        @property
        def shape(self):
            raise RuntimeError("not yet")

    class Spec:
        shape, dtype = (2, 3), np.dtype("int16")

    rows = cells(pax_tree.tree_summary([Broken(), Spec(), "text", np.float64(1), None, {}]))
    assert rows[2:-1] == [
        ["[1]", "Spec [2, 3]", "int16", "6", "12"],
        ["[2]", "str", "1"],
        ["[3]", "float64 []", "float64", "1", "8"],
        ["[4]", "None", "0"],
        ["[5]", "dict of 0", "0"],
    ]
    assert rows[1] == ["[0]", "Broken", "1"]
    assert rows[-1] == ["total", "4 leaves", "mixed", "9", "20"]


def test_roots_and_options():
    assert cells(pax_tree.tree_summary(np.ones(3)))[1:] == [
        ["", "ndarray [3]", "float64", "3", "24"],
        ["total", "1 leaf", "float64", "3", "24"],
    ]
    assert cells(pax_tree.tree_summary({}))[1:] == [["total", "0 leaves", "0"]]
    assert cells(pax_tree.tree_summary([None], none_is_leaf=True))[1:] == [
        ["[0]", "None", "1"],
        ["total", "1 leaf", "1"],
    ]
    whole = pax_tree.tree_summary([(1, 2)], is_leaf=lambda x: isinstance(x, tuple))
    assert cells(whole)[1] == ["[0]", "tuple", "1"]


TREES = st.recursive(
    st.integers(1, 3).map(np.ones),
    lambda trees: st.one_of(
        st.lists(trees, max_size=3), st.dictionaries(st.sampled_from("ab"), trees, max_size=2)
    ),
    max_leaves=8,
)


@given(TREES)
def test_subtotals_and_total(tree):
    rows = {row[0]: row for row in cells(pax_tree.tree_summary(tree))[1:]}
    leaves = pax_tree.tree_leaves_with_path(tree)
    assert int(rows["total"][1].split()[0]) == len(leaves)
    assert int(rows["total"][3 if leaves else 2]) == sum(leaf.size for _, leaf in leaves)
    for path, _ in leaves:
        for n in range(1, len(path) + 1):
            under = [x for p, x in leaves if p[:n] == path[:n]]
            elements, size = sum(x.size for x in under), sum(x.nbytes for x in under)
            assert rows[pax_tree.keystr(path[:n])][2:] == ["float64", str(elements), str(size)]
