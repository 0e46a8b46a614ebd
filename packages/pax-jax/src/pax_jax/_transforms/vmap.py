"""`jax.vmap` for modules."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

import pax_tree
from pax_jax._compat import is_batched
from pax_jax._module.kinds import is_module
from pax_jax._transforms.changes import Change, Changes, Plan, Watched, carry_out, fixed
from pax_jax._transforms.functions import closed, opened


def vmap(
    fun: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Hashable | None = None,
    axis_size: int | None = None,
    spmd_axis_name: Hashable | None = None,
) -> Callable[..., Any]:
    """Map a function over an axis of its arguments; `jax.vmap` for modules.

    A module whose arrays are mapped is one module for each index, such as an ensemble that a vmapped
    constructor made; what `fun` changes in it is assigned to the caller's module, stacked along the same
    axis, unless the module comes back in the result. A module with `in_axes` `None` is the same for all,
    and may change only by what is the same for all.

    Args:
        fun: a function of pytrees of modules and arrays, a module or one of its methods; a module that is
            itself the function is not mapped.
        in_axes: as in `jax.vmap`.
        out_axes: as in `jax.vmap`.
        axis_name: a name of the axis, for collectives such as those of `cross_replica_axis`.
        axis_size: the size of the axis, where no argument says it.
        spmd_axis_name: as in `jax.vmap`.

    Returns:
        A function of the same arguments.

    Raises:
        TypeError: at a call, a module changes its structure.
        ValueError: at a call, a module that is not mapped changes differently for each index; or as
            `jax.vmap`.
        RuntimeError: at a call, a module that changes was not made in the current scope.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> keys = jax.random.split(jax.random.key(0), 3)
        >>> dropouts = jax.vmap(lambda key: pax.Dropout(0.5, rng_key=key))(keys)
        >>> y = pax.vmap(lambda dropout, x: dropout(x))(dropouts, jnp.ones((3, 8)))
        >>> dropouts.rng_key.shape, bool((dropouts.rng_key == keys).any())
        ((3,), False)
    """
    function, owners = opened(fun)

    def call(owners: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = (args, kwargs, owners)
        axes = _axes_by_module(given, in_axes)

        def mapped(args: Any, kwargs: Any, owners: Any) -> Any:
            watched = Watched((args, kwargs, owners))
            result = function(owners, args, kwargs)
            plan = fixed(watched.changes(result).plan, watched.modules, "vmap")
            along, shared = _by_axes(watched, plan, axes)
            return result, along, shared, Changes(plan, ())

        positional = in_axes if isinstance(in_axes, (tuple, list)) else (in_axes,) * len(args)
        result, along, shared, changes = jax.vmap(
            mapped,
            in_axes=(tuple(positional), 0, None),
            out_axes=(out_axes, 0, None, None),
            axis_name=axis_name,
            axis_size=axis_size,
            spmd_axis_name=spmd_axis_name,
        )(args, kwargs, owners)
        carry_out(given, _joined(changes.plan, axes, along, shared))
        return result

    return closed(fun, call, owners)


def _axes_by_module(given: Any, in_axes: Any) -> list[list[int | None]]:
    """Return for each outermost module the axis along which each of its leaves is mapped."""
    args, kwargs, owners = given
    prefix = (tuple(in_axes) if isinstance(in_axes, list) else in_axes, 0, None)
    axes = iter(
        axis
        for axis, leaf in zip(
            pax_tree.broadcast_prefix(prefix, given, none_is_leaf=True),
            pax_tree.tree_leaves(given, none_is_leaf=True),
            strict=True,
        )
        if leaf is not None
    )
    found = []
    for item in pax_tree.tree_leaves((args, kwargs, owners), is_leaf=is_module):
        own = [next(axes) for _ in range(pax_tree.tree_structure(item).num_leaves)]
        if is_module(item):
            found.append(own)
    return found


def _by_axes(watched: Watched, plan: Plan, axes: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Return the new values of mapped leaves, and those of leaves that are the same for all."""
    along: list[Any] = []
    shared: list[Any] = []
    for module, change, own in zip(watched.modules, plan, axes, strict=True):
        leaves = pax_tree.tree_leaves(module) if change else []
        for place in change.places:
            if own[place] is None and is_batched(leaves[place]):
                raise _differs(module, place)
            (shared if own[place] is None else along).append(leaves[place])
    return along, shared


def _differs(module: Any, place: int) -> ValueError:
    path, _ = pax_tree.tree_leaves_with_path(module)[place]
    return ValueError(
        f"{type(module).__name__}{pax_tree.keystr(path)} is one array for all indices of pax_jax.vmap, "
        "and changes differently for each. Map the module too (a vmapped constructor makes one for each "
        "index), give the layer an axis_name to take averages over, or put the module into evaluation "
        "mode."
    )


def _joined(
    plan: Plan, axes: Sequence[Any], along: Sequence[Any], shared: Sequence[Any]
) -> Changes:
    mapped, same = iter(along), iter(shared)
    values = []
    for change, own in zip(plan, axes, strict=True):
        for place in change.places:
            axis = own[place]
            values.append(next(same) if axis is None else jnp.moveaxis(next(mapped), 0, axis))
    return Changes(tuple(Change(change.places) for change in plan), values)
