"""Key paths as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pax_tree._C import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey


def keystr(path: Iterable[Any], *, simple: bool = False, separator: str = "") -> str:
    """A key path as text, as `jax.tree_util.keystr`.

    Args:
        path: the keys, from the root to the leaf.
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
    return separator.join(_simple(key) if simple else str(key) for key in path)


def _simple(key: Any) -> str:
    if isinstance(key, DictKey | FlattenedIndexKey):
        return str(key.key)
    if isinstance(key, SequenceKey):
        return str(key.idx)
    return str(key.name) if isinstance(key, GetAttrKey) else str(key)
