"""Random nests of everything that dm-tree takes for a node, and what two outcomes must share."""

import collections
import traceback
import types
from collections import OrderedDict, UserDict, UserList, defaultdict, deque, namedtuple
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import attrs
import numpy as np
import wrapt
from hypothesis import strategies as st

Pair = namedtuple("Pair", "a b")
SamePair = namedtuple("Pair", "a b")
OtherPair = namedtuple("OtherPair", "a b")


class Typed(NamedTuple):
    y: object
    x: object


class SubPair(Pair):
    __slots__ = ()


class PlainTuple(tuple):
    __slots__ = ()


class SubList(list):
    pass


class SubDict(dict):
    pass


class Text(str):
    __slots__ = ()


class OwnMapping(Mapping):
    def __init__(self, *args):
        self.content = dict(*args)

    def __getitem__(self, key):
        return self.content[key]

    def __iter__(self):
        return iter(self.content)

    def __len__(self):
        return len(self.content)


class OwnSequence(Sequence):
    def __init__(self, items):
        self.items = list(items)

    def __getitem__(self, i):
        return self.items[i]

    def __len__(self):
        return len(self.items)


class FixedSequence(OwnSequence):
    """Cannot be made of its items."""

    def __init__(self, items, *, needed):
        super().__init__(items)


class OwnFactory(defaultdict):
    pass


@attrs.define
class Point:
    y: object
    x: object


@attrs.define
class OtherPoint:
    x: object
    y: object


@attrs.define
class Derived:
    """Cannot be made of its fields."""

    x: object
    double: object = attrs.field(init=False, default=0)


# dm-tree takes every object of a class for what the first one was, so each has a class of its own.
class ListProxy(wrapt.ObjectProxy):
    pass


class DictProxy(wrapt.ObjectProxy):
    pass


class PairProxy(wrapt.ObjectProxy):
    pass


class PointProxy(wrapt.ObjectProxy):
    pass


class TupleProxy(wrapt.ObjectProxy):
    pass


class IntProxy(wrapt.ObjectProxy):
    pass


ARRAY = np.arange(3)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(0, 9),
    st.sampled_from([1.5, "text", "", b"bytes", Text("sub"), 2j, ARRAY, np.float32(2)]),
    st.sampled_from([frozenset({1}), {2, 3}, int, len, ..., object]),
    st.integers(0, 9).map(IntProxy),
)
AWKWARD_LEAVES = st.one_of(LEAVES, st.sampled_from([bytearray(b""), bytearray(b"ab")]))
KEYS = st.one_of(
    st.lists(st.text("abc", max_size=2), max_size=4, unique=True),
    st.lists(st.integers(-3, 3), max_size=4, unique=True),
    st.sampled_from([[(0, 1), (0,)], [b"b", b"a"], [2, 1.5], [True, 0]]),
)
UNSORTABLE_KEYS = st.sampled_from([["a", 1], [(0, 1), (0, "a")], [None, "b"], [1j, 2j]])


def dicts(trees, keys=KEYS):
    def of(keys):
        return st.tuples(*[trees] * len(keys)).map(lambda values: dict(zip(keys, values)))

    return keys.flatmap(of)


def called(classes, *arguments):
    """One of the classes, called with the arguments."""
    return st.builds(lambda cls, *given: cls(*given), st.sampled_from(classes), *arguments)


def nodes(trees):
    """Nodes that can be taken apart and put together."""
    items = st.lists(trees, max_size=4)
    of_two = [Pair, SamePair, OtherPair, Typed, SubPair, Point, OtherPoint]
    of_items = [list, tuple, SubList, deque, UserList, OwnSequence, PlainTuple]
    of_dicts = [dict, OrderedDict, SubDict, OwnMapping, UserDict, types.MappingProxyType]
    return st.one_of(
        called(of_items, items),
        called(of_two, trees, trees),
        called(of_dicts, dicts(trees)),
        called([defaultdict, OwnFactory], st.just(list), dicts(trees)),
        items.map(ListProxy),
        items.map(tuple).map(TupleProxy),
        st.builds(Pair, trees, trees).map(PairProxy),
        st.builds(Point, trees, trees).map(PointProxy),
    )


