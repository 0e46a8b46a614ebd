"""tree_select and tree_mask."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pax_tree

LAYER = {"weight": 1, "bias": 2}
MODEL = {"layers": [LAYER, {"inner": LAYER}], "bias": 3, "scale": 4.0, "none": None}


def chosen(tree, pattern, **options):
    kept = pax_tree.tree_select(tree, pattern, **options)
    mask = pax_tree.tree_mask(tree, pattern, **options)
    whole, bools = pax_tree.tree_leaves(tree, **options), pax_tree.tree_leaves(mask)
    assert [leaf for leaf, keep in zip(whole, bools, strict=True) if keep] == pax_tree.tree_leaves(
        kept
    )
    assert all(type(keep) is bool for keep in bools)
    return [
        pax_tree.keystr(path, simple=True, separator="/")
        for path, keep in pax_tree.tree_leaves_with_path(mask)
        if keep
    ]


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("layers/*/weight", "layers/0/weight"),
        ("layers/**/weight", "layers/0/weight layers/1/inner/weight"),
        ("layers/**", "layers/0/bias layers/0/weight layers/1/inner/bias layers/1/inner/weight"),
        ("**/bias", "bias layers/0/bias layers/1/inner/bias"),
        ("**.bias", "bias layers/0/bias layers/1/inner/bias"),
        (
            "**/[bw]*",
            "bias layers/0/bias layers/0/weight layers/1/inner/bias layers/1/inner/weight",
        ),
        ("layers/[!0]/**", "layers/1/inner/bias layers/1/inner/weight"),
        ("layers/[0-9]/bias", "layers/0/bias"),
        ("layers/?/bias", "layers/0/bias"),
        ("*", "bias scale"),
        ("s*e", "scale"),
        ("bias", "bias"),
        (re.compile(r"/0/|^scale$"), "layers/0/bias layers/0/weight scale"),
        (float, "scale"),
        ((float, str), "scale"),
        (float | str, "scale"),
        (lambda path, leaf: leaf == 2 and len(path) == 3, "layers/0/bias"),
    ],
)
def test_patterns(pattern, paths):
    assert chosen(MODEL, pattern) == paths.split()


def test_everything():
    names = [
        pax_tree.keystr(path, simple=True, separator="/")
        for path, _ in pax_tree.tree_leaves_with_path(MODEL)
    ]
    for pattern in ("**", "**/*", "**/**", object):
        assert chosen(MODEL, pattern) == names
    assert chosen(5, "**") == [""]


def test_flat_names_with_dots():
    state = {"0.weight": 1, "0.bias": 2, "10.weight": 3}
    assert chosen(state, "*.weight") == ["0.weight", "10.weight"]
    assert chosen(state, "0.*") == ["0.bias", "0.weight"]
    assert chosen({"a": state}, "a/*.weight") == ["a/0.weight", "a/10.weight"]
    assert chosen({"a\n[b]": 1, "x": 2}, "a?[[]b[]]") == ["a\n[b]"]


def test_composes_with_map_and_leaf_options():
    kept = pax_tree.tree_select(MODEL, "**/weight")
    scaled = pax_tree.tree_map(lambda x: 10 * x, kept)
    assert scaled["layers"] == [
        {"weight": 10, "bias": None},
        {"inner": {"weight": 10, "bias": None}},
    ]
    assert scaled["bias"] is None
    pairs = pax_tree.tree_mask([(1, 2), 3], tuple, is_leaf=lambda x: isinstance(x, tuple))
    assert pairs == [True, False]
    mask = pax_tree.tree_mask([None, 1], lambda path, leaf: leaf is None, none_is_leaf=True)
    assert mask == [True, False]


NAMES = st.text("ab", min_size=1, max_size=2)


@given(
    st.lists(NAMES, min_size=1, max_size=4),
    st.lists(st.one_of(NAMES, st.sampled_from(["*", "**"])), min_size=1, max_size=4),
)
def test_globs_against_matching_name_by_name(names, pattern):
    tree = 1
    for name in reversed(names):
        tree = {name: tree}
    expected = by_name(names, pattern)
    assert (
        pax_tree.tree_any(pax_tree.tree_mask(tree, "/".join(pattern), allow_empty=True)) == expected
    )


def by_name(names, pattern):
    if not pattern:
        return not names
    if pattern[0] == "**":
        if len(pattern) == 1:
            return bool(names)
        return any(by_name(names[i:], pattern[1:]) for i in range(len(names) + 1))
    return bool(names) and pattern[0] in ("*", names[0]) and by_name(names[1:], pattern[1:])


def test_wrong_patterns():
    for wrong in (5, None, b"a"):
        with pytest.raises(
            TypeError, match="must be a glob, a compiled regular expression, a type"
        ):
            pax_tree.tree_select([1], wrong)
    with pytest.raises(KeyError, match="mine"):
        pax_tree.tree_mask([1], lambda path, leaf: {}["mine"])


@pytest.mark.parametrize("function", [pax_tree.tree_select, pax_tree.tree_mask])
@pytest.mark.parametrize(
    "pattern", ["layers", "layers/0", "**/wieght", "**.wieght", re.compile("^weight")]
)
def test_a_name_that_is_not_there(function, pattern):
    text = getattr(pattern, "pattern", pattern)
    message = f"The pattern '{text}' matches none of the 6 leaves; the nearest are 'layers"
    with pytest.raises(ValueError, match=re.escape(message)):
        function(MODEL, pattern)
    empty = function(MODEL, pattern, allow_empty=True)
    assert not any(pax_tree.tree_leaves(empty))
    assert function({}, pattern) == {}


@pytest.mark.parametrize("pattern", [str, (str, bytes), lambda path, leaf: False])
def test_a_question_may_be_answered_with_no(pattern):
    assert chosen(MODEL, pattern) == []


def test_paths_of_flax_variables_are_those_that_users_write():
    nnx = pytest.importorskip("flax.nnx")
    layer = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    for tree in (nnx.state(layer, nnx.Param), {"a": nnx.state(layer)}):
        mask = pax_tree.tree_mask(tree, "**/kernel")
        assert sorted(pax_tree.tree_leaves(mask)) == [False, True]
        assert pax_tree.tree_leaves(pax_tree.tree_mask(tree, re.compile("kernel$"))) == (
            pax_tree.tree_leaves(mask)
        )
        with pytest.raises(ValueError, match=r"'(a/)?kernel'"):
            pax_tree.tree_mask(tree, "**/value")
