"""Static arguments: which they are, how they leave a call and come back, and which are the same."""

import copy
import decimal
import functools
import math
import pickle
from collections import namedtuple

import pytest

from pax_tree._static_args import Static, StaticArguments

Pair = namedtuple("Pair", "x y")


def f(x, n=1, *, mode="up"):
    return x, n, mode


def splits(fun, argnums, argnames, *args, **kwargs):
    """Splits a call and joins it again; returns which arguments are static."""
    statics = StaticArguments(fun, argnums, argnames, "jit")
    rest, named, static = statics.split(args, kwargs)
    assert len(rest) == len(args)
    assert static.join(rest, named) == (args, kwargs)
    places = {*dict(static.args), *dict(static.kwargs)}
    assert all(value is None for i, value in enumerate(rest) if i in places)
    assert named == {name: value for name, value in kwargs.items() if name not in places}
    return places


@pytest.mark.parametrize(
    ("argnums", "argnames"), [(1, None), ((1,), ()), (None, "n"), ((), ["n"]), (-1, None)]
)
def test_an_argument_is_static_by_position_and_by_name(argnums, argnames):
    assert splits(f, argnums, argnames, 1, 2) == {1}
    assert splits(f, argnums, argnames, 1, n=2) == {"n"}
    assert splits(f, argnums, argnames, 1, 2, mode="down") == {1}
    assert splits(f, argnums, argnames, 1) == set()


def test_numbers_and_names_add_up():
    assert splits(f, 0, "mode", 1, 2, mode="down") == {0, "mode"}
    assert splits(f, (0, 1), ("n",), 1, 2) == {0, 1}


def test_positional_only_named_only_and_variadic_arguments():
    assert splits(lambda x, n, /, **more: 0, 1, None, 1, 2, n=3) == {1}
    assert splits(lambda x, **more: 0, None, "n", 1, n=3) == {"n"}
    assert splits(lambda *all: 0, 2, None, 1, 2, 3) == {2}
    assert splits(lambda *all: 0, 2, None, 1, 2) == set()
    assert splits(lambda *all: 0, -1, None, 1, 2) == {1}
    assert splits(max, -1, "key", 1, 2, key=3) == {1, "key"}
    assert splits(functools.partial(f, 1), None, "mode", mode=2) == {"mode"}
    assert splits(functools.wraps(f)(lambda *args, **kwargs: 0), None, "n", 1, 2) == {1}


def test_without_static_arguments_nothing_happens():
    statics = StaticArguments(f, None, (), "jit")
    args, kwargs = (1,), {"n": 2}
    rest, named, static = statics.split(args, kwargs)
    assert not statics
    assert rest is args
    assert named is kwargs
    assert not static
    assert static == Static()


NAN = float("nan")
SAME = [
    (NAN, -float("nan")),
    (NAN, math.inf - math.inf),
    ((1, (NAN,)), (1, (float("nan"),))),
    (complex(NAN, 1), complex(float("nan"), 1)),
    (frozenset([1.0]), frozenset([1.0])),
    ("a", "".join(["a"])),
    (Pair(1, 2.0), Pair(1, 2.0)),
    (f, f),
    (10**30, 10**30),
]
DIFFERENT = [
    (1, 1.0),
    (1, True),
    (0.0, -0.0),
    ((0.0,), (-0.0,)),
    ((1, ("a", 0.0)), (1, ("a", -0.0))),
    (frozenset([0.0]), frozenset([-0.0])),
    (complex(0.0, 0.0), complex(0.0, -0.0)),
    ((1, 2), Pair(1, 2)),
    ((1,), (True,)),
    (Pair(1, 2), Pair(1, 2.0)),
    (decimal.Decimal(1), 1),
    ("1", 1),
    (None, ()),
]


def static_of(value):
    return StaticArguments(f, 1, None, "jit").split((0, value), {})[2]


@pytest.mark.parametrize(("a", "b"), SAME)
def test_equal_values_are_one_program(a, b):
    assert static_of(a) == static_of(b)
    assert hash(static_of(a)) == hash(static_of(b))
    assert len({static_of(a), static_of(b)}) == 1


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_other_values_or_types_are_other_programs(a, b):
    assert static_of(a) != static_of(b)
    assert static_of(a) == static_of(a)


def test_places_count():
    statics = StaticArguments(f, (0, 1), "mode", "jit")
    calls = [((3,), {}), ((3, 3), {}), ((), {"n": 3}), ((), {"x": 3}), ((3,), {"mode": 3})]
    found = [statics.split(args, kwargs)[2] for args, kwargs in calls]
    assert len(set(found)) == len(calls)
    assert Static() != ()


def test_they_are_copied_and_pickled():
    statics = StaticArguments(f, 1, "mode", "jit")
    for other in (copy.deepcopy(statics), pickle.loads(pickle.dumps(statics))):
        assert other.split((1, 2), {"mode": 3})[2] == statics.split((1, 2), {"mode": 3})[2]


@pytest.mark.parametrize(
    ("fun", "argnums", "argnames", "error", "message"),
    [
        (f, 2, None, ValueError, "jit: static_argnums contains 2, but the function takes 2 pos"),
        (f, (0, -3), None, ValueError, "jit: static_argnums contains -3"),
        (f, None, "k", ValueError, "jit: static_argnames contains 'k', .*; it has x, n, mode."),
        (lambda x, /, **k: 0, None, "x", ValueError, "contains 'x', .*; it has none."),
        (lambda *x, **k: 0, None, "x", ValueError, "contains 'x'"),
        (f, "0", None, TypeError, "jit: static_argnums must be integers, got '0'."),
        (f, 1.0, None, TypeError, "static_argnums must be integers, got 1.0."),
        (f, [True], None, TypeError, "static_argnums must be integers"),
        (f, None, [0], TypeError, r"jit: static_argnames must be strings, got \[0\]."),
        (f, None, 0, TypeError, "static_argnames must be strings, got 0."),
    ],
)
def test_arguments_that_are_refused(fun, argnums, argnames, error, message):
    with pytest.raises(error, match=message):
        StaticArguments(fun, argnums, argnames, "jit")


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((1, []), {}, r"static argument 1 is \[\] of type list; give a tuple"),
        ((1,), {"n": {}}, r"static argument 'n' is \{\} of type dict"),
        ((1, (2, [3])), {}, r"static argument 1 is \(2, \[3\]\) of type tuple"),
    ],
)
def test_values_that_are_not_hashable(args, kwargs, message):
    with pytest.raises(ValueError, match=f"jit: non-hashable .* are not supported, but {message}"):
        StaticArguments(f, 1, None, "jit").split(args, kwargs)


def test_a_number_from_the_end_of_a_call_that_is_shorter():
    statics = StaticArguments(lambda *all: 0, -2, None, "jit")
    with pytest.raises(ValueError, match="jit: static_argnums contains -2, but the call has 1 pos"):
        statics.split((1,), {})


def test_a_number_of_a_class_of_its_own_is_compared_as_that_class_does():
    class Named(float):
        __slots__ = ()

        def __repr__(self):
            return "named"

    assert Static(((1, Named(2.0)),)) != Static(((1, Named(3.0)),))
    assert Static(((1, Named(2.0)),)) == Static(((1, Named(2.0)),))
    assert Static(((1, Named(2.0)),)) != Static(((1, 2.0),))
