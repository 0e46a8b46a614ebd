"""The functions of the C core in Python, which `torch.compile` runs in their place: it cannot look into C.

Structures are objects of a Python class here, which equal those of C. What depends on a class alone
is asked while a function is compiled, and what is answered is part of the compiled program.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import pax_tree._C as _C
from pax_tree._compat import torch_pytree
from pax_tree._interop import registry
from pax_tree._one_level import is_plain_named_tuple, is_tree_node

# PyTorch's own registry; this file is imported after PyTorch.
_pytree: Any = torch_pytree()

IsLeaf = Callable[..., Any] | None

_PLAIN: dict[type, str] = {
    tuple: "tuple",
    list: "list",
    dict: "dict",
    OrderedDict: "ordered",
    defaultdict: "default",
    deque: "deque",
    type(None): "none",
}


# Asked while a function is compiled: the answers are constants of the program ---------------------


def kind_of(cls: type) -> str:
    """Return how objects of a class are taken apart."""
    if cls in _PLAIN:
        return _PLAIN[cls]
    if cls in registry.nodes():
        return "custom" if registry.is_registered(cls) else "leaf"
    if cls is partial:
        raise TypeError(
            "torch.compile takes a pax_tree.Partial for a functools.partial, so that neither can "
            "stand in a tree there; give the function and its arguments apart."
        )
    if issubclass(cls, _C.Record):
        raise TypeError(
            f"torch.compile cannot look into objects of {cls.__qualname__}, which are records of "
            "C; give the function their leaves, or call it through pax_torch.jit."
        )
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return "named"
    if cls in _pytree.SUPPORTED_NODES:
        return "torch"
    if is_tree_node(cls):
        raise TypeError(
            f"torch.compile cannot look into objects of {cls.__qualname__}, which neither pax_tree "
            "nor PyTorch has registered; give the function their leaves."
        )
    return "leaf"


def ordered(*keys: Any) -> list[Any]:
    """Return the keys of a dict in the order of its leaves."""
    return _C.tree_structure(dict.fromkeys(keys)).node_data()[1]  # pyright: ignore[reportOptionalSubscript]


def spelled(treedef: Any) -> list[tuple[str, int, Any]]:
    """Return the nodes of a structure of C, each before its children: kind, arity, static data."""
    nodes: list[tuple[str, int, Any]] = []
    _spell(treedef.unflatten(range(treedef.num_leaves)), nodes)
    return nodes


def _spell(tree: Any, nodes: list[tuple[str, int, Any]]) -> None:
    kind = kind_of(type(tree))
    if kind not in ("leaf", "none", "tuple", "list", "dict", "ordered"):
        raise TypeError(
            f"torch.compile cannot look into a PyTreeDef with a {type(tree).__qualname__} that was "
            "made before; make it of a tree within the function."
        )
    children, data = ([], None) if kind == "leaf" else _open(kind, tree)
    nodes.append((kind, len(children), data))
    for child in children:
        _spell(child, nodes)


CONSTANTS = (kind_of, ordered, spelled, is_tree_node, is_plain_named_tuple)
_CLASSES = {kind: cls for cls, kind in _PLAIN.items()}


# Keys --------------------------------------------------------------------------------------------


class _Key:
    """A key of C, which it equals."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def _real(self) -> Any:
        return getattr(_C, type(self).__name__)(self._value)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _Key):
            return type(self) is type(other) and self._value == other._value
        return self._real() == other

    def __hash__(self) -> int:
        return hash(self._real())


class DictKey(_Key):
    """The key of a value in a dict."""

    @property
    def key(self) -> Any:
        """The key in the dict."""
        return self._value

    def __str__(self) -> str:
        return f"[{self._value!r}]"

    def __repr__(self) -> str:
        return f"DictKey(key={self._value!r})"


class SequenceKey(_Key):
    """The index of an item in a list, tuple or deque."""

    @property
    def idx(self) -> int:
        """The index."""
        return self._value

    def __str__(self) -> str:
        return f"[{self._value!r}]"

    def __repr__(self) -> str:
        return f"SequenceKey(idx={self._value!r})"


class GetAttrKey(_Key):
    """The name of an attribute."""

    @property
    def name(self) -> str:
        """The name."""
        return self._value

    def __str__(self) -> str:
        return f".{self._value}"

    def __repr__(self) -> str:
        return f"GetAttrKey(name={self._value!r})"


