"""The sharding of every leaf of a tree: by rules, or spread over one axis of the mesh."""

from __future__ import annotations

import warnings
from math import prod
from typing import Any

from jax.sharding import NamedSharding, PartitionSpec

import pax_tree
from pax_jax._sharding.arrays import described
from pax_jax._sharding.rules import (
    Array,
    Decision,
    Rules,
    axis_names,
    behind,
    check_axes,
    check_rules,
    decide,
    devices,
)


def shardings(
    tree: Any,
    mesh: Any,
    rules: Rules = (),
    *,
    allow_unmatched: bool = False,
    strict: bool = False,
) -> Any:
    """Return the sharding of every leaf.

    Args:
        tree: a module, or any pytree; of arrays or of `jax.ShapeDtypeStruct`.
        mesh: the devices.
        rules: the first one that is found in a leaf's path decides; without one, every device has
            the whole array. The state of an optimizer has the paths of its parameters in its own: a
            rule about a parameter holds for state of its shape, also behind other axes, and leaves
            state of another shape whole; `report` says which.
        allow_unmatched: whether a rule may be found in no path; in those of an optimizer it always may.
        strict: whether each array must have a rule, which must fit without a note in `report`.

    Returns:
        The tree with a `NamedSharding` for every leaf, as `jax.jit` takes it for `in_shardings` and
        `out_shardings`.

    Raises:
        ValueError: the mesh has no axis of a rule's name, or an array's axis cannot be divided by it,
            or a rule is found in no path; or, if strict, an array has no rule that fits.
        TypeError: `rules` are no pairs of a regular expression and a `PartitionSpec`.

    Example:
        >>> import jax
        >>> from jax.sharding import PartitionSpec as P
        >>> import pax_jax as pax
        >>> mesh = jax.make_mesh((1,), ("model",))
        >>> net = pax.Sequential(pax.Linear(2, 4), pax.Linear(4, 2))
        >>> rules = [(r"modules.0.weight", P(None, "model"))]
        >>> found = pax.sharding.shardings(net, mesh, rules)
        >>> found.modules[0].weight.spec, found.modules[1].weight.spec
        (P(None, 'model'), P())
    """
    check_rules(rules, mesh)
    describe, heads = described(tree, rules, allow_unmatched), {}

    def place(path: Any, leaf: Any) -> NamedSharding:
        array = describe(path, leaf)
        decision = decide(array, mesh, rules, strict)
        _note(heads, array, decision)
        return NamedSharding(mesh, decision.spec)

    found = pax_tree.tree_map_with_path(place, tree)
    _warn(heads)
    return found


def fsdp(
    tree: Any,
    mesh: Any,
    axis: str | tuple[str, ...] = "data",
    rules: Rules = (),
    min_size: int = 1024,
    *,
    allow_unmatched: bool = False,
) -> Any:
    """Return shardings that spread every large array over one axis of the mesh.

    Each array is divided along its largest axis that the size of the mesh axis divides, and that no
    rule divides already; those of a `Stack` not along the axis of the layers (ZeRO, https://arxiv.org/abs/1910.02054).

    Args:
        tree: a module, an optimizer, or any pytree.
        mesh: the devices.
        axis: the mesh axis, or axes, that are also those of the batch.
        rules: as in `shardings`; for tensor parallelism over another axis.
        min_size: arrays with fewer elements are left whole.
        allow_unmatched: as in `shardings`.

    Returns:
        The tree with a `NamedSharding` for every leaf.

    Raises:
        ValueError: as in `shardings`.

    Example:
        >>> import jax
        >>> import pax_jax as pax
        >>> mesh = jax.make_mesh((1,), ("data",))
        >>> found = pax.sharding.fsdp(pax.Linear(64, 32), mesh)
        >>> found.weight.spec, found.bias.spec
        (P('data', None), P())
    """
    check_axes("axis", PartitionSpec(axis), mesh)
    check_rules(rules, mesh)
    describe, heads = described(tree, rules, allow_unmatched), {}

    def spread(path: Any, leaf: Any) -> NamedSharding:
        array = describe(path, leaf)
        decision = decide(array, mesh, rules)
        _note(heads, array, decision)
        return NamedSharding(mesh, divided_once_more(decision.spec, array, mesh, axis, min_size))

    found = pax_tree.tree_map_with_path(spread, tree)
    _warn(heads)
    return found


def transformer_rules(axis: str = "model") -> Rules:
    """Return rules that divide every layer of `nets.Transformer`, stacked or not, over a mesh axis.

    Heads and hidden units are divided, so that a layer needs one sum over the devices after its
    attention and one after its dense part (Megatron, https://arxiv.org/abs/1909.08053).

    Args:
        axis: the mesh axis.

    Example:
        >>> import jax
        >>> import pax_jax as pax
        >>> net = pax.nets.Transformer(8, 2, 1)
        >>> mesh = jax.make_mesh((1,), ("model",))
        >>> found = pax.sharding.shardings(net, mesh, pax.sharding.transformer_rules())
        >>> found.layers[0].dense_in.weight.spec, found.layers[0].dense_out.weight.spec
        (P(None, 'model'), P('model', None))
    """
    return [
        (r"(attention\.(query|key|value)|dense_in)\.weight$", PartitionSpec(None, axis)),
        (r"(attention\.(query|key|value)|dense_in)\.bias$", PartitionSpec(axis)),
        (r"(attention\.output|dense_out)\.weight$", PartitionSpec(axis, None)),
    ]


def divided_once_more(
    spec: PartitionSpec, array: Array, mesh: Any, axis: Any, min_size: int
) -> PartitionSpec:
    """Return a spec that divides the largest axis that is not divided yet over a mesh axis.

    State of a parameter, behind other axes, is divided as the parameter is.
    """
    shape, extra = array.shape, 0
    if array.parameter is not None:
        extra = len(shape) - len(array.parameter[1])
        extra = extra if extra > 0 and shape[extra:] == array.parameter[1] else 0
    own = shape[extra:]
    parts = [*spec, *[None] * (len(shape) - len(spec))][extra:]
    names = axis_names(axis)
    if prod(own) < min_size or any(name in names for part in parts for name in axis_names(part)):
        return spec
    count = devices(axis, mesh)
    free = [i for i in range(array.stacked, len(own)) if parts[i] is None and own[i] % count == 0]
    if not free:
        return spec
    parts[max(free, key=lambda i: own[i])] = axis
    return behind(extra, PartitionSpec(*parts))


def _note(heads: dict[str, str], array: Array, decision: Decision) -> None:
    if "heads" in decision.note:
        heads[array.name] = decision.note


def _warn(heads: dict[str, str]) -> None:
    """Say once of all arrays of attention that their heads do not divide."""
    if heads:
        name, note = next(iter(heads.items()))
        more = f" and {len(heads) - 1} more arrays" if len(heads) > 1 else ""
        warnings.warn(f"{name}{more}: {note}.", stacklevel=3)
