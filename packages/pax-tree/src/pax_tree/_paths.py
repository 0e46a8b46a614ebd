"""Key paths: as text, and reading and replacing what stands at one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from pax_tree._C import PyTreeDef, tree_flatten_with_path, tree_leaves_with_path

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any, TypeVar

    _Tree = TypeVar("_Tree")

_SHOWN = 8  # children named in an error

# What the keys of paths name, by the classes of this library, JAX and PyTorch.
_NAMES = {
    "DictKey": "key",
    "FlattenedIndexKey": "key",
    "GetAttrKey": "name",
    "MappingKey": "key",
    "SequenceKey": "idx",
}


def keystr(path: Iterable[Any], *, simple: bool = False, separator: str = "") -> str:
    """Return a key path as text, as `jax.tree_util.keystr`.

    Args:
        path: the keys, from the root to the leaf; those of JAX and of PyTorch are understood too.
        simple: whether to write the bare names of the keys, without brackets and quotes.
        separator: what stands between two keys.

    Returns:
        The text; by default the Python expression that leads from the root to the leaf.

    Example:
        >>> import pax_tree
        >>> [(path, leaf)] = pax_tree.tree_leaves_with_path({"layers": [{"bias": 0.5}]})
        >>> pax_tree.keystr(path)
        "['layers'][0]['bias']"
        >>> pax_tree.keystr(path, simple=True, separator="/")
        'layers/0/bias'
    """
    return separator.join([str(key_name(key) if simple else key) for key in path])


def key_name(key: Any) -> Any:
    """Return the dict key, index or attribute name that a key stands for; other keys stand for themselves."""
    attribute = _NAMES.get(type(key).__name__)
    return key if attribute is None else getattr(key, attribute, key)


def users_path(tree: Any) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Return a function from the path of a leaf to the one that users know.

    A variable of Flax NNX is a node for JAX, with one child `.value`. Users write the variable itself.
    """
    variable = getattr(sys.modules.get("flax.nnx"), "Variable", None)
    if variable is None:
        return lambda path: path

    def is_variable(x: Any) -> bool:
        return isinstance(x, variable)

    pairs = tree_leaves_with_path(tree, is_variable)
    variables = {path for path, leaf in pairs if is_variable(leaf)}

    def shortened(path: tuple[Any, ...]) -> tuple[Any, ...]:
        for end in range(len(path) if variables else 0):
            if path[:end] in variables:
                return path[:end] + path[end + 1 :]
        return path

    return shortened


def open_node(
    node: Any, is_leaf: Callable[[Any], bool] | None = None, none_is_leaf: bool = False
) -> tuple[list[tuple[Any, Any]], PyTreeDef] | None:
    """Return the children of a node with their keys, and its structure; None for a leaf."""
    if (none_is_leaf and node is None) or (is_leaf is not None and is_leaf(node)):
        return None
    pairs, structure = tree_flatten_with_path(node, lambda child: child is not node)
    if pairs and not pairs[0][0]:
        return None
    return [(path[0], child) for path, child in pairs], structure


def tree_get_at(tree: Any, path: Any) -> Any:
    """Return the subtree at a path.

    Args:
        tree: the tree.
        path: keys from the root, as `tree_flatten_with_path` gives them or as plain indices, dict
            keys and attribute names, in a tuple or list; or text: what `keystr` writes, by default
            or with `simple=True` and the separator `/` or `.`.

    Returns:
        The subtree or leaf itself, not a copy.

    Raises:
        LookupError: there is no such path, or the text has several meanings; the message says up to
            where the path exists, and which children are there.
        TypeError: the path is neither.

    Example:
        >>> import pax_tree
        >>> model = {"layers": [{"weight": 1.0}, {"weight": 2.0}]}
        >>> pax_tree.tree_get_at(model, ("layers", 1))
        {'weight': 2.0}
        >>> pax_tree.tree_get_at(model, "['layers'][1]['weight']")
        2.0
        >>> pax_tree.tree_get_at(model, "layers/1/weight")
        2.0
    """
    return way("tree_get_at", tree, path)[1]


