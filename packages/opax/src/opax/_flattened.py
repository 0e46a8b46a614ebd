"""`flattened`: one vector per dtype in place of many small leaves."""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import optax


def flattened(inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Run a transformation on one vector per dtype rather than on every leaf.

    The state then has a few long vectors where it had as many arrays as the parameters have, which
    costs less to pass to a compiled step when the leaves are many and small. Right for
    transformations that treat every element, or all of them together, in the same way (`adam`, `sgd`,
    `lion`, `clip_by_global_norm`), not for those that look at single leaves (`lamb`, `adafactor`,
    `muon`, masks). `optax.flatten` makes one vector of all, of one dtype.

    Args:
        inner: the transformation.

    Returns:
        A transformation of the same updates.

    Example:
        >>> import jax.numpy as jnp
        >>> import opax
        >>> params = {"b": jnp.ones(2), "h": jnp.ones(3, jnp.bfloat16), "w": jnp.ones((2, 2))}
        >>> opax.flattened(opax.trace(0.9))(params).trace
        {'bfloat16': Array([0, 0, 0], dtype=bfloat16), 'float32': Array([0., 0., 0., 0., 0., 0.], dtype=float32)}
    """
    inner = optax.with_extra_args_support(inner)

    def init(params: Any) -> Any:
        return inner.init(_vectors(params))

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
        params = None if params is None else _vectors(params)
        vectors: Any = _vectors(updates)
        vectors, state = inner.update(vectors, state, params, **extra_args)
        return _split(vectors, updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def _vectors(tree: Any) -> dict[str, Any]:
    """Return the leaves in one vector for each dtype, by its name."""
    groups = _groups(jax.tree.leaves(tree)).items()
    return {name: jnp.concatenate([jnp.ravel(x) for _, x in leaves]) for name, leaves in groups}


def _split(vectors: dict[str, Any], tree: Any) -> Any:
    """Return the elements of vectors in the shapes of a tree."""
    leaves, structure = jax.tree.flatten(tree)
    for name, group in _groups(leaves).items():
        ends = itertools.accumulate(math.prod(jnp.shape(x)) for _, x in group)
        parts = jnp.split(vectors[name], list(ends)[:-1])
        for (i, leaf), part in zip(group, parts, strict=True):
            leaves[i] = jnp.reshape(part, jnp.shape(leaf))
    return jax.tree.unflatten(structure, leaves)


def _groups(leaves: list[Any]) -> dict[str, list[tuple[int, Any]]]:
    groups: dict[str, list[tuple[int, Any]]] = {}
    for i, leaf in enumerate(leaves):
        groups.setdefault(jnp.result_type(leaf).name, []).append((i, leaf))
    return groups
