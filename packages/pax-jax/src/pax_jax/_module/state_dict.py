"""The arrays of a module by the dotted path at which they stand, or in dicts like the module."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import pax_tree
from pax_jax._module.kinds import is_module
from pax_jax._module.partial import LoadReport, cast_to, compare
from pax_jax._module.resuming import as_saved, dotted, resumed
from pax_jax._module.trees import children_by_name
from pax_jax._storage.placement import placed
from pax_tree import Record, record_flatten, record_unflatten
from pax_tree._describe import dtype_and_shape

M = TypeVar("M", bound=Record)

_TWICE = "Use keys without dots in dicts of arrays."


def state_dict_of(module: Any) -> dict[str, Any]:
    """Return the arrays of a module by their paths; see `Module.state_dict`."""
    return by_path(module, f"Two arrays of {type(module).__name__} have the path {{!r}}. {_TWICE}")


def with_state_dict(
    module: Any,
    state_dict: Mapping[str, Any],
    cast: bool,
    what: str = "The state dict",
    weak_types: Collection[str] | None = None,
) -> Any:
    """Return a copy of a module with other arrays; see `Module.load_state_dict`.

    Args:
        module: any module.
        state_dict: its arrays by name.
        cast: whether arrays of another precision are converted.
        what: `state_dict`, for messages.
        weak_types: the names of those whose type is weak, if that is known.
    """
    form = as_saved(module, state_dict)
    mine = form.state_dict()
    state_dict = cast_to(mine, state_dict) if cast else state_dict
    check_fit(module, misfits(mine, state_dict), what)
    leaves = [
        leaf
        if state_dict[name] is leaf
        else placed(state_dict[name], leaf, None if weak_types is None else name in weak_types)
        for name, leaf in mine.items()
    ]
    return resumed(pax_tree.tree_structure(form).unflatten(leaves), module)


def with_part_of(
    module: Any,
    state_dict: Mapping[str, Any],
    cast: bool,
    what: str = "the state dict",
    weak_types: Collection[str] | None = None,
) -> tuple[Any, LoadReport]:
    """Return a copy of a module with the arrays that fit it; see `weights.load_partial`."""
    mine = as_saved(module, state_dict).state_dict()
    given = {name: dtype_and_shape(array) for name, array in state_dict.items()}
    report = compare(mine, given, cast, what)
    fitting = {name: state_dict[name] for name in report.taken}
    return with_state_dict(module, {**mine, **fitting}, cast, what, weak_types), report


def by_path(tree: Any, message: str) -> dict[str, Any]:
    """Return the leaves of a tree by their dotted paths.

    Raises:
        ValueError: two leaves have one path, which is put into `message`.
    """
    leaves: dict[str, Any] = {}
    for path, leaf in pax_tree.tree_leaves_with_path(tree):
        name = dotted(path)
        if name in leaves:
            raise ValueError(message.format(name))
        leaves[name] = leaf
    return leaves


def misfits(
    expected: Mapping[str, Any], given: Mapping[str, Any], optional: Collection[str] = ()
) -> list[str]:
    """Return a sentence for each name at which two dicts of arrays differ.

    An `optional` name may be missing, and its array be of any shape and dtype.
    """
    found = {*given, *optional}
    missing = [f"{name} is missing" for name in expected if name not in found]
    unknown = [f"{name} is unknown" for name in given if name not in expected]
    kinds = {
        name: (dtype_and_shape(given[name]), dtype_and_shape(array))
        for name, array in expected.items()
        if name in given and name not in optional
    }
    other = [f"{name} is {a}, expected {b}" for name, (a, b) in kinds.items() if a != b]
    return missing + unknown + other


def check_fit(module: Any, problems: list[str], what: str = "The state dict") -> None:
    """Raise `ValueError` if there are problems with a state dict, which is `what`, for `module`."""
    if problems:
        raise ValueError(
            f"{what} does not fit {type(module).__name__}:\n  " + "\n  ".join(problems)
        )


def save_weights_to_dict(module: Any) -> dict[str, Any]:
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
    return pax_tree.tree_map(
        lambda leaf: save_weights_to_dict(leaf) if is_module(leaf) else leaf,
        children_by_name(module),
        is_leaf=is_module,
    )


def load_weights_from_dict(module: M, state_dict: Mapping[str, Any]) -> M:
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
    form = as_saved(module, by_path(state_dict, "Two arrays have the path {!r}. " + _TWICE))
    return resumed(_loaded(type(module).__name__, form, state_dict), module)


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
