"""How each library is asked what the tables of docs/semantics.md say, and what they speak of."""

import dataclasses
import time
import types
import warnings
from collections import Counter, OrderedDict, UserList, defaultdict, deque, namedtuple

import attrs
import jax
import optree
import torch.utils._pytree as torch_pytree
import tree as dm_tree

import pax_tree
from pax_tree import dm

Pair = namedtuple("Pair", "a b")
Alike = namedtuple("Pair", "a b")


class Sub(Pair):
    __slots__ = ()


class List(list):
    def __repr__(self):
        return f"List({super().__repr__()})"


class Items(UserList):
    def __repr__(self):
        return f"Items({self.data})"


@dataclasses.dataclass
class Data:
    x: object
    y: object


@attrs.define
class Attrs:
    x: object
    y: object


class Own:
    def __repr__(self):
        return "own"


class OfJax(Own):
    pass


class OfOptree(Own):
    pass


class OfTorch(Own):
    pass


class OfPax(Own):
    pass


jax.tree_util.register_pytree_node(OfJax, lambda own: ((1,), None), lambda aux, xs: OfJax())
optree.register_pytree_node(
    OfOptree, lambda own: ((1,), None), lambda aux, xs: OfOptree(),
    namespace=optree.registry.__GLOBAL_NAMESPACE,
)  # fmt: skip
torch_pytree.register_pytree_node(OfTorch, lambda own: ([1], None), lambda xs, aux: OfTorch())
pax_tree.register_pytree_node(OfPax, lambda own: ((1,), None), lambda aux, xs: OfPax())

NAMES = {
    **{cls.__name__: cls for cls in (OrderedDict, defaultdict, deque, Counter, UserList)},
    **{cls.__name__: cls for cls in (Sub, List, Items, Data, Attrs, OfJax, OfOptree, OfTorch, OfPax)},
    "Pair": Pair,
    "Alike": Alike,
    "MappingProxyType": types.MappingProxyType,
    "gmtime": time.gmtime,
}  # fmt: skip


# How each library is asked.


class Unknown(Exception):
    """The library has no such thing."""


def of_treedefs(library, options):
    """The functions of a library whose names are those of `jax.tree_util`."""

    def checked(given):
        if not set(given) <= options:
            raise Unknown
        return given

    def paths(tree):
        return [path for path, _ in library.tree_flatten_with_path(tree)[0]]

    def unflatten(tree, leaves):
        structure = library.tree_structure(tree)
        if library is torch_pytree:
            return library.tree_unflatten(leaves, structure)
        return library.tree_unflatten(structure, leaves)

    def text(tree):
        if not hasattr(library, "keystr"):
            raise Unknown
        return library.keystr(paths(tree)[0])

    return {
        "leaves": lambda tree, **given: library.tree_leaves(tree, **checked(given)),
        "map": library.tree_map,
        "pairs": lambda a, b, **given: library.tree_map(pair, a, b, **checked(given)),
        "paths": optree.tree_paths if library is optree else paths,
        "same": lambda a, b: library.tree_structure(a) == library.tree_structure(b),
        "unflatten": unflatten,
        "text": text,
    }


def of_dm_tree(library):
    """The functions of dm-tree, or of what stands in for it."""

    def leaves(tree, **given):
        if given:
            raise Unknown
        return library.flatten(tree)

    def same(a, b):
        return library.assert_same_structure(a, b) is None

    def text(tree):
        raise Unknown

    return {
        "leaves": leaves,
        "map": library.map_structure,
        "pairs": lambda a, b, **given: library.map_structure(pair, a, b, **given),
        "paths": lambda tree: [path for path, _ in library.flatten_with_path(tree)],
        "same": same,
        "unflatten": library.unflatten_as,
        "text": text,
    }


def pair(x, y):
    return x, y


FUNCTIONS = {
    "JAX": of_treedefs(jax.tree_util, {"is_leaf"}),
    "optree": of_treedefs(optree, {"is_leaf", "none_is_leaf"}),
    "torch": of_treedefs(torch_pytree, {"is_leaf"}),
    "dm-tree": of_dm_tree(dm_tree),
    "pax_tree": of_treedefs(pax_tree, {"is_leaf", "none_is_leaf"}),
    "pax_tree.dm": of_dm_tree(dm),
}


def answer(library, question):
    """The value as text, the class of the exception, or "-" if the library has no such thing."""
    functions = FUNCTIONS[library]
    rebuilt = {"rebuilt": lambda tree: functions["map"](lambda x: x, tree)}
    try:
        with warnings.catch_warnings(action="ignore"):  # JAX warns about leaves of some classes
            return spelled(eval(question, {**NAMES, **functions, **rebuilt}))
    except Unknown:
        return "-"
    except Exception as error:
        return type(error).__name__


def spelled(value):
    """The text of a value, the same for all versions of Python."""
    if isinstance(value, OrderedDict):
        return f"OrderedDict({dict(value)})"
    return repr(value)