def tree_replace_at(tree: _Tree, path: Any, value: Any) -> _Tree:
    """Return a tree with another subtree at a path; the given tree stays as it is.

    Args:
        tree: the tree.
        path: as for `tree_get_at`.
        value: what shall stand there, any tree.

    Returns:
        The new tree. The nodes on the path are new, everything else is shared with `tree`.

    Raises:
        LookupError: as for `tree_get_at`.
        TypeError: as for `tree_get_at`.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_replace_at({"layers": [1.0, 2.0]}, "layers/0", {"weight": 3.0})
        {'layers': [{'weight': 3.0}, 2.0]}
    """
    for structure, children, index in reversed(way("tree_replace_at", tree, path)[0]):
        children[index] = value
        value = structure.unflatten(children)
    return value


def way(function: str, tree: Any, path: Any) -> tuple[list[tuple[Any, list[Any], int]], Any]:
    """Return the nodes on the path (structure, children, which of them comes next), and its end."""
    if isinstance(path, str):
        path = _read(function, tree, path)
    elif not isinstance(path, Sequence) or isinstance(path, bytes):
        raise TypeError(f"{function} takes a path as a tuple of keys or as text, but got {path!r}.")
    way, seen = [], []
    for key in path:
        pairs, structure = open_node(tree) or ([], None)
        found = _find([key for key, _ in pairs], key)
        if len(found) != 1:
            wanted = repr(key_name(key))
            raise LookupError(_problem(function, seen, tree, wanted, len(found)))
        way.append((structure, [child for _, child in pairs], found[0]))
        step, tree = pairs[found[0]]
        seen.append(step)
    return way, tree


def _find(keys: list[Any], wanted: Any) -> list[int]:
    """Where this key stands, or else the keys that stand for the same index or name."""
    found = [i for i, key in enumerate(keys) if type(key) is type(wanted) and key == wanted]
    name = key_name(wanted)
    return found or [i for i, key in enumerate(keys) if key_name(key) == name]


def _problem(function: str, path: Any, node: Any, wanted: str, found: int) -> str:
    where = keystr(path) if path else "the tree"
    opened = open_node(node)
    if found:
        return f"{function}: {where} has {found} children {wanted}."
    if opened is None:
        what = f"a leaf of type {type(node).__name__}"
    else:
        keys = [str(key) for key, _ in opened[0]]
        more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
        shown = f"the children {', '.join(keys[:_SHOWN])}{more}" if keys else "no children"
        what = f"None, with {shown}" if node is None else f"a {type(node).__name__} with {shown}"
    return f"{function}: {where} has no child {wanted}: it is {what}."


def _read(function: str, tree: Any, text: str) -> tuple[Any, ...]:
    """Return the one path that a text stands for."""
    if not text:
        return ()
    forms = ((str, ""), (_simple, "/"), (_simple, "."))
    readings = [reading for form in forms for reading in _readings(tree, text, *form)]
    paths: list[tuple[Any, ...]] = []
    for path, _, rest in readings:
        if rest is None and path not in paths:
            paths.append(path)
    if len(paths) > 1:
        raise LookupError(
            f"{function}: {text!r} has {len(paths)} meanings: {', '.join(map(keystr, paths))}; "
            "give the path as a tuple of keys."
        )
    if paths:
        return paths[0]
    path, node, rest = min(readings, key=lambda reading: len(reading[2]))
    raise LookupError(_problem(function, path, node, repr(rest), 0))


def _simple(key: Any) -> str:
    return str(key_name(key))


def _readings(
    node: Any, text: str, write: Callable[[Any], str], separator: str, path: tuple[Any, ...] = ()
) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """Return the paths that the text begins with: path, what stands there, rest of the text or None."""
    yield path, node, text
    for key, child in (open_node(node) or ([],))[0]:
        part = write(key)
        if text == part:
            yield (*path, key), child, None
        elif text.startswith(part + separator):
            rest = text[len(part) + len(separator) :]
            yield from _readings(child, rest, write, separator, (*path, key))
