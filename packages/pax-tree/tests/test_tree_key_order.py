"""Equal dicts are equal structures, whatever their keys are and in whatever order they were filled."""

import dataclasses
import decimal
import enum
import fractions
import gc
import itertools
import json
import math
import pickle
import subprocess
import sys
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pax_tree
from pax_tree import dm


class Part(enum.Enum):
    ENCODER = 1
    DECODER = 2
    HEAD = 3


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 5


class Flags(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True)
class Place:
    row: int
    name: str


class Plain:
    """Compares by identity; its text has an address in it."""


class Slotted:
    """The same, and no weak reference to it can be made."""

    __slots__ = ()


class Ranked:
    """Compares by rank only, so that different keys are neither less nor greater."""

    def __init__(self, rank, name):
        self.rank, self.name = rank, name

    def __lt__(self, other):
        return self.rank < other.rank

    def __repr__(self):
        return f"Ranked({self.rank}, {self.name!r})"


class AtMost(Ranked):
    """Says "less" also of an equal rank."""

    def __lt__(self, other):
        return self.rank <= other.rank


def nested(key):
    return lambda: key


KEYS = {
    "members": [*Part],
    "members and others": [Part.HEAD, 3, "HEAD", None, Level.LOW, Flags.READ, Flags.WRITE],
    "composite flags": [Flags.READ | Flags.WRITE, Flags.READ, Flags.WRITE, Flags(0)],
    "int and str": [1, "x", 2, "a"],
    "numbers and str": [2.5, 1, "x", -1, True + 1, 1e300, 10**400, math.inf],
    "numbers": [fractions.Fraction(1, 3), decimal.Decimal("0.5"), 1 / 3, 1, 2j, 1 + 1j],
    "not a number": [math.nan, 1.0, -math.inf, 2.0],
    "two that are no number": [float("nan"), float("nan"), 1.0, 0.0],
    "text and bytes": ["a", b"a", "b", b"b"],
    "sets": [frozenset({1}), frozenset({2}), frozenset({1, 2}), frozenset({2, 3}), frozenset()],
    "tuples": [(1, "a"), ("a", 1), (None,), (1, None), (1, (2, "b")), (1, (2, 3)), ()],
    "tuples with nan": [(math.nan, 1), (1.0, 2), (math.nan, 0)],
    "classes": [int, str, Part, Plain],
    "functions": [len, nested(1), nested(2), nested],
    "data": [Place(2, "a"), Place(1, "b"), Place(1, "a")],
    "objects": [Plain(), Plain(), Plain()],
    "slots": [Slotted(), Slotted(), Slotted()],
    "bare objects": [object(), object(), object()],
    "ranks": [Ranked(2, "a"), Ranked(1, "b"), Ranked(1, "a")],
    "ranks that are at most": [AtMost(1, "c"), AtMost(1, "b"), AtMost(0, "z"), AtMost(1, "a")],
    "nothing": [None, Ellipsis, NotImplemented, 1],
}
ORDERS = st.sampled_from(sorted(KEYS)).flatmap(
    lambda name: st.tuples(st.permutations(KEYS[name]), st.permutations(KEYS[name]))
)
FORMS = st.sampled_from([dict, lambda items: defaultdict(int, items)])


def tree_of(keys, value):
    return {key: value(KEY_NUMBERS[id(key)]) for key in keys}


KEY_NUMBERS = {id(key): i + 1 for keys in KEYS.values() for i, key in enumerate(keys)}


@given(ORDERS, FORMS)
def test_equal_dicts_are_equal_structures(orders, form):
    trees = [form(tree_of(keys, lambda i: [i, (10 * i,)])) for keys in orders]
    assert trees[0] == trees[1]
    (leaves, structure), (others, other) = map(pax_tree.tree_flatten, trees)
    assert leaves == others
    assert structure == other
    assert hash(structure) == hash(other)
    assert structure.paths() == other.paths()
    assert pax_tree.tree_flatten_with_path(trees[0]) == pax_tree.tree_flatten_with_path(trees[1])
    assert list(pax_tree.tree_iter(trees[0])) == leaves
    assert list(structure.unflatten(others)) == list(trees[0])  # as it was filled
    assert structure.unflatten(others) == trees[1]


def listed(call):
    """What `call` is called with."""
    seen = []
    call(lambda *leaves: seen.append(leaves))
    return sorted(seen)


def transposed(tree, other):
    outer = pax_tree.tree_structure(tree)
    return pax_tree.tree_transpose(outer, pax_tree.tree_structure([0, 0]), other)


def unraveled(tree, other):
    return pax_tree.tree_ravel(tree)[1](pax_tree.tree_ravel(other)[0])


