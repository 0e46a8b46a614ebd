"""Random trees of every kind of node, decoded from bytes.

A string of bytes is a tree, and what is left when the bytes run out are leaves. So Hypothesis can
draw hundreds of trees for the price of one example, and still make a failing one small.
"""

import dataclasses
import zlib
from collections import OrderedDict, defaultdict, deque, namedtuple

import jax
import optree
from hypothesis import given, seed, settings
from hypothesis import strategies as st

import pax_tree

Pair = namedtuple("Pair", "x y")
Empty = namedtuple("Empty", "")
NAMESPACE = "pax_tree tests"


class Node:
    """Children and static data, in classes that are registered in different ways."""

    def __init__(self, children, aux=None):
        self.children, self.aux = list(children), aux

    def tree_flatten(self):
        return self.children, self.aux

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(children, aux)

    def tree_flatten_with_keys(self):
        key = type(self).key
        return [(key(f"child{i}"), child) for i, child in enumerate(self.children)], self.aux

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self):
        return f"{type(self).__name__}({self.children}, {self.aux!r})"


@pax_tree.register_pytree_node_class
class Ours(Node):
    """Registered here, without keys."""


@pax_tree.register_pytree_with_keys_class
class OursKeyed(Node):
    """Registered here, with keys."""

    key = pax_tree.GetAttrKey


@jax.tree_util.register_pytree_with_keys_class
class Theirs(Node):
    """Registered with JAX, with keys."""

    key = jax.tree_util.GetAttrKey


@pax_tree.register_static
class Static(str):
    """A node without children."""

    __slots__ = ()


@pax_tree.register_dataclass
@dataclasses.dataclass
class Data:
    """A dataclass with a static field."""

    x: object
    y: object
    mode: str = dataclasses.field(default="p", metadata={"static": True})


class Rec(pax_tree.Record):
    """A record whose children have the names of a dict."""

    def __init__(self, children, mode):
        for name, child in children.items():
            pax_tree.record_set(self, name, child, 0)
        self.mode = mode

    def __eq__(self, other):
        return pax_tree.record_flatten(self) == pax_tree.record_flatten(other)

    def __repr__(self):
        return f"Rec{pax_tree.record_flatten(self)}"


CUSTOM = (Ours, OursKeyed, Theirs)
NOT_BUILT_IN = (*CUSTOM, Static, Data, Rec)


def _register_with_optree():
    for cls in CUSTOM:
        optree.register_pytree_node(
            cls, lambda n: (n.children, n.aux), cls.tree_unflatten, namespace=NAMESPACE
        )
    optree.register_pytree_node(Static, lambda s: ((), s), lambda aux, _: aux, namespace=NAMESPACE)
    optree.register_pytree_node(
        Data,
        lambda d: ((d.x, d.y), d.mode),
        lambda mode, children: Data(*children, mode),
        namespace=NAMESPACE,
    )
    optree.register_pytree_node(
        Rec, pax_tree.record_flatten, pax_tree.record_unflatten, namespace=NAMESPACE
    )


_register_with_optree()

KEYS = {
    "texts": ["b", "a", "c", "bb", ""],
    "numbers": [2, 1, -3, 1.5, 0],
    "tuples": [(1, "b"), (1, "a"), (0,), ()],
    "mixed": ["a", 1, None, (2,), "b"],
}


COUNTS = (1, 2, 3, 4, 2, 3, 0)  # of children


class Decoder:
    """Reads one tree after the other from bytes."""

    def __init__(self, data, leaf=lambda number: number, without=()):
        self.data, self.position = data, 0
        self.leaf, self.leaves = leaf, 0
        self.makers = [make for make in MAKERS if make.__name__.strip("_") not in without]

    def below(self, end):
        """A number from 0 to end - 1; 0 when the bytes have run out."""
        byte = self.data[self.position] if self.position < len(self.data) else 0
        self.position += 1
        return byte % end

    def tree(self):
        is_root = self.position == 0
        choice = self.below(len(self.makers) + (0 if is_root else 4))
        if choice >= len(self.makers) or self.position > len(self.data):
            self.leaves += 1
            return self.leaf(self.leaves)
        return self.makers[choice](self)

    def trees(self):
        return [self.tree() for _ in range(COUNTS[self.below(len(COUNTS))])]

    def mapping(self, kind):
        keys = KEYS[kind]
        first, step = self.below(len(keys)), 1 + self.below(2)
        count = min(COUNTS[self.below(len(COUNTS))], 2 if step == 2 else 3)
        return {keys[(first + step * i) % len(keys)]: self.tree() for i in range(count)}


