"""Training and evaluation mode, frozen and trained parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import pax_tree
from pax_jax._module.kinds import FROZEN, MODULE, PARAMETER, is_module
from pax_jax._show.titles import title
from pax_tree import RecordSpec, record_flatten, record_unflatten

T = TypeVar("T")
Change = Callable[[RecordSpec], RecordSpec]


def enable_train_mode(tree: T) -> T:
    """Return a copy of a module, or of any pytree, with its modules in training mode.

    Example:
        >>> import pax_jax as pax
        >>> pax.enable_train_mode([pax.Dropout(0.5).eval()])[0].training
        True
    """
    return _changed(tree, _train)


def enable_eval_mode(tree: T) -> T:
    """Return a copy of a module, or of any pytree, with its modules in evaluation mode.

    Example:
        >>> import pax_jax as pax
        >>> pax.enable_eval_mode([pax.Dropout(0.5)])[0].training
        False
    """
    return _changed(tree, _eval)


def freeze_parameters(tree: T) -> T:
    """Return a copy of a module, or of any pytree, whose modules' parameters are not trained.

    Example:
        >>> import pax_jax as pax
        >>> pax.freeze_parameters([pax.Linear(1, 1)])[0].parameters().weight is None
        True
    """
    return _changed(tree, _freeze)


def unfreeze_parameters(tree: T, origin: T | None = None) -> T:
    """Return a copy in which frozen parameters are trained again.

    Args:
        tree: a module, or any pytree of modules.
        origin: the same before parts of it were frozen; what it trains is trained. Without it
            everything that was ever frozen is.

    Returns:
        The copy, with the leaves of `tree`.

    Raises:
        ValueError: `tree` and `origin` differ in more than what is frozen.

    Example:
        >>> import pax_jax as pax
        >>> pair = [pax.Linear(1, 1), pax.Linear(1, 1).freeze()]
        >>> again = pax.unfreeze_parameters(pax.freeze_parameters(pair), origin=pair)
        >>> [layer.parameters().weight is None for layer in again]
        [False, True]
    """
    return _changed(tree, _unfreeze) if origin is None else _like(tree, origin)


def _train(spec: RecordSpec) -> RecordSpec:
    return spec.with_static("training", True)


def _eval(spec: RecordSpec) -> RecordSpec:
    return spec.with_static("training", False)


def _freeze(spec: RecordSpec) -> RecordSpec:
    return spec.with_kinds(tuple(FROZEN if kind == PARAMETER else kind for kind in spec.kinds))


def _unfreeze(spec: RecordSpec) -> RecordSpec:
    return spec.with_kinds(tuple(PARAMETER if kind == FROZEN else kind for kind in spec.kinds))


def _changed(tree: T, change: Change) -> T:
    """Return a copy of `tree` with the spec of every module changed."""
    leaves, structure = pax_tree.tree_flatten(tree)
    return pax_tree.tree_unflatten(_changed_structure(structure, change), leaves)


@functools.lru_cache(maxsize=128)
def _changed_structure(structure: Any, change: Change) -> Any:
    tree = structure.unflatten([0] * structure.num_leaves)
    return pax_tree.tree_structure(_convert(tree, change))


def _convert(tree: Any, change: Change) -> Any:
    """Change the modules of `tree` and those inside them, but for modules that are state."""
    return pax_tree.tree_map(
        lambda leaf: _convert_module(leaf, change) if is_module(leaf) else leaf,
        tree,
        is_leaf=is_module,
    )


def _convert_module(module: Any, change: Change) -> Any:
    children, spec = record_flatten(module)
    changed = [
        _convert(child, change) if kind == MODULE else child
        for kind, child in zip(spec.kinds, children, strict=True)
    ]
    return record_unflatten(change(spec), changed)


def _like(tree: Any, origin: Any) -> Any:
    """Return a copy of `tree` whose attributes are of the kinds that those of `origin` are."""
    return pax_tree.tree_map(
        lambda a, b: _module_like(a, b) if is_module(a) else a, tree, origin, is_leaf=is_module
    )


def _module_like(module: Any, origin: Any) -> Any:
    children, spec = record_flatten(module)
    if type(origin) is not type(module) or record_flatten(origin)[1].names != spec.names:
        raise ValueError(
            f"Cannot unfreeze {title(module)} as {title(origin)} is: the origin is the same module before "
            "parts of it were frozen."
        )
    others, other = record_flatten(origin)
    changed = [
        _like(a, b) if kind == MODULE else a
        for kind, a, b in zip(spec.kinds, children, others, strict=True)
    ]
    return record_unflatten(spec.with_kinds(other.kinds), changed)
