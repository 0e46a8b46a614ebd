"""Trees whose leaves stand at the same paths, though their static parts may differ.

A module in evaluation mode has another structure than in training mode; its optimizer is the same.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

import pax_tree
from pax_jax import select_parameters


def trainable(tree: Any) -> Any:
    """Return `tree` with `None` for every leaf that is no parameter, or has no derivative."""
    return pax_tree.tree_map(
        lambda x: x if _is_differentiable(x) else None, select_parameters(tree)
    )


def _is_differentiable(leaf: Any) -> bool:
    if isinstance(leaf, (float, complex)):
        return True
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)


def aligned(what: str, tree: Any, structure: Any) -> Any:
    """Return `tree` in `structure`, which the optimizer was made for.

    Raises:
        ValueError: the leaves do not stand at the same paths; the message names the first that differs.
    """
    leaves, own = pax_tree.tree_flatten(tree)
    if own == structure:
        return tree
    leaves, own = pax_tree.tree_flatten(trainable(tree))
    wanted = _paths(structure)
    given = _paths(own)
    if given != wanted:
        raise ValueError(_difference(what, given, wanted))
    return pax_tree.tree_unflatten(structure, leaves)


def like(tree: Any, other: Any) -> Any:
    """Return the leaves of `other`, one for each parameter in `tree`, in the structure of `tree`."""
    leaves, structure = pax_tree.tree_leaves(other), pax_tree.tree_structure(tree)
    if structure.num_leaves != len(leaves):  # `tree` has leaves that are no parameters
        structure = pax_tree.tree_structure(trainable(tree))
    return pax_tree.tree_unflatten(structure, leaves)


def check_like(grads: Any, params: Any) -> None:
    """Check that gradients have the shapes and dtypes of parameters of the same structure.

    Gradients of each example, for differential privacy, have one axis more in front.

    Raises:
        ValueError: one has another shape.
        TypeError: one has another dtype.
    """
    pairs = zip(pax_tree.tree_leaves(grads), pax_tree.tree_leaves(params), strict=True)
    for i, (grad, param) in enumerate(pairs):
        shape, dtype = jnp.shape(param), getattr(param, "dtype", None)
        if shape not in (jnp.shape(grad), jnp.shape(grad)[1:]):
            raise ValueError(
                f"The gradient at {_path(params, i)} has the shape {jnp.shape(grad)}, and the "
                f"parameter {shape}: differentiate with respect to the parameters given here."
            )
        if dtype is not None and dtype != getattr(grad, "dtype", dtype):
            raise TypeError(
                f"The gradient at {_path(params, i)} has the dtype {grad.dtype}, and the parameter "
                f"{dtype}: cast one of them (`grads = jax.tree.map(lambda g, p: g.astype(p.dtype), "
                "grads, params)`)."
            )


def check_state(old: Any, new: Any) -> Any:
    """Return a state that is to take the place of another, in the structure of that.

    Raises:
        ValueError: they differ in structure, or an array in shape or dtype; the message names the path.
    """
    difference = _first_difference(_nodes(old), _nodes(new)) or _first_difference(
        _arrays(old), _arrays(new)
    )
    if difference is None:
        return jax.tree.unflatten(jax.tree.structure(old), jax.tree.leaves(new))
    path, wanted, given = difference
    raise ValueError(
        f"This state is that of another optimizer, or for other parameters: it has {given} at "
        f"{path or 'the root'}, where this optimizer has {wanted}."
    )


def _first_difference(old: dict[str, str], new: dict[str, str]) -> tuple[str, str, str] | None:
    for path in [*old, *new]:
        wanted, given = old.get(path, "nothing"), new.get(path, "nothing")
        if wanted != given:
            return path, wanted, given
    return None


def _nodes(state: Any) -> dict[str, str]:
    """Return the types of the states in a chain by path."""
    inner = jax.tree_util.tree_leaves_with_path(
        state, is_leaf=lambda x: x is not state and hasattr(x, "_fields")
    )
    types = {jax.tree_util.keystr(path): type(x).__name__ for path, x in inner}
    return {"": type(state).__name__, **types}


def _arrays(state: Any) -> dict[str, str]:
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): _description(x) for path, x in leaves}


def _description(value: Any) -> str:
    return f"{getattr(value, 'dtype', type(value).__name__)}{list(jnp.shape(value))}"


def _path(tree: Any, index: int) -> str:
    return pax_tree.keystr(pax_tree.tree_leaves_with_path(tree)[index][0]) or "the root"


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
