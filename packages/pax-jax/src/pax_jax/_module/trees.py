"""Whole-tree operations on modules; all but `keep_changes` leave their arguments alone."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import pax_tree
from pax_jax._module.deep import Steps, map_modules, run, unchanged
from pax_jax._module.kinds import MODULE, PARAMETER, STATE, check_functions, is_module
from pax_tree import Record, record_flatten, record_set, record_spec, record_unflatten
from pax_tree._C import _leave_unseen, _leaves_of_kind

T = TypeVar("T")
R = TypeVar("R", bound=Record)

_ABSENT = object()

# By the kinds of attributes in which modules say themselves what they train: what of other leaves is kept.
_OF_LEAVES: dict[int, Callable[[Any], Any]] = {PARAMETER: unchanged, MODULE: lambda _: None}


def copy_tree(tree: T) -> T:
    """Return `tree` with new containers and modules around the same leaves."""
    leaves, treedef = pax_tree.tree_flatten(tree)
    return pax_tree.tree_unflatten(treedef, leaves)


def own_containers(tree: T) -> T:
    """Return `tree` with new containers around the same leaves and modules."""
    leaves, treedef = pax_tree.tree_flatten(tree, is_leaf=is_module)
    return pax_tree.tree_unflatten(treedef, leaves)


def outermost_modules(tree: Any) -> list[Any]:
    """Return the modules of a tree that are in no other module of it, in order."""
    return [leaf for leaf in pax_tree.tree_leaves(tree, is_leaf=is_module) if is_module(leaf)]


def submodules(module: Any) -> list[Any]:
    """Return the modules directly inside `module`, through lists, tuples and dicts, in order."""
    return outermost_modules(record_flatten(module)[0])


def children_by_name(module: Any) -> dict[str, Any]:
    """Return the attributes of `module` that hold arrays or modules."""
    children, spec = record_flatten(module)
    return dict(zip(spec.names, children, strict=True))


def select_parameters(tree: T) -> T:
    """Return `tree` with the leaves of its modules that are not parameters replaced by `None`.

    Args:
        tree: a module, or any pytree; leaves that are in no module count as parameters.

    Returns:
        A pytree of the same structure, ready to be differentiated.

    Example:
        >>> import jax
        >>> import pax_jax as pax
        >>> params = pax.select_parameters({"norm": pax.BatchNorm1D(2), "bias": 0.5})
        >>> params["norm"].ema_mean, params["bias"]
        (None, 0.5)
    """
    return pax_tree.tree_map(
        lambda leaf: leaf.parameters() if is_module(leaf) else leaf, tree, is_leaf=is_module
    )


def own_parameters(module: R) -> R:
    """Return `module` with every leaf that is not a parameter replaced by `None`."""
    before = _leave_unseen(STATE)  # whose changes are not in what is returned
    try:
        leaves, structure = pax_tree.tree_flatten(module)
    finally:
        _leave_unseen(before)
    if any(map(callable, leaves)):
        check_functions(module)
    kept = _leaves_of_kind(structure, MODULE, PARAMETER, _has_usual_parameters)
    if kept is None:
        return run(_own_parameters(module))
    return structure.unflatten(
        [x if is_kept else None for x, is_kept in zip(leaves, kept, strict=True)]
    )


def _has_usual_parameters(cls: type) -> bool:
    """Whether the method `parameters` of a class of modules is none of its own."""
    return getattr(cls.parameters, "is_usual", False)  # type: ignore[attr-defined]


def _own_parameters(module: Any) -> Steps:
    children, spec = record_flatten(module)
    kept = []
    for kind, child in zip(spec.kinds, children, strict=True):
        if kind in _OF_LEAVES:
            kept.append((yield map_modules(_parameters_of, child, _OF_LEAVES[kind])))
        else:
            kept.append(pax_tree.tree_map(lambda _: None, child))
    return record_unflatten(spec, tuple(kept))


def _parameters_of(module: Any) -> Steps:
    """Return `module.parameters()`, which a class may have of its own."""
    if _has_usual_parameters(type(module)):
        return (yield _own_parameters(module))
    return module.parameters()


def own_states(module: R) -> R:
    """Return `module` with every parameter replaced by `None`."""
    params = module.parameters()  # type: ignore[attr-defined]
    return pax_tree.tree_map(
        lambda leaf, param: leaf if param is None else None, module, params, none_is_leaf=True
    )


def parameters_method(*names: str) -> Any:
    """Declare which attributes of a class are parameters.

    Args:
        *names: attributes; an array, or a list, tuple or dict of arrays, assigned to one of them is a
            parameter.

    Returns:
        The method `parameters`, to be assigned to that name in the class body.

    Raises:
        TypeError: a name is not a string.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> class Scale(pax.Module):
        ...     parameters = pax.parameters_method("scale")
        ...
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.scale = jnp.ones(())
        ...         self.calls = jnp.zeros((), jnp.int32)
        >>> params = Scale().parameters()
        >>> params.scale, params.calls
        (Array(1., dtype=float32), None)
    """
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"parameters_method expects attribute names, got {name!r}.")

    def parameters(self: R) -> R:
        """Return this module with every leaf that is not a parameter replaced by `None`."""
        return own_parameters(self)

    parameters._parameter_names = frozenset(names)  # type: ignore[attr-defined]
    parameters.is_usual = True  # type: ignore[attr-defined]
    return parameters


def update_parameters(tree: T, params: T) -> T:
    """Return a copy of `tree` with the leaves of `params` that are not `None`.

    Args:
        tree: a module, or any pytree.
        params: a pytree of the same structure in which `None` may stand for any leaf, such as
            `select_parameters(tree)` or its gradients.

    Returns:
        A new pytree with the static attributes of `tree`.

    Raises:
        TypeError: a module of `tree` meets a module of another class in `params`.
        ValueError: the two differ in structure.

    Example:
        >>> import pax_jax as pax
        >>> pax.update_parameters({"a": 1.0, "b": 2.0}, {"a": None, "b": 3.0})
        {'a': 1.0, 'b': 3.0}
    """
    return run(_merge(None, tree, params))


class _Path(NamedTuple):
    """Where a module stands: an attribute, and the path of the module around it."""

    around: _Path | None
    name: str

    def text(self) -> str:
        names, path = [], self
        while path is not None:
            names.append(path.name)
            path = path.around
        return ".".join(reversed(names))


def _merge(path: _Path | None, old: Any, new: Any) -> Steps:
    if is_module(old):
        return (yield _merge_module(path, old, new))
    leaves, structure = pax_tree.tree_flatten(old, is_leaf=is_module, none_is_leaf=True)
    try:
        others = structure.flatten_up_to(new)
    except ValueError as error:
        where = f" at {path.text()}" if path else ""
        raise ValueError(f"The update differs in structure{where}: {error}") from error
    merged = []
    for a, b in zip(leaves, others, strict=True):
        merged.append((yield _merge_module(path, a, b)) if is_module(a) else a if b is None else b)
    return structure.unflatten(merged)


def _merge_module(path: _Path | None, old: Any, new: Any) -> Steps:
    if new is None:
        return copy_tree(old)
    path = path or _Path(None, type(old).__name__)
    if type(new) is not type(old):
        raise TypeError(
            f"Cannot update {path.text()}, a {type(old).__name__}, with a {type(new).__name__}: "
            "an update is a module of the same class, such as `module.parameters()`."
        )
    children, spec = record_flatten(old)
    others, other_spec = record_flatten(new)
    if other_spec.names != spec.names:
        raise ValueError(
            f"Cannot update {path.text()}: it has the attributes {', '.join(spec.names)}, "
            f"and the update has {', '.join(other_spec.names)}."
        )
    merged = []
    for name, a, b in zip(spec.names, children, others, strict=True):
        merged.append((yield _merge(_Path(path, name), a, b)))
    return record_unflatten(spec, tuple(merged))


def keep_changes(
    module: Any,
    before: Any,
    after: Any,
    kept: Mapping[int, tuple[Any, Any]],
    convert: Callable[[Any, Any, Any], Any] = lambda own, before, after: after,
) -> None:
    """Assign to `module` what a call has changed in a copy: what has other leaves than before it.

    Args:
        module: the module of which the copy was made.
        before: the copy as it was before the call, or `module` itself.
        after: the copy after the call.
        kept: `paired_modules` of the copy and of `before`, from before the call. A module that the
            call has put in the place of another is assigned; one that is in its place is changed.
        convert: from the module's own value of an attribute, that before and that after the call, to
            the value that is assigned.
    """
    own_values, known = children_by_name(module), children_by_name(before)
    children, spec = record_flatten(after)
    for name, kind, child in zip(spec.names, spec.kinds, children, strict=True):
        own, old = own_values.get(name), known.get(name)
        structure = pax_tree.tree_structure(child)
        if name in known and structure == pax_tree.tree_structure(old) and same_objects(old, child):
            continue
        same = all(pax_tree.tree_structure(tree) == structure for tree in (own, old))
        parts = list(zip(*map(outermost_modules, (own, old, child)), strict=same))
        if kind == MODULE and same and all(_is_kept(kept, part, new) for _, part, new in parts):
            for own_part, old_part, new_part in parts:
                keep_changes(own_part, old_part, new_part, kept, convert)
        else:
            record_set(module, name, convert(own, old, child), kind)
    statics = record_spec(before).statics
    for name, value in spec.statics.items():
        if statics.get(name, _ABSENT) != value:
            record_set(module, name, value, None)


def paired_modules(tree: Any, other: Any) -> dict[int, tuple[Any, Any]]:
    """Return each module of `tree` with that at its place in `other`, by the identity of the first."""
    pairs: dict[int, tuple[Any, Any]] = {}
    for module, at_its_place in zip(*map(outermost_modules, (tree, other)), strict=True):
        pairs[id(module)] = module, at_its_place
        children = record_flatten(module)[0], record_flatten(at_its_place)[0]
        pairs |= paired_modules(*children)
    return pairs


def _is_kept(kept: Mapping[int, tuple[Any, Any]], before: Any, after: Any) -> bool:
    return id(after) in kept and kept[id(after)][1] is before


def same_objects(tree: Any, other: Any) -> bool:
    """Say whether the leaves of two trees are the same objects."""
    leaves, others = pax_tree.tree_leaves(tree), pax_tree.tree_leaves(other)
    return len(leaves) == len(others) and all(map(operator.is_, leaves, others))