# What is called with a tree of numbers, and one with a pair of numbers in the place of each.
PREFIXES = {
    "tree_map": lambda a, b: pax_tree.tree_map(lambda x, y: (x, *y), a, b),
    "tree_map, broadcast": lambda a, b: pax_tree.tree_map(
        lambda y, x: (x, y), b, a, broadcast=True
    ),
    "tree_map_with_path": lambda a, b: pax_tree.tree_map_with_path(
        lambda path, x, y: (path, x, *y), a, b
    ),
    "tree_for_each": lambda a, b: listed(lambda f: pax_tree.tree_for_each(f, a, b)),
    "broadcast_prefix": pax_tree.broadcast_prefix,
    "tree_broadcast": pax_tree.tree_broadcast,
    "tree_broadcast_common": pax_tree.tree_broadcast_common,
    "tree_transpose": transposed,
    "flatten_up_to": lambda a, b: pax_tree.tree_structure(a).flatten_up_to(b),
    "compose": lambda a, b: (
        pax_tree.tree_structure(a).compose(pax_tree.tree_structure([0, 0]))
        == pax_tree.tree_structure(b)
    ),
}
# What is called with two trees of numbers.
PAIRS = {
    "tree_add": pax_tree.tree_add,
    "tree_add, alpha": lambda a, b: pax_tree.tree_add(a, b, alpha=3),
    "tree_subtract": pax_tree.tree_subtract,
    "tree_dot": pax_tree.tree_dot,
    "tree_diff": lambda a, b: sorted(d.max_abs for d in pax_tree.tree_diff(a, b)),
    "unflatten": lambda a, b: pax_tree.tree_structure(a).unflatten(pax_tree.tree_leaves(b)),
    "tree_unflatten": lambda a, b: pax_tree.tree_unflatten(
        pax_tree.tree_structure(a), pax_tree.tree_leaves(b)
    ),
    "tree_ravel": unraveled,
    "pickled": lambda a, b: pickle.loads(pickle.dumps(pax_tree.tree_structure([0]))),
}


@pytest.mark.parametrize("name", PREFIXES)
@given(ORDERS)
def test_prefixes_are_paired_by_key(name, orders):
    first, second = orders
    numbers = tree_of(first, lambda i: i)
    right = PREFIXES[name](numbers, tree_of(first, lambda i: [10 * i, 20 * i]))
    assert PREFIXES[name](numbers, tree_of(second, lambda i: [10 * i, 20 * i])) == right


@pytest.mark.parametrize("name", PAIRS)
@given(ORDERS)
def test_trees_are_paired_by_key(name, orders):
    first, second = orders
    numbers = tree_of(first, lambda i: i)
    right = PAIRS[name](numbers, tree_of(first, lambda i: 10 * i * i))
    assert PAIRS[name](numbers, tree_of(second, lambda i: 10 * i * i)) == right


@given(ORDERS)
def test_what_is_equal_does_not_differ(orders):
    first, second = orders
    assert not pax_tree.tree_diff(tree_of(first, float), tree_of(second, float))


EQUAL = {
    "numbers": ([1, 2.5, "x", None], [True, fractions.Fraction(5, 2), "x", None]),
    "numbers of all classes": ([0, 1, 2, "x"], [0.0, Level.LOW, decimal.Decimal(2), "x"]),
    "complex": ([1, 2j, "x"], [1 + 0j, 2j, "x"]),
    "text": (["a", 1, "b"], [type("Text", (str,), {})("a"), 1.0, "b"]),
    "tuples": ([(1, "a"), (None,)], [(1.0, "a"), (None,)]),
    "data": ([Place(1, "a"), 1, "x"], [Place(1, "a"), 1, "x"]),
    "sets": ([frozenset({1, 2}), frozenset({3})], [frozenset({2.0, 1.0}), frozenset({3})]),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_keys_of_other_classes_have_one_order(name):
    keys, others = EQUAL[name]
    for places in itertools.permutations(range(len(keys))):
        tree = dict(zip(keys, range(len(keys)), strict=True))
        other = {others[i]: i for i in places}
        assert tree == other
        assert pax_tree.tree_leaves(tree) == pax_tree.tree_leaves(other)
        assert pax_tree.tree_structure(tree) == pax_tree.tree_structure(other)


def test_keys_that_compare_are_sorted_as_ever():
    for keys in ([3, 1, 2], [2.5, 1, True + 1], [b"b", b"a"], [(1, 2), (1,)], [Level.HIGH, 0]):
        assert pax_tree.tree_leaves({key: repr(key) for key in keys}) == [*map(repr, sorted(keys))]


def test_keys_of_one_rank_are_sorted_by_rank_first():
    keys = [Ranked(2, "a"), Ranked(1, "b"), Ranked(0, "c"), Ranked(1, "a")]
    assert pax_tree.tree_leaves({key: key.name for key in keys}) == ["c", "a", "b", "a"]


def test_the_order_is_that_of_other_processes():
    program = """
import enum, json, pax_tree
Part = enum.Enum("Part", "C B A")
keys = [Part.A, 2, "x", (1, "y"), frozenset("pq"), frozenset("rs"), None, Part.C, len, Part.B]
print(json.dumps(pax_tree.tree_leaves({key: str(i) for i, key in enumerate(keys)})))
"""
    command = [sys.executable, "-c", program]
    environments = [{"PYTHONHASHSEED": seed} for seed in "123"]
    found = [
        json.loads(subprocess.run(command, env=e, check=True, capture_output=True).stdout)
        for e in environments
    ]
    assert found[0] == found[1] == found[2]


def test_keys_told_apart_by_age_are_not_kept():
    count = len(pax_tree_key_order()._seen)
    pax_tree.tree_leaves({Plain(): 1, Plain(): 2, "x": 3})
    gc.collect()
    assert len(pax_tree_key_order()._seen) == count


def pax_tree_key_order():
    import pax_tree._key_order

    return pax_tree._key_order


def test_a_text_that_cannot_be_had_does_not_matter():
    class Bad:
        def __repr__(self):
            raise LookupError("no text")

    keys = [Bad(), Bad(), "x", 1]
    trees = [{key: i for i, key in enumerate(keys)}, {keys[i]: i for i in (3, 1, 2, 0)}]
    assert pax_tree.tree_leaves(trees[0]) == pax_tree.tree_leaves(trees[1])


def test_dm_refuses_keys_that_do_not_compare_in_every_order():
    for keys in itertools.permutations([1, "x", 2]):
        with pytest.raises(TypeError, match="must sort"):
            dm.flatten(dict.fromkeys(keys, 0))