class FlattenedIndexKey(_Key):
    """The number of a child that has no name."""

    @property
    def key(self) -> int:
        """The number."""
        return self._value

    def __str__(self) -> str:
        return f"[<flat index {self._value}>]"

    def __repr__(self) -> str:
        return f"FlattenedIndexKey(key={self._value!r})"


# Structures --------------------------------------------------------------------------------------


class Structure:
    """What `PyTreeDef` is, in a function that is compiled."""

    def __init__(self, kind: str, cls: Any, data: Any, parts: Sequence[Structure]) -> None:
        self.kind, self.cls, self.data, self.parts = kind, cls, data, parts
        nodes, leaves = 1, 1 if kind == "leaf" else 0
        for part in parts:
            nodes += part.num_nodes
            leaves += part.num_leaves
        self.num_nodes, self.num_leaves = nodes, leaves

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """Return the tree with these leaves."""
        given = list(leaves)
        if len(given) != self.num_leaves:
            raise ValueError(
                f"unflatten: the structure has {self.num_leaves} leaves, but got {len(given)}."
            )
        return _build(self, given, 0)

    def flatten_up_to(self, tree: Any) -> list[Any]:
        """Return what a tree has in the places of the leaves."""
        found: list[Any] = []
        problem = (
            "flatten_up_to: the trees must have the same structure, but the expected one and the "
            "given one"
        )
        _take(self, tree, _Rules(problem), found, "")
        return found

    def children(self) -> list[Structure]:
        """Return the structures of the children."""
        return list(self.parts)

    def node_data(self) -> tuple[type, Any] | None:
        """Return the class of the root and its static data."""
        if self.kind == "leaf":
            return None
        if self.kind == "dict":
            return self.cls, list(self.data[0])
        if self.kind == "ordered":
            return self.cls, tuple(self.data[0])
        if self.kind == "default":
            return self.cls, (self.data[2], tuple(self.data[0]))
        return self.cls, self.data

    def paths(self) -> list[tuple[Any, ...]]:
        """Return the path of each leaf."""
        found: list[Any] = []
        _flatten_with_path(_build(self, list(range(self.num_leaves)), 0), None, False, (), found)
        return [path for path, _ in found]

    def walk(
        self,
        f_node: Callable[[tuple[Any, ...], Any], Any],
        f_leaf: Callable[[Any], Any] | None,
        leaves: Iterable[Any],
    ) -> Any:
        """Put leaves together by functions."""
        given = list(leaves)
        if len(given) != self.num_leaves:
            raise ValueError(
                f"walk: the structure has {self.num_leaves} leaves, but got {len(given)}."
            )
        return _walk(self, f_node, given if f_leaf is None else [f_leaf(x) for x in given], 0)

    def compose(self, inner: Structure) -> Structure:
        """Return the structure with another one in place of each leaf."""
        if self.kind == "leaf":
            return as_structure(inner)
        parts = [part.compose(inner) for part in self.parts]
        return Structure(self.kind, self.cls, self.data, parts)

    def real(self) -> Any:
        """Return the structure of C, once the function has run."""
        children = [part.real() for part in self.parts]
        return _C.PyTreeDef.from_node_data_and_children(self.node_data(), children)

    # How C knows one that has left a function which is compiled in parts.
    __pytreedef__ = real

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _C.PyTreeDef):
            if not sys.modules["torch"].compiler.is_compiling():
                return self.real() == other
            other = as_structure(other)
        if not isinstance(other, Structure) or not _same_node(self, other):
            return False
        return all([a == b for a, b in zip(self.parts, other.parts, strict=True)])  # noqa: C419

    def __hash__(self) -> int:
        if sys.modules["torch"].compiler.is_compiling():  # where all of them are of this class
            return hash((self.kind, self.num_nodes, self.num_leaves))
        return hash(self.real())

    def __repr__(self) -> str:
        if sys.modules["torch"].compiler.is_compiling():
            raise NotImplementedError(
                "torch.compile writes no structure as text; do so outside of the compiled function."
            )
        return repr(self.real())


def as_structure(treedef: Any) -> Structure:
    """Return a structure of either kind as one of this file."""
    if isinstance(treedef, Structure):
        return treedef
    if not isinstance(treedef, _C.PyTreeDef):
        raise TypeError(f"A PyTreeDef is needed, but got {treedef!r}.")
    nodes = spelled(treedef)
    return _read(nodes, 0)


