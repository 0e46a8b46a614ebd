"""Of what was wrapped, used and dropped nothing is left, in every package; at most what JAX or optax keep alone."""

import functools

import pytest

from benchmarks.leaks import FLOORS, WRAPPERS, alive_after


@functools.cache
def kept_alone(floor):
    return alive_after(FLOORS[floor], 2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WRAPPERS)
def test_nothing_is_left_of_what_was_wrapped(name):
    trial, floor = WRAPPERS[name]
    allowed = max(1, kept_alone(floor))
    assert alive_after(trial, 2, allowed) <= allowed
