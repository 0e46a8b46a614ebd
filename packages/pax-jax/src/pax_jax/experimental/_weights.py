"""The arrays of a module as nested dicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import pax_tree
from pax_jax._kinds import is_module
from pax_jax._module import Module
from pax_tree import record_flatten, record_unflatten

T = TypeVar("T", bound=Module)


def save_weights_to_dict(module: Module) -> dict[str, Any]:
    """Return the arrays of a module, parameters and states, in dicts like the module.

    Args:
        module: any module.

    Returns:
        For each attribute that holds arrays or modules its value, with a dict for every module.

    Example:
        >>> import jax
        >>> import pax_jax as pax
        >>> net = pax.Sequential(pax.Linear(1, 2), jax.nn.relu)
        >>> pax.experimental.save_weights_to_dict(net)
        {'modules': ({'weight': ..., 'bias': ...}, {})}
    """
    children, spec = record_flatten(module)
    saved = pax_tree.tree_map(
        lambda leaf: save_weights_to_dict(leaf) if is_module(leaf) else leaf,
        children,
        is_leaf=is_module,
    )
    return dict(zip(spec.names, saved, strict=True))


def load_weights_from_dict(module: T, state_dict: Mapping[str, Any]) -> T:
    """Return a copy of a module with the arrays that `save_weights_to_dict` returned.

    Args:
        module: a module of the same structure.
        state_dict: its arrays.

    Raises:
        ValueError: the dict does not fit; the message names the first path at which it does not.

    Example:
        >>> import pax_jax as pax
        >>> a, b = pax.Linear(1, 2), pax.Linear(1, 2)
        >>> weights = pax.experimental.save_weights_to_dict(a)
        >>> a == pax.experimental.load_weights_from_dict(b, weights)
        True
    """
    return _loaded(type(module).__name__, module, state_dict)


def _loaded(path: str, module: Any, weights: Any) -> Any:
    children, spec = record_flatten(module)
    if not isinstance(weights, Mapping) or set(weights) != set(spec.names):
        given = ", ".join(map(str, weights)) if isinstance(weights, Mapping) else repr(weights)
        raise ValueError(
            f"The weights do not fit {path}, which has {', '.join(spec.names) or 'no arrays'}, "
            f"and they have {given or 'none'}."
        )
    loaded = [
        _child(f"{path}.{name}", child, weights[name])
        for name, child in zip(spec.names, children, strict=True)
    ]
    return record_unflatten(spec, loaded)


def _child(path: str, child: Any, weights: Any) -> Any:
    leaves, structure = pax_tree.tree_flatten_with_path(child, is_leaf=is_module)
    try:
        values = structure.flatten_up_to(weights)
    except (ValueError, TypeError) as error:
        raise ValueError(f"The weights do not fit {path}: {error}") from error
    below = zip(leaves, values, strict=True)
    return structure.unflatten(
        [_leaf(path + pax_tree.keystr(p), leaf, v) for (p, leaf), v in below]
    )


def _leaf(path: str, leaf: Any, value: Any) -> Any:
    if is_module(leaf):
        return _loaded(path, leaf, value)
    wanted, given = getattr(leaf, "shape", None), getattr(value, "shape", None)
    if wanted != given:
        raise ValueError(
            f"The weights do not fit {path}, of shape {wanted}: the dict has "
            f"{type(value).__name__ if given is None else given} there."
        )
    return value