def _read(nodes: list[tuple[str, int, Any]], start: int) -> Structure:
    """Return the structure whose nodes begin somewhere in a list."""
    kind, count, data = nodes[start]
    start, parts = start + 1, []
    for _ in range(count):
        parts.append(_read(nodes, start))
        start += parts[-1].num_nodes
    return Structure(kind, _CLASSES.get(kind), data, parts)


def _same_keys(a: Structure, b: Structure) -> bool:
    """Whether two dicts of one length have the same keys, as dicts see it: PyTorch 2.11 traces no `==` of sets."""
    return all(mine in {theirs: None} for mine, theirs in zip(a.data[0], b.data[0], strict=True))


def _same_node(a: Structure, b: Structure) -> bool:
    if a.kind != b.kind or a.cls is not b.cls or len(a.parts) != len(b.parts):
        return False
    if a.kind in ("dict", "ordered"):
        return _same_keys(a, b)
    if a.kind == "default":
        return _same_keys(a, b) and a.data[2] == b.data[2]
    return a.kind == "leaf" or a.data == b.data


# Nodes -------------------------------------------------------------------------------------------


def _kind(node: Any, is_leaf: IsLeaf, none_is_leaf: bool) -> str:
    if is_leaf is not None and is_leaf(node):
        return "leaf"
    if node is None:
        return "leaf" if none_is_leaf else "none"
    return kind_of(type(node))


def _open(kind: str, node: Any) -> tuple[list[Any], Any]:
    """Return the children of a node and its static data."""
    if kind == "dict":
        keys = _sorted(node)
        return [node[key] for key in keys], (keys, list(node))
    if kind == "ordered":
        keys = list(node)
        return [node[key] for key in keys], (keys, keys)
    if kind == "default":
        keys = _sorted(node)
        return [node[key] for key in keys], (keys, list(node), node.default_factory)
    if kind == "deque":
        return list(node), node.maxlen
    if kind == "custom":
        children, data = registry.nodes()[type(node)].flatten(node)
        return list(children), data
    if kind == "torch":
        children, data = _pytree.SUPPORTED_NODES[type(node)].flatten_fn(node)
        return list(children), data
    return ([], None) if kind == "none" else (list(node), None)


def _sorted(node: Any) -> list[Any]:
    keys = list(node)
    if all([isinstance(key, str) for key in keys]):  # noqa: C419
        return sorted(keys)
    return list(ordered(*keys))


def _names(kind: str, node: Any, data: Any, count: int) -> list[Any]:
    """Return the keys of the children of a node."""
    if kind == "custom":
        with_keys = registry.nodes()[type(node)].flatten_with_keys
        if with_keys is not None:
            return [_ours(pair[0]) for pair in with_keys(node)[0]]
    if kind == "torch":
        with_keys = _pytree.SUPPORTED_NODES[type(node)].flatten_with_keys_fn
        if with_keys is not None:
            return [_ours(pair[0]) for pair in with_keys(node)[0]]
    if kind in ("dict", "ordered", "default"):
        return [DictKey(name) for name in data[0]]
    if kind == "named":
        return [GetAttrKey(name) for name in type(node)._fields]
    make = FlattenedIndexKey if kind in ("custom", "torch") else SequenceKey
    return [make(i) for i in range(count)]


def _ours(key: Any) -> Any:
    """Return a key of C or of PyTorch as one of this file."""
    name = type(key).__name__
    if isinstance(key, _Key) or name not in _ATTRIBUTES:
        return key
    cls, attribute = _ATTRIBUTES[name]
    return cls(getattr(key, attribute))


_ATTRIBUTES = {
    "DictKey": (DictKey, "key"),
    "MappingKey": (DictKey, "key"),  # of PyTorch, which has two more of names of ours
    "SequenceKey": (SequenceKey, "idx"),
    "GetAttrKey": (GetAttrKey, "name"),
    "FlattenedIndexKey": (FlattenedIndexKey, "key"),
}


def _build(structure: Structure, leaves: list[Any], start: int) -> Any:
    if structure.kind == "leaf":
        return leaves[start]
    children = []
    for part in structure.parts:
        children.append(_build(part, leaves, start))
        start += part.num_leaves
    return _make(structure, children)


