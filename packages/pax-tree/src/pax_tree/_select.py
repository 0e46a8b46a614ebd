"""Choosing leaves by path, type or a function of both."""

from __future__ import annotations

from collections.abc import Callable

from pax_tree._C import tree_map_with_path
from pax_tree._describe import nothing_found
from pax_tree._paths import keystr, users_path

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any


def tree_select(
    tree: Any,
    pattern: Any,
    *,
    is_leaf: Callable[[Any], bool] | None = None,
    none_is_leaf: bool = False,
    allow_empty: bool = False,
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

            The `.value` of a variable of Flax NNX is no part of the path of a glob or an expression.
        is_leaf: as for `tree_map`.
        none_is_leaf: as for `tree_map`.
        allow_empty: whether a glob or an expression may match none of the leaves. A type or a function
            may always.

    Returns:
        The tree; since None has no leaves, `tree_map` over it sees the chosen leaves only.

    Raises:
        TypeError: the pattern is none of these.
        ValueError: a glob or an expression matches no leaf; the message names the nearest paths.

    Example:
        >>> import pax_tree
        >>> layer = {"weight": 1.0, "bias": 0.5}
        >>> pax_tree.tree_select({"layers": [layer, layer], "scale": 2.0}, "layers/*/weight")
        {'layers': [{'weight': 1.0, 'bias': None}, {'weight': 1.0, 'bias': None}], 'scale': None}
        >>> pax_tree.tree_leaves(pax_tree.tree_select({"a": 1, "b": [2.0, "c"]}, (float, str)))
        [2.0, 'c']
    """
    return _chosen(
        lambda leaf, is_chosen: leaf if is_chosen else None,
        tree,
        pattern,
        allow_empty,
        is_leaf=is_leaf,
        none_is_leaf=none_is_leaf,
    )


def tree_mask(
    tree: Any,
    pattern: Any,
    *,
    is_leaf: Callable[[Any], bool] | None = None,
    none_is_leaf: bool = False,
    allow_empty: bool = False,
) -> Any:
    """Return a tree of bools that are true for the leaves that a pattern matches, as `optax.masked` takes.

    Args:
        tree: the tree.
        pattern: as for `tree_select`.
        is_leaf: as for `tree_map`.
        none_is_leaf: as for `tree_map`.
        allow_empty: as for `tree_select`.

    Returns:
        The tree of bools.

    Raises:
        TypeError, ValueError: as for `tree_select`.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_mask({"layers": [{"weight": 1.0, "bias": 0.5}], "bias": 2.0}, "**/bias")
        {'layers': [{'weight': False, 'bias': True}], 'bias': True}
    """
    return _chosen(
        lambda _, is_chosen: is_chosen,
        tree,
        pattern,
        allow_empty,
        is_leaf=is_leaf,
        none_is_leaf=none_is_leaf,
    )


def _chosen(
    put: Callable[[Any, bool], Any], tree: Any, pattern: Any, allow_empty: bool, **options: Any
) -> Any:
    """Return a tree of what `put` makes of each leaf and of whether a pattern matches it."""
    matches, separator = _matcher(pattern)
    if separator is None:
        return tree_map_with_path(
            lambda path, leaf: put(leaf, bool(matches(path, leaf))), tree, **options
        )
    shortened, found = users_path(tree), {}

    def named(path: Any, leaf: Any) -> Any:
        name = keystr(shortened(path), simple=True, separator=separator)
        found[name] = bool(matches(name))
        return put(leaf, found[name])

    chosen = tree_map_with_path(named, tree, **options)
    if found and not allow_empty and True not in found.values():
        remedy = "allow_empty=True allows a pattern that matches none."
        raise ValueError(nothing_found("The pattern", pattern, found, remedy))
    return chosen


def _matcher(pattern: Any) -> tuple[Callable[..., Any], str | None]:
    """Return a function of a name and what separates its parts; else one of path and leaf, and None."""
    import re  # not needed to import the package
    import types

    if isinstance(pattern, str):
        separator = "/" if "/" in pattern or "." not in pattern else "."
        return re.compile(_regex(pattern, re.escape(separator)), re.DOTALL).fullmatch, separator
    if isinstance(pattern, re.Pattern):
        return pattern.search, "/"
    if isinstance(pattern, type | tuple | types.UnionType):
        return (lambda _, leaf: isinstance(leaf, pattern)), None
    if callable(pattern):
        return pattern, None
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