def _none(decoder):
    return None


def _list(decoder):
    return decoder.trees()


def _tuple(decoder):
    return tuple(decoder.trees())


def _dict(decoder):
    return decoder.mapping(["texts", "numbers", "tuples"][decoder.below(3)])


def _mixed(decoder):
    return decoder.mapping("mixed")


def _ordered(decoder):
    return OrderedDict(decoder.mapping("texts"))


def _default(decoder):
    factory = [list, int][decoder.below(2)]
    return defaultdict(factory, decoder.mapping(["texts", "numbers"][decoder.below(2)]))


def _deque(decoder):
    maxlen = [None, 5][decoder.below(2)]
    return deque(decoder.trees(), maxlen)


def _pair(decoder):
    return Pair(decoder.tree(), decoder.tree())


def _childless(decoder):
    return [Empty(), Static("p"), Static("q"), (), [], {}][decoder.below(6)]


def _custom(decoder):
    cls, aux = CUSTOM[decoder.below(3)], [None, "aux"][decoder.below(2)]
    return cls(decoder.trees(), aux)


def _data(decoder):
    return Data(decoder.tree(), decoder.tree(), "pq"[decoder.below(2)])


def _record(decoder):
    names = "vwxyz"
    first, count = decoder.below(3), (1, 2, 2, 0)[decoder.below(4)]
    children = {names[first + i]: decoder.tree() for i in range(count)}
    return Rec(children, "pq"[decoder.below(2)])


MAKERS = [
    _list, _dict, _tuple, _none, _pair, _ordered, _default, _deque, _mixed, _custom, _data,
    _record, _childless,
]  # fmt: skip


def decode(data, leaf=lambda number: number, without=()):
    """The tree of a string of bytes; leaf number n (from 1) is `leaf(n)`."""
    return Decoder(data, leaf, without).tree()


def contains(tree, test):
    """Whether the test holds for a node of the tree."""
    if test(tree):
        return True
    if isinstance(tree, dict):
        return any(contains(child, test) for child in tree.values())
    if isinstance(tree, list | tuple | deque):
        return any(contains(child, test) for child in tree)
    if isinstance(tree, Node):
        return contains(tree.children, test)
    if isinstance(tree, Data):
        return contains((tree.x, tree.y), test)
    return isinstance(tree, Rec) and contains(pax_tree.record_flatten(tree)[0], test)


BATCH, LENGTH = 100, 40


class Batch(list):
    """The strings of bytes of many trees; of a failing test, a note names the one that failed."""

    def __init__(self, data):
        pieces = (data[at : at + LENGTH] for at in range(0, len(data), LENGTH))
        super().__init__(piece[: 8 + piece[0] % (LENGTH - 8)] for piece in pieces)

    def __repr__(self):
        return f"{len(self)} trees"


@st.composite
def batches(draw):
    return Batch(draw(st.binary(min_size=BATCH * LENGTH, max_size=BATCH * LENGTH)))


def run_on_many_trees(check, record_property, count=20_000):
    """Calls `check(data)` with `count` strings of random bytes; says how many differ."""
    seen = set()

    @seed(zlib.crc32(check.__name__.encode()))
    @settings(max_examples=count // BATCH)
    @given(batches())
    def run(batch):
        for data in batch:
            try:
                check(data)
            except Exception as error:
                error.add_note(f"The tree is {decode(data)!r}, of {data!r}.")
                raise
            seen.add(data)

    run()
    assert len(seen) >= 0.9 * count
    record_property("trees", len(seen))


def vary(data):
    """The bytes of a tree that differs in one place."""
    at = data[0] % len(data)
    return data[:at] + bytes([data[at] ^ (1 + data[-1] % 7)]) + data[at + 1 :]


def more_leaves(number):
    """A container in place of a leaf."""
    return (number, [number], {"a": number, "b": [number]}, None)[number % 4]
