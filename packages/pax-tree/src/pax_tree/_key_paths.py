"""Key paths as text."""

from __future__ import annotations

from collections.abc import Iterable

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any

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