def _walk(structure: Structure, f_node: Callable[..., Any], leaves: list[Any], start: int) -> Any:
    if structure.kind == "leaf":
        return leaves[start]
    children = []
    for part in structure.parts:
        children.append(_walk(part, f_node, leaves, start))
        start += part.num_leaves
    is_named = structure.kind == "named"
    _, data = (None, structure.cls) if is_named else structure.node_data() or (None, None)
    return f_node(tuple(children), data)


def _make(structure: Structure, children: list[Any]) -> Any:
    """Return a node with these children."""
    kind, data = structure.kind, structure.data
    if kind == "list":
        return children
    if kind == "tuple":
        return tuple(children)
    if kind == "none":
        return None
    if kind == "named":
        return structure.cls(*children)
    if kind == "deque":
        return deque(children, maxlen=data)
    if kind == "custom":
        return registry.nodes()[structure.cls].unflatten(data, tuple(children))
    if kind == "torch":
        return _pytree.SUPPORTED_NODES[structure.cls].unflatten_fn(children, data)
    values = dict(zip(data[0], children, strict=True))
    if kind == "dict":
        return {key: values[key] for key in data[1]}
    made: Any = OrderedDict() if kind == "ordered" else defaultdict(data[2])
    for key in data[1]:
        made[key] = values[key]
    return made


def _flatten(tree: Any, is_leaf: IsLeaf, none_is_leaf: bool, leaves: list[Any]) -> Structure:
    kind = _kind(tree, is_leaf, none_is_leaf)
    if kind == "leaf":
        leaves.append(tree)
        return Structure("leaf", None, None, [])
    children, data = _open(kind, tree)
    parts = [_flatten(child, is_leaf, none_is_leaf, leaves) for child in children]
    return Structure(kind, type(tree), data, parts)


def _flatten_with_path(
    tree: Any, asked: IsLeaf, none_is_leaf: bool, path: tuple[Any, ...], found: list[Any]
) -> Structure:
    """Add the leaves with their paths; `asked` takes the path and the node."""
    ask = None if asked is None else lambda node: asked(path, node)
    kind = _kind(tree, ask, none_is_leaf)
    if kind == "leaf":
        found.append((path, tree))
        return Structure("leaf", None, None, [])
    children, data = _open(kind, tree)
    names = _names(kind, tree, data, len(children))
    parts = []
    for name, child in zip(names, children, strict=True):
        parts.append(_flatten_with_path(child, asked, none_is_leaf, (*path, name), found))
    return Structure(kind, type(tree), data, parts)


class _Rules:
    """How a further tree is taken apart: whether it may end early, and at what."""

    def __init__(self, problem: str, is_leaf: IsLeaf = None, broadcast: bool = False) -> None:
        self.problem, self.is_leaf, self.broadcast = problem, is_leaf, broadcast


def _take(structure: Structure, tree: Any, rules: _Rules, found: list[Any], place: str) -> None:
    """Add what a tree has in the places of the leaves of a structure."""
    if structure.kind == "leaf":
        found.append(tree)
        return
    kind = _kind(tree, rules.is_leaf if rules.broadcast else None, False)
    if rules.broadcast and kind == "leaf":
        found.extend([tree] * structure.num_leaves)
        return
    children, same = [], kind == structure.kind
    if same:
        children, data = _open(kind, tree)
        # The children only count, and are not looked into.
        leaves = [Structure("leaf", None, None, []) for _ in children]
        same = _same_node(structure, Structure(kind, type(tree), data, leaves))
    if not same:
        raise ValueError(f"{rules.problem} differ at {place or 'the root'}.")
    for i, (part, child) in enumerate(zip(structure.parts, children, strict=True)):
        name = structure.data[0][i] if kind in ("dict", "ordered", "default") else i
        _take(part, child, rules, found, f"{place}[{name!r}]")


# The functions -----------------------------------------------------------------------------------


def tree_flatten(
    tree: Any, is_leaf: IsLeaf = None, *, none_is_leaf: bool = False
) -> tuple[list[Any], Any]:
    """Do what `pax_tree.tree_flatten` does."""
    leaves: list[Any] = []
    structure = _flatten(tree, is_leaf, none_is_leaf, leaves)
    return leaves, structure


def tree_leaves(tree: Any, is_leaf: IsLeaf = None, *, none_is_leaf: bool = False) -> list[Any]:
    """Do what `pax_tree.tree_leaves` does."""
    leaves: list[Any] = []
    _flatten(tree, is_leaf, none_is_leaf, leaves)
    return leaves


