"""Choosing leaves by path, type or a function of both."""

from __future__ import annotations

from collections.abc import Callable

from pax_tree._C import tree_map_with_path
from pax_tree._paths import keystr

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any


def tree_select(
    tree: Any,
    pattern: Any,
    *,
    is_leaf: Callable[[Any], bool] | None = None,
    none_is_leaf: bool = False,
) -> Any:
    r"""Return the same tree with None in place of every leaf that a pattern does not match.

    Args:
        tree: the tree.
        pattern: which leaves to keep, one of

            - a glob for the whole path, with names separated by `/`, or by `.` if it has no `/`:
              `*` is any text within one name, `**` any number of names, `?` one character,
              `[ab]` one of these characters: `layers/*/weight`, `**.bias`;
            - a compiled regular expression, searched for in `keystr(path, simple=True,
              separator="/")`;
            - a type, a union or a tuple of types;
            - a function `f(path, leaf)` that is true for the leaves to keep.
        is_leaf: as for `tree_map`.
        none_is_leaf: as for `tree_map`.

    Returns:
        The tree; since None has no leaves, `tree_map` over it sees the chosen leaves only.

    Raises:
        TypeError: the pattern is none of these.

    Example:
        >>> import pax_tree
        >>> layer = {"weight": 1.0, "bias": 0.5}
        >>> pax_tree.tree_select({"layers": [layer, layer], "scale": 2.0}, "layers/*/weight")
        {'layers': [{'weight': 1.0, 'bias': None}, {'weight': 1.0, 'bias': None}], 'scale': None}
        >>> pax_tree.tree_leaves(pax_tree.tree_select({"a": 1, "b": [2.0, "c"]}, (float, str)))
        [2.0, 'c']
    """
    matches = _matcher(pattern)
    return tree_map_with_path(
        lambda path, leaf: leaf if matches(path, leaf) else None,
        tree,
        is_leaf=is_leaf,
        none_is_leaf=none_is_leaf,
    )


def tree_mask(
    tree: Any,
    pattern: Any,
    *,
    is_leaf: Callable[[Any], bool] | None = None,
    none_is_leaf: bool = False,
) -> Any:
    """Return a tree of bools that are true for the leaves that a pattern matches, as `optax.masked` takes.

    Args:
        tree: the tree.
        pattern: as for `tree_select`.
        is_leaf: as for `tree_map`.
        none_is_leaf: as for `tree_map`.

    Returns:
        The tree of bools.

    Raises:
        TypeError: as for `tree_select`.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_mask({"layers": [{"weight": 1.0, "bias": 0.5}], "bias": 2.0}, "**/bias")
        {'layers': [{'weight': False, 'bias': True}], 'bias': True}
    """
    matches = _matcher(pattern)
    return tree_map_with_path(
        lambda path, leaf: bool(matches(path, leaf)),
        tree,
        is_leaf=is_leaf,
        none_is_leaf=none_is_leaf,
    )


def _matcher(pattern: Any) -> Callable[[Any, Any], Any]:
    """Return a function of path and leaf."""
    import re  # not needed to import the package
    import types

    if isinstance(pattern, str):
        separator = "/" if "/" in pattern or "." not in pattern else "."
        whole = re.compile(_regex(pattern, re.escape(separator)), re.DOTALL).fullmatch
        return lambda path, _: whole(keystr(path, simple=True, separator=separator))
    if isinstance(pattern, re.Pattern):
        return lambda path, _: pattern.search(keystr(path, simple=True, separator="/"))
    if isinstance(pattern, type | tuple | types.UnionType):
        return lambda _, leaf: isinstance(leaf, pattern)
    if callable(pattern):
        return pattern
    raise TypeError(
        "The pattern must be a glob, a compiled regular expression, a type or a function of path "
        f"and leaf, but is {pattern!r}."
    )


def _regex(glob: str, separator: str) -> str:
    """Return a glob as a regular expression."""
    import re

    wild = {"*": f"(?:(?!{separator}).)*", "?": f"(?!{separator}).", "**": ".*"}
    # `**` as a whole name also stands for no name at all.
    tokens = re.split(rf"((?:^|(?<={separator}))\*\*{separator}|\*\*|\*|\?|\[!?.[^]]*\])", glob)
    return "".join(_token(token, wild, separator) for token in tokens)


def _token(token: str, wild: dict[str, str], separator: str) -> str:
    import re

    if token in wild:
        return wild[token]
    if token.startswith("**"):
        return f"(?:.*{separator})?"
    if token.startswith("[") and token.endswith("]"):
        negated = token.startswith("[!")
        characters = re.sub(r"([\\^\[])", r"\\\1", token[1 + negated : -1])
        return f"[{'^' if negated else ''}{characters}]"
    return re.escape(token)
