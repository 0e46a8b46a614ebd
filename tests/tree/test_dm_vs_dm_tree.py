"""pax_tree.dm against dm-tree: the same results, types, calls and classes of exceptions."""

import collections
import inspect
import itertools
import types

import pytest
import tree
import wrapt
from hypothesis import given, settings
from hypothesis import strategies as st

from pax_tree import dm
from tests.tree.dm_nests import (
    GOOD_NESTS,
    LEAVES,
    NESTS,
    NESTS_TO_READ,
    DictProxy,
    Pair,
    described,
    outcome,
    variant,
)

CASES = settings(max_examples=300, deadline=None)


def assert_same_outcome(name, *args, **kwargs):
    ours = outcome(getattr(dm, name), *args, **kwargs)
    theirs = outcome(getattr(tree, name), *args, **kwargs)
    assert ours == theirs


def recorded(library, name, *args, result=lambda *leaves: leaves, before=0, **kwargs):
    """The outcome of a function that maps, with the calls it made when it succeeded."""
    calls = []

    def f(*leaves):
        calls.append(described(leaves))
        return result(*leaves)

    found = outcome(getattr(library, name), *args[:before], f, *args[before:], **kwargs)
    return (found, None) if isinstance(found, type) else (found, calls)


def assert_same_calls(name, *args, **kwargs):
    assert recorded(dm, name, *args, **kwargs) == recorded(tree, name, *args, **kwargs)


@CASES
@given(NESTS_TO_READ)
def test_reading_one_structure(nest):
    for name in ("is_nested", "flatten", "flatten_with_path"):
        assert_same_outcome(name, nest)


@CASES
@given(NESTS)
def test_map_over_one(nest):
    assert_same_calls("map_structure", nest)
    assert_same_calls("map_structure_with_path", nest)


@CASES
@given(NESTS, st.data(), st.booleans())
def test_map_over_variants(nest, data, check_types):
    rest = [data.draw(variant(nest)) for _ in range(data.draw(st.integers(1, 2)))]
    assert_same_calls("map_structure", nest, *rest, check_types=check_types)


@CASES
@given(NESTS, NESTS, st.booleans())
def test_map_over_unrelated(first, second, check_types):
    assert_same_calls("map_structure", first, second, check_types=check_types)
    assert_same_calls("map_structure_with_path", first, second)


@CASES
@given(NESTS, st.data())
def test_map_with_path_over_variants(nest, data):
    assert_same_calls("map_structure_with_path", nest, data.draw(variant(nest)))


@CASES
@given(NESTS, st.lists(LEAVES, max_size=14), st.sampled_from([list, tuple, set, collections.deque]))
def test_unflatten(nest, leaves, kind):
    if kind is not set:
        assert_same_outcome("unflatten_as", nest, kind(leaves))
    fitting = range(len(tree.flatten(nest))) if outcome(tree.flatten, nest) is not TypeError else []
    assert_same_outcome("unflatten_as", nest, kind(fitting))
    assert_same_outcome("unflatten_as", nest, dict.fromkeys(fitting))


@CASES
@given(NESTS_TO_READ, NESTS_TO_READ, st.data(), st.booleans())
def test_assert_same_structure(nest, unrelated, data, check_types):
    for other in (nest, unrelated, data.draw(variant(nest))):
        if outcome(tree.flatten, [nest, other]) is TypeError:  # what dm-tree says then is by chance
            ours = outcome(dm.assert_same_structure, nest, other, check_types)
            assert ours in (TypeError, ValueError)
            continue
        assert_same_outcome("assert_same_structure", nest, other, check_types)
        assert_same_outcome("assert_same_structure", other, nest, check_types=check_types)


@CASES
@given(NESTS_TO_READ, NESTS_TO_READ, st.data(), st.booleans())
def test_up_to_one(nest, unrelated, data, check_types):
    for other in (nest, unrelated, data.draw(variant(nest, NESTS))):
        shallow = outcome(dm.assert_shallow_structure, nest, other, check_types=check_types)
        assert shallow == outcome(tree._assert_shallow_structure, nest, other, None, check_types)
        for name in ("flatten_up_to", "flatten_with_path_up_to"):
            assert_same_outcome(name, nest, other, check_types)


@CASES
@given(NESTS, st.data())
def test_map_up_to(nest, data):
    deeper = data.draw(variant(nest, NESTS))
    for rest in ((nest,), (deeper,), (nest, deeper), (deeper, deeper), ()):
        for name in ("map_structure_up_to", "map_structure_with_path_up_to"):
            assert_same_calls(name, nest, *rest, before=1)


ANSWERS = st.lists(st.sampled_from(["none", "map to none", 1, [2]]), min_size=8, max_size=8)