def tree_structure(tree: Any, is_leaf: IsLeaf = None, *, none_is_leaf: bool = False) -> Any:
    """Do what `pax_tree.tree_structure` does."""
    return _flatten(tree, is_leaf, none_is_leaf, [])


def tree_unflatten(treedef: Any, leaves: Iterable[Any]) -> Any:
    """Do what `pax_tree.tree_unflatten` does."""
    return as_structure(treedef).unflatten(leaves)


def _asked(is_leaf: IsLeaf, takes_path: bool) -> IsLeaf:
    if is_leaf is None or takes_path:
        return is_leaf
    return lambda path, node: is_leaf(node)


def tree_flatten_with_path(
    tree: Any,
    is_leaf: IsLeaf = None,
    is_leaf_takes_path: bool = False,
    *,
    none_is_leaf: bool = False,
) -> tuple[list[Any], Any]:
    """Do what `pax_tree.tree_flatten_with_path` does."""
    found: list[Any] = []
    asked = _asked(is_leaf, is_leaf_takes_path)
    structure = _flatten_with_path(tree, asked, none_is_leaf, (), found)
    return found, structure


def tree_leaves_with_path(
    tree: Any,
    is_leaf: IsLeaf = None,
    is_leaf_takes_path: bool = False,
    *,
    none_is_leaf: bool = False,
) -> list[Any]:
    """Do what `pax_tree.tree_leaves_with_path` does."""
    found: list[Any] = []
    _flatten_with_path(tree, _asked(is_leaf, is_leaf_takes_path), none_is_leaf, (), found)
    return found


def tree_map(
    f: Callable[..., Any],
    tree: Any,
    *rest: Any,
    is_leaf: IsLeaf = None,
    none_is_leaf: bool = False,
    broadcast: bool = False,
) -> Any:
    """Do what `pax_tree.tree_map` does."""
    leaves: list[Any] = []
    structure = _flatten(tree, is_leaf, none_is_leaf, leaves)
    others = _others("tree_map", structure, rest, is_leaf, broadcast)
    results = [f(*column) for column in zip(leaves, *others, strict=True)]
    return _build(structure, results, 0)


def tree_map_with_path(
    f: Callable[..., Any],
    tree: Any,
    *rest: Any,
    is_leaf: IsLeaf = None,
    is_leaf_takes_path: bool = False,
    none_is_leaf: bool = False,
    broadcast: bool = False,
) -> Any:
    """Do what `pax_tree.tree_map_with_path` does."""
    found: list[Any] = []
    asked = _asked(is_leaf, is_leaf_takes_path)
    structure = _flatten_with_path(tree, asked, none_is_leaf, (), found)
    repeated = None if is_leaf_takes_path else is_leaf
    others = _others("tree_map_with_path", structure, rest, repeated, broadcast)
    columns = zip(found, *others, strict=True)
    results = [f(column[0][0], column[0][1], *column[1:]) for column in columns]
    return _build(structure, results, 0)


def _others(
    function: str, structure: Structure, rest: Sequence[Any], is_leaf: IsLeaf, broadcast: bool
) -> list[list[Any]]:
    others = []
    for i, tree in enumerate(rest):
        problem = (
            f"{function}: the trees must have the same structure, but the first and number {i + 2}"
        )
        taken: list[Any] = []
        _take(structure, tree, _Rules(problem, is_leaf, broadcast), taken, "")
        others.append(taken)
    return others


def from_node_data_and_children(
    node_data: tuple[type, Any] | None, children: Iterable[Any], /
) -> Any:
    """Do what `PyTreeDef.from_node_data_and_children` does."""
    if node_data is None:
        return Structure("leaf", None, None, [])
    cls, data = node_data
    kind, parts = kind_of(cls), [as_structure(child) for child in children]
    if kind in ("dict", "ordered"):
        data = (list(data), list(data))
    elif kind == "default":
        data = (list(data[1]), list(data[1]), data[0])
    return Structure(kind, cls, data, parts)


def dict_key(key: Any) -> Any:
    """Return what `DictKey` makes."""
    return DictKey(key)


def sequence_key(idx: int) -> Any:
    """Return what `SequenceKey` makes."""
    return SequenceKey(idx)


def get_attr_key(name: str) -> Any:
    """Return what `GetAttrKey` makes."""
    return GetAttrKey(name)


def flattened_index_key(key: int) -> Any:
    """Return what `FlattenedIndexKey` makes."""
    return FlattenedIndexKey(key)
