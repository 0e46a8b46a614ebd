"""Training and evaluation mode, frozen and trained parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pax_tree
from pax_jax._module.deep import Steps, run
from pax_jax._module.kinds import FROZEN, PARAMETER, STATE, is_module
from pax_jax._show.titles import title
from pax_tree import RecordSpec, record_flatten, record_unflatten
from pax_tree._C import _with_specs

T = TypeVar("T")
Change = Callable[[RecordSpec], RecordSpec]


def enable_train_mode(tree: T) -> T:
    """Return a copy of a module, or of any pytree, with its modules in training mode.

    Args:
        tree: a module, or any pytree of modules.

    Example:
        >>> import pax_jax as pax
        >>> pax.enable_train_mode([pax.Dropout(0.5).eval()])[0].training
        True
    """
    return _changed(tree, _train)


def enable_eval_mode(tree: T) -> T:
    """Return a copy of a module, or of any pytree, with its modules in evaluation mode.

    Args:
        tree: a module, or any pytree of modules.

    Example:
        >>> import pax_jax as pax
        >>> pax.enable_eval_mode([pax.Dropout(0.5)])[0].training
        False
    """
    return _changed(tree, _eval)


def freeze_parameters(tree: T) -> T:
    """Return a copy of a module, or of any pytree, whose modules' parameters are not trained.

    Args:
        tree: a module, or any pytree of modules.

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
    return _changed(tree, _unfreeze) if origin is None else run(_like(tree, origin))


def _train(spec: RecordSpec) -> RecordSpec:
    return spec.with_static("training", True)


def _eval(spec: RecordSpec) -> RecordSpec:
    return spec.with_static("training", False)


def _freeze(spec: RecordSpec) -> RecordSpec:
    return spec.with_kinds(tuple(FROZEN if kind == PARAMETER else kind for kind in spec.kinds))


def _unfreeze(spec: RecordSpec) -> RecordSpec:
    return spec.with_kinds(tuple(PARAMETER if kind == FROZEN else kind for kind in spec.kinds))


def _changed(tree: T, change: Change) -> T:
    """Return a copy of `tree` with the specs of its modules changed, but for modules that are state."""
    leaves, structure = pax_tree.tree_flatten(tree)
    return pax_tree.tree_unflatten(_with_specs(structure, STATE, change), leaves)


def _like(tree: Any, origin: Any) -> Steps:
    """Return a copy of `tree` whose attributes are of the kinds that those of `origin` are."""
    leaves, structure = pax_tree.tree_flatten(tree, is_leaf=is_module)
    changed = []
    for a, b in zip(leaves, structure.flatten_up_to(origin), strict=True):
        changed.append((yield _module_like(a, b)) if is_module(a) else a)
    return structure.unflatten(changed)


def _module_like(module: Any, origin: Any) -> Steps:
    children, spec = record_flatten(module)
    if type(origin) is not type(module) or record_flatten(origin)[1].names != spec.names:
        raise ValueError(
            f"Cannot unfreeze {title(module)} as {title(origin)} is: the origin is the same module before "
            "parts of it were frozen."
        )
    others, other = record_flatten(origin)
    changed = []
    for kind, a, b in zip(spec.kinds, children, others, strict=True):
        changed.append(a if kind == STATE else (yield _like(a, b)))
    return record_unflatten(spec.with_kinds(other.kinds), changed)
