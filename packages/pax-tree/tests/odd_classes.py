"""Classes whose methods fail, for the tests that go over all functions."""

from collections import namedtuple

import pax_tree

Pair = namedtuple("Pair", "x y")


class Broken(Exception):
    """What user code raises in these tests."""


def broken(*_, **__):
    raise Broken("broken")


class Node:
    """One child; the class is registered by the subclasses."""

    def __init__(self, x):
        self.x = x

    def tree_flatten(self):
        return (self.x,), None

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(*children)


@pax_tree.register_pytree_node_class
class Custom(Node):
    pass


@pax_tree.register_pytree_with_keys_class
class Keyed(Node):
    def tree_flatten_with_keys(self):
        return ((pax_tree.GetAttrKey("x"), self.x),), None


@pax_tree.register_pytree_with_keys_class
class BadFlatten(Node):
    tree_flatten = tree_flatten_with_keys = broken


@pax_tree.register_pytree_with_keys_class
class BadResult(Node):
    def tree_flatten(self):
        return 3

    tree_flatten_with_keys = tree_flatten


@pax_tree.register_pytree_node_class
class BadUnflatten(Node):
    tree_unflatten = staticmethod(broken)


class Aux:
    """Static data of which one method fails."""

    def __init__(self, method):
        self.method = method

    def __eq__(self, other):
        return broken() if self.method == "eq" else True

    def __hash__(self):
        return broken() if self.method == "hash" else 1

    def __repr__(self):
        return broken() if self.method == "repr" else "aux"


@pax_tree.register_pytree_node_class
class WithAux(Node):
    def tree_flatten(self):
        return (1,), Aux(self.x)


class Key:
    """A key of which one method fails, once it stands in a dict."""

    def __init__(self, name, method=None):
        self.name, self.method = name, method

    def __lt__(self, other):
        return broken() if self.method == "lt" else self.name < other.name

    def __eq__(self, other):
        return broken() if self.method == "eq" else self is other

    def __hash__(self):
        return broken() if self.method == "hash" else 1

    def __repr__(self):
        return broken() if self.method == "repr" else f"Key({self.name})"


class Rec(pax_tree.Record):
    def __init__(self, x, mode="p"):
        pax_tree.record_set(self, "x", x, 0)
        self.mode = mode

    def _classify(self, name, value):
        return None


def dict_with(method):
    """A dict of two keys of which a method fails from now on."""
    keys = [Key("b"), Key("a")]
    tree = dict.fromkeys(keys, 1)
    for key in keys:
        key.method = method
    return tree


@pax_tree.register_pytree_with_keys_class
class BadKeys(Node):
    tree_flatten_with_keys = broken


class Temporary(Node):
    pass