@CASES
@given(NESTS, st.booleans(), ANSWERS)
def test_traverse(nest, top_down, answers):
    def replacing(library, name):
        found = {"none": None, "map to none": library.MAP_TO_NONE}
        turns = itertools.cycle([None, None, *(found.get(str(a), a) for a in answers)])
        return recorded(library, name, nest, result=lambda *_: next(turns), top_down=top_down)

    for name in ("traverse", "traverse_with_path"):
        assert replacing(dm, name) == replacing(tree, name)


@CASES
@given(
    GOOD_NESTS,
    st.integers(0, 5),
    st.sampled_from([ValueError, TypeError, KeyError, KeyboardInterrupt]),
)
def test_the_exception_of_the_function_comes_out(nest, fatal, error):
    def run(library, name, *args):
        turns = iter(range(10**6))

        def f(*_):
            if next(turns) == fatal:
                raise error("from the function")

        try:
            getattr(library, name)(f, *args)
        except BaseException as raised:
            return type(raised), raised.args == ("from the function",)

    for name in ("map_structure", "map_structure_with_path"):
        assert run(dm, name, nest) == run(tree, name, nest)


def test_structures_are_seen_to_be_alike_before_the_first_call():
    calls = []
    with pytest.raises(ValueError, match=r"\('b',\)"):
        dm.map_structure(lambda *leaves: calls.append(leaves), {"a": 1, "b": 2}, {"a": 1, "b": [2]})
    assert calls == []


@pytest.mark.parametrize("name", sorted([*tree.__all__, "traverse_with_path"]))
def test_names_and_parameters(name):
    assert name in dm.__all__
    theirs = getattr(tree, name)
    if not inspect.isfunction(theirs):
        return
    ours = [p.name for p in inspect.signature(getattr(dm, name)).parameters.values()]
    expected = [p.name for p in inspect.signature(theirs).parameters.values()]
    assert [n for n in ours if n != "check_types"] == [
        n for n in expected if n not in ("kwargs", "check_types")
    ]


CALLS_WITHOUT_SENSE = {
    "not callable": lambda t: t.map_structure(3, [1]),
    "no structure": lambda t: t.map_structure(abs),
    "unknown keyword": lambda t: t.map_structure(abs, [1], check=True),
    "not a sequence": lambda t: t.unflatten_as([1], 3),
    "text for leaves": lambda t: t.unflatten_as([1], "a"),
    "too many leaves": lambda t: t.unflatten_as([1], [1, 2]),
    "leaf, no leaves": lambda t: t.unflatten_as(1, []),
    "unsortable": lambda t: t.flatten({"a": 1, 2: 3}),
    "unsortable with path": lambda t: t.flatten_with_path({"a": 1, 2: 3}),
    "no argument": lambda t: t.flatten(),
    "two arguments": lambda t: t.flatten(1, 2),
    "parameter twice": lambda t: t.flatten(1, structure=2),
}


@pytest.mark.parametrize("call", CALLS_WITHOUT_SENSE.values(), ids=CALLS_WITHOUT_SENSE)
def test_errors_of_calls(call):
    expected = outcome(call, tree)
    assert isinstance(expected, type)
    assert outcome(call, dm) is expected


# Where the two differ, on purpose.


def test_proxies_of_mappings_wrap_mappings():
    proxy = DictProxy({"b": 1, "a": 2})
    ours = dm.map_structure(lambda x: x + 1, proxy)
    assert type(ours) is DictProxy
    assert ours.__wrapped__ == {"b": 2, "a": 3}
    theirs = tree.map_structure(lambda x: x + 1, proxy)
    assert isinstance(theirs.__wrapped__, types.GeneratorType)


def test_each_proxy_is_taken_for_what_it_wraps():
    class Proxy(wrapt.ObjectProxy):
        pass

    assert tree.flatten(Proxy([1, 2])) == dm.flatten(Proxy([1, 2])) == [1, 2]
    assert dm.flatten(Proxy(3)) == [3]
    with pytest.raises(TypeError):
        tree.flatten(Proxy(3))  # the first object of the class was a sequence


def test_the_exception_of_a_function_below_a_named_tuple_comes_out_of_traverse():
    def fail(x):
        if x == 1:
            raise KeyError("from the function")

    with pytest.raises(KeyError):
        dm.traverse(fail, Pair(1, 2))
    with pytest.raises(TypeError):
        tree.traverse(fail, Pair(1, 2))


def test_no_structure_is_a_value_error_with_paths_too():
    with pytest.raises(ValueError, match="structure"):
        dm.map_structure_with_path(abs)
    with pytest.raises(IndexError):
        tree.map_structure_with_path(abs)


def test_unknown_keywords_are_errors_with_paths_too():
    with pytest.raises(ValueError, match="'check'"):
        dm.map_structure_with_path(lambda path, x: x, [1], check=True)
    assert tree.map_structure_with_path(lambda path, x: x, [1], check=True) == [1]
