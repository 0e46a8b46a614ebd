"""A warning for Python numbers that are static and have another value in every call."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from typing import Any

from pax_tree import PyTreeDef, keystr, tree_flatten_with_path, tree_unflatten

MANY = 16
_NUMBERS = (int, float, complex)


class StaticNumbers:
    """Notes the values of static numbers among the arguments of one function; warns once.

    Args:
        name: how the message calls the function.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._values: dict[Hashable, dict[int, set[str]]] = {}
        self._warned = False

    def note(self, leaves: Sequence[Any], treedef: PyTreeDef, keys: Sequence[Hashable]) -> None:
        """Take in a combination of arguments that is called for the first time.

        Args:
            leaves: the leaves of `(args, kwargs)`.
            treedef: their tree.
            keys: what distinguishes each.
        """
        if self._warned:
            return
        places = [i for i, leaf in enumerate(leaves) if type(leaf) in _NUMBERS]
        rest = tuple(None if i in places else key for i, key in enumerate(keys))
        values = self._values.setdefault((treedef, rest), {i: set() for i in places})
        for i, known in values.items():
            known.add(repr(leaves[i]))
            if len(known) == MANY:
                self._warn(_path(treedef, len(leaves), i), leaves[i])
                return

    def _warn(self, path: str, value: Any) -> None:
        self._warned = True
        self._values.clear()
        warnings.warn(
            f"{self._name} was called with {MANY} values of {path}, a {type(value).__name__}: a "
            "Python number is static, and each value is a program of its own. Pass "
            "jnp.asarray(number), which the function gets as a tensor; clear_cache() frees programs.",
            stacklevel=5,
        )


def _path(treedef: PyTreeDef, count: int, index: int) -> str:
    pairs = tree_flatten_with_path(tree_unflatten(treedef, list(range(count))))[0]
    path = next(path for path, leaf in pairs if leaf == index)
    return ("args", "kwargs")[path[0].idx] + keystr(path[1:])