def awkward_nodes(trees):
    """Nodes that fail somewhere, or are nodes for some functions only."""
    return st.one_of(
        dicts(trees, UNSORTABLE_KEYS),
        trees.map(Derived),
        st.lists(trees, max_size=2).map(lambda items: FixedSequence(items, needed=True)),
        st.integers(0, 3).map(range),
        dicts(trees).map(lambda d: d.values()),
        dicts(trees).map(lambda d: d.keys()),
        dicts(trees).map(lambda d: d.items()),
    )


GOOD_NESTS = st.recursive(LEAVES, nodes, max_leaves=12)
NESTS = st.one_of(
    GOOD_NESTS,
    st.recursive(
        AWKWARD_LEAVES,
        lambda trees: st.one_of(nodes(trees), nodes(trees), awkward_nodes(trees)),
        max_leaves=12,
    ),
)
# dm-tree makes proxies of generators out of proxies of mappings: only for what builds nothing
NESTS_TO_READ = st.one_of(
    NESTS,
    st.recursive(LEAVES, lambda trees: st.one_of(nodes(trees), dicts(trees).map(DictProxy))),
)


def children(x):
    """The children of a node, and how to make one of the same type of others."""
    if isinstance(x, dict | UserDict | OwnMapping):
        keys = list(x)
        factory = (x.default_factory,) if isinstance(x, defaultdict) else ()
        return list(x.values()), lambda xs: type(x)(*factory, dict(zip(keys, xs)))
    if isinstance(x, Pair | SamePair | OtherPair | Typed | SubPair) and type(x) is not PairProxy:
        return list(x), lambda xs: type(x)(*xs)
    if isinstance(x, list | tuple | deque | UserList) and not isinstance(x, wrapt.ObjectProxy):
        return list(x), type(x)
    if type(x) in (Point, OtherPoint):
        return list(attrs.astuple(x, recurse=False)), lambda xs: type(x)(*xs)
    return None


@st.composite
def variant(draw, nest, leaf=LEAVES):
    """The nest with other leaves, and perhaps a change to its structure."""
    found = children(nest)
    if found is None:
        return draw(leaf) if draw(st.integers(0, 3)) else nest
    action = draw(st.sampled_from([None] * 12 + ["leaf", "list", "tuple", "more", "less", "other"]))
    values, make = found
    values = [draw(variant(value, leaf)) for value in values]
    if action is None:
        return make(values)
    if action == "leaf":
        return draw(leaf)
    if action == "more":
        return [*values, 0]
    if action == "less":
        return values[:-1]
    if action == "other":
        two = [dict(enumerate(values)), OrderedDict(enumerate(values)), OwnSequence(values)]
        return draw(
            st.sampled_from(two if len(values) != 2 else [*two, SamePair(*values), Point(*values)])
        )
    return {"list": list, "tuple": tuple}[action](values)


def described(x):
    """What is equal for two results that are equal in value, types and the order of keys."""
    kind = type(x)
    if isinstance(x, wrapt.ObjectProxy):
        return kind, described(x.__wrapped__)
    if attrs.has(kind):
        return kind, [described(value) for value in attrs.astuple(x, recurse=False)]
    if isinstance(x, defaultdict):
        return kind, x.default_factory, [(key, described(value)) for key, value in x.items()]
    if isinstance(x, Mapping):
        return kind, [(key, described(value)) for key, value in x.items()]
    if isinstance(x, np.ndarray):
        return kind, id(x)
    if isinstance(x, Sequence | collections.abc.MappingView) and not isinstance(x, str | bytes):
        return kind, [described(value) for value in x]
    return kind, x


def outcome(function, *args, **kwargs):
    """The described result, or the class of the exception."""
    try:
        return described(function(*args, **kwargs))
    except Exception as error:
        return type(found_first(error))


def found_first(error):
    """dm-tree maps over the structures to say where they differ, which may fail in its turn."""
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    while "assert_same_structure" in names and error.__context__:
        error = error.__context__
    return error
