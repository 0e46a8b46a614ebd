"""Trees whose leaves stand at the same paths, though their static parts may differ.

A module in evaluation mode has another structure than in training mode; its optimizer is the same.
"""

from __future__ import annotations

from typing import Any

import pax_tree

__all__ = ["aligned", "like"]


def aligned(what: str, tree: Any, structure: Any) -> Any:
    """Return `tree` in `structure`, which the optimizer was made for.

    Raises:
      ValueError: the leaves do not stand at the same paths; the message names the first that differs.

    """
    leaves, own = pax_tree.tree_flatten(tree)
    if own == structure:
        return tree
    wanted = _paths(structure)
    given = _paths(own)
    if given != wanted:
        raise ValueError(_difference(what, given, wanted))
    return pax_tree.tree_unflatten(structure, leaves)


def like(tree: Any, other: Any) -> Any:
    """Return the leaves of `other`, one for each leaf of `tree`, in the structure of `tree`."""
    return pax_tree.tree_unflatten(pax_tree.tree_structure(tree), pax_tree.tree_leaves(other))


def _paths(structure: Any) -> list[str]:
    numbered = pax_tree.tree_unflatten(structure, range(structure.num_leaves))
    return [pax_tree.keystr(path) for path, _ in pax_tree.tree_leaves_with_path(numbered)]


def _difference(what: str, given: list[str], wanted: list[str]) -> str:
    missing = [path for path in wanted if path not in set(given)]
    extra = [path for path in given if path not in set(wanted)]
    problem = "nothing" if missing else "an array"
    path = (missing or extra or wanted)[0] or "the root"
    expected = "an array" if missing else "none"
    return (
        f"The {what} have {problem} at {path}, where the parameters that the optimizer was made for "
        f"have {expected}. Make the optimizer for the parameters it is to train "
        "(`opax.adam(1e-3)(model.parameters())`), again after a freeze or unfreeze."
    )
