"""No function keeps references, blocks or memory, on success or on failure."""

import contextlib
import functools
import gc
import os
import sys
from itertools import repeat

import pytest
from odd_classes import broken
from public_calls import (
    BAD_INPUTS,
    CALLS,
    DM_BAD_INPUTS,
    DM_SMALL,
    DM_WALKS,
    DM_WITH_FUNCTION,
    ELSEWHERE,
    ERRORS,
    LARGE,
    LEAF,
    SLOW,
    SMALL,
    WALKS,
    WITH_FUNCTION,
    WITH_IS_LEAF,
    name_of,
    public_names,
)

CASES = {}
for name, walk in WALKS.items():
    CASES[f"{name}-small"] = functools.partial(walk, SMALL)
    CASES[f"{name}-large"] = functools.partial(walk, LARGE)
    for bad, (_, tree) in BAD_INPUTS.items():
        CASES[f"{name}-{bad}"] = functools.partial(walk, tree)
for name, walk in DM_WALKS.items():
    CASES[f"{name}-small"] = functools.partial(walk, DM_SMALL)
    for bad, (_, tree) in DM_BAD_INPUTS.items():
        CASES[f"{name}-{bad}"] = functools.partial(walk, tree)
for name, function in (
    *WITH_IS_LEAF.items(),
    *WITH_FUNCTION.items(),
    *DM_WITH_FUNCTION.items(),
):
    CASES[f"{name}-callback"] = functools.partial(function, lambda *_: False, SMALL)
    CASES[f"{name}-callback_fails"] = functools.partial(function, broken, SMALL)
CASES |= CALLS
CASES |= {f"{name}-fails": call for name, (_, call) in ERRORS.items()}


MANY = int(os.environ.get("PAX_TREE_LEAK_CALLS", "100000"))


def calls_of(case):
    """How often a case is called; slow ones less often."""
    if case.endswith("-deep"):
        return 200
    slow = case.endswith("-large") or case.partition("-")[0] in SLOW
    return MANY // 10 if slow else MANY


def resident_kilobytes():
    if not os.path.exists("/proc/self/statm"):
        return 0
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def measure(call, times):
    """What is in use after so many calls: blocks, references to a leaf and to None, memory."""
    for _ in repeat(None, times):
        with contextlib.suppress(Exception):
            call()
    gc.collect()
    return (
        sys.getallocatedblocks(),
        sys.getrefcount(LEAF),
        sys.getrefcount(None),
        resident_kilobytes(),
    )


def growth(call, times):
    """What so many calls leave in use."""
    before = measure(call, 100)
    after = measure(call, times)
    return [b - a for a, b in zip(before, after, strict=True)]


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_kept(case, record_property):
    call, times = CASES[case], calls_of(case)
    gc.freeze()
    try:
        measure(call, max(100, times // 50))
        grown = growth(call, times)
        if grown[0] >= min(times, 1000) // 2:
            # Threads that earlier tests left may take some blocks once; a leak takes them again.
            grown = growth(call, times)
    finally:
        gc.unfreeze()
    blocks, leaf, none, kilobytes = grown
    record_property("kept", (times, blocks, leaf, none, kilobytes))
    assert leaf == 0
    assert abs(none) < 20
    assert blocks < min(times, 1000) // 2  # a leak would be one for each call
    assert kilobytes < 4096 or times < 10_000


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
@pytest.mark.parametrize("bad", BAD_INPUTS)
def test_bad_trees_fail(walk, bad):
    error, tree = BAD_INPUTS[bad]
    with pytest.raises(error):
        walk(tree)


@pytest.mark.parametrize("walk", DM_WALKS.values(), ids=DM_WALKS)
@pytest.mark.parametrize("bad", DM_BAD_INPUTS)
def test_bad_trees_fail_for_dm_tree(walk, bad):
    error, tree = DM_BAD_INPUTS[bad]
    with pytest.raises(error):
        walk(tree)


@pytest.mark.parametrize("case", ERRORS)
def test_bad_calls_fail(case):
    error, call = ERRORS[case]
    with pytest.raises(error):
        call()


@pytest.mark.parametrize("tree", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
def test_good_trees_do_not_fail(walk, tree):
    walk(tree)


@pytest.mark.parametrize("walk", DM_WALKS.values(), ids=DM_WALKS)
def test_good_trees_do_not_fail_for_dm_tree(walk):
    walk(DM_SMALL)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_good_calls_do_not_fail(call):
    call()


def test_every_public_name_is_called():
    called = {name_of(case) for cases in (WALKS, DM_WALKS, CALLS, ELSEWHERE) for case in cases}
    assert sorted(set(public_names()) - called) == [], "enter these names in public_calls.py"
    assert sorted(called - set(public_names())) == [], "these names are public no more"
    for cases in (WITH_FUNCTION, WITH_IS_LEAF, DM_WITH_FUNCTION):
        assert {name_of(case) for case in cases} <= called
