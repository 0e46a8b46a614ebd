"""Modules whose arrays are spread over the devices of a mesh, by rules about their paths.

The mesh is JAX's, and so is what runs on it: `jax.jit` of a step whose arguments are sharded by
these functions is data parallel, fully sharded (FSDP) or tensor parallel, or all of them at once.
Every axis of the mesh is taken as `jax.sharding.AxisType.Auto`: the compiler finds out how what is
computed in between is spread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import pax_tree
from pax_jax._module.module import Optimizer
from pax_jax._module.resuming import dotted
from pax_jax._module.scope import is_traced
from pax_jax._storage.keys import is_key
from pax_jax.nn import Stack
from pax_tree import GetAttrKey
from pax_tree._describe import nothing_found
from pax_tree._paths import users_path

T = TypeVar("T")

Rules = Sequence[tuple[str, PartitionSpec]]
"""Pairs of a regular expression, looked for in paths such as "layers.0.weight", and a spec.

For an array of a `Stack` the spec is about the axes of one layer, and the axis of the layers, which comes
first, is not divided; a spec with an entry for each axis of the stacked array is about all of them.
"""


def shardings(tree: Any, mesh: Mesh, rules: Rules = (), *, allow_unmatched: bool = False) -> Any:
    """Return the sharding of every leaf.

    Args:
        tree: a module, or any pytree; of arrays or of `jax.ShapeDtypeStruct`.
        mesh: the devices.
        rules: the first one that is found in a leaf's path decides; without one, every device has
            the whole array. The state of an optimizer has the paths of its parameters in its own.
        allow_unmatched: whether a rule may be found in no path; in those of an optimizer it always may.

    Returns:
        The tree with a `NamedSharding` for every leaf, as `jax.jit` takes it for `in_shardings` and
        `out_shardings`.

    Raises:
        ValueError: the mesh has no axis of a rule's name, or an array's axis cannot be divided by it,
            or a rule is found in no path.

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
    mesh = _automatic(mesh)
    described = _descriptions(tree, rules, allow_unmatched)
    return pax_tree.tree_map_with_path(
        lambda path, leaf: NamedSharding(mesh, _spec(described(path, leaf), mesh, rules)), tree
    )


def fsdp(
    tree: Any,
    mesh: Mesh,
    axis: str = "data",
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
        axis: the mesh axis that is also that of the batch.
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
    _check_axes("axis", PartitionSpec(axis), mesh)
    mesh = _automatic(mesh)
    described = _descriptions(tree, rules, allow_unmatched)

    def spread(path: Any, leaf: Any) -> NamedSharding:
        array = described(path, leaf)
        spec = _spec(array, mesh, rules)
        if prod(array.shape) >= min_size:
            spec = _divided_once_more(spec, array, mesh, axis)
        return NamedSharding(mesh, spec)

    return pax_tree.tree_map_with_path(spread, tree)


def shard(tree: T, target: Any, rules: Rules = (), *, allow_unmatched: bool = False) -> T:
    """Return a tree with its arrays moved to where they belong, or, while tracing, held there.

    Args:
        tree: a module, or any pytree.
        target: a mesh, or what `shardings` or `fsdp` returns.
        rules: as in `shardings`, with a mesh.
        allow_unmatched: as in `shardings`.

    Raises:
        ValueError: as in `shardings`; or there are rules, and the target has the specs already.

    Example:
        >>> import jax
        >>> import pax_jax as pax
        >>> net = pax.sharding.shard(pax.Linear(2, 3), jax.make_mesh((1,), ("data",)))
        >>> net.weight.sharding.spec
        P()
    """
    if isinstance(target, Mesh):
        wanted = shardings(tree, target, rules, allow_unmatched=allow_unmatched)
    elif rules:
        raise ValueError(
            "shard was given rules and shardings, which leave nothing to the rules: give the rules to "
            "`shardings` or `fsdp`, or give a mesh."
        )
    else:
        wanted = target
    if any(map(is_traced, pax_tree.tree_leaves(tree))):
        return jax.lax.with_sharding_constraint(tree, wanted)
    return jax.tree.map(_moved, tree, wanted)


def shard_batch(batch: T, mesh: Mesh, axis: str | tuple[str, ...] = "data") -> T:
    """Return a batch with its first axis spread over a mesh axis, or over several.

    Args:
        batch: a pytree of arrays; with several processes, the part that this process has loaded.
        mesh: the devices, of all processes.
        axis: the mesh axis.

    Raises:
        ValueError: the mesh has no such axis.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> mesh = jax.make_mesh((1,), ("data",))
        >>> pax.sharding.shard_batch(jnp.ones((4, 2)), mesh).sharding.spec
        P('data',)
    """
    _check_axes("axis", PartitionSpec(axis), mesh)
    sharding = NamedSharding(_automatic(mesh), PartitionSpec(axis))
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), batch
    )


def transformer_rules(axis: str = "model") -> Rules:
    """Return rules that divide every layer of `nets.Transformer`, stacked or not, over a mesh axis.

    Heads and hidden units are divided, so that a layer needs one sum over the devices after its
    attention and one after its dense part (Megatron, https://arxiv.org/abs/1909.08053).

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


def _moved(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if not is_key(leaf):
        return jax.device_put(leaf, sharding)
    # Typed keys go to the devices of other processes only as their numbers.
    data = jax.device_put(jax.random.key_data(leaf), sharding)
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))


def _automatic(mesh: Any) -> Any:
    return mesh.update(axis_types=(AxisType.Auto,) * len(mesh.axis_names))


class _Array(NamedTuple):
    """What rules are told of an array; `stacked` is how many of its first axes are those of a `Stack`."""

    name: str
    shape: tuple[int, ...]
    stacked: int


def _descriptions(tree: Any, rules: Rules, allow_unmatched: bool) -> Callable[[Any, Any], _Array]:
    """Return a function that describes a leaf by its path, once every rule decides for some name."""
    shortened = users_path(tree)
    stacks = [tuple(path) for path in _paths_of_stacks(tree, ())]
    if rules and not allow_unmatched and not isinstance(tree, Optimizer):
        paths = [path for path, _ in pax_tree.tree_leaves_with_path(tree)]
        _check_each_decides(rules, [dotted(shortened(path)) for path in paths])

    def described(path: Any, leaf: Any) -> _Array:
        stacked = sum(tuple(path[: len(stack)]) == stack for stack in stacks)
        return _Array(dotted(shortened(path)), np.shape(leaf), stacked)

    return described


def _paths_of_stacks(tree: Any, prefix: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for path, node in pax_tree.tree_leaves_with_path(tree, is_leaf=lambda x: isinstance(x, Stack)):
        if isinstance(node, Stack):
            layers = (*prefix, *path, GetAttrKey("layers"))
            yield layers
            yield from _paths_of_stacks(node.layers, layers)


def _check_each_decides(rules: Rules, names: list[str]) -> None:
    found = [{name for name in names if re.search(pattern, name)} for pattern, _ in rules]
    for i, (pattern, _) in enumerate(rules):
        if names and not found[i]:
            remedy = "allow_unmatched=True allows a rule that matches none."
            raise ValueError(nothing_found("The rule", pattern, names, remedy))
        is_for_the_rest = found[i] == set(names)
        if found[i] and not is_for_the_rest and found[i] <= set().union(*found[:i]):
            raise ValueError(
                f"The rule '{pattern}' decides nothing: each path that it is found in, such as "
                f"{min(found[i])!r}, is that of a rule before it. Put it first, or leave it out."
            )


def _spec(array: _Array, mesh: Mesh, rules: Rules) -> PartitionSpec:
    for pattern, spec in rules:
        if re.search(pattern, array.name):
            whole = spec if len(spec) == len(array.shape) else _of_layers(spec, array.stacked)
            _check(pattern, whole, array, mesh)
            return whole
    return PartitionSpec()


def _of_layers(spec: PartitionSpec, stacked: int) -> PartitionSpec:
    """Return the spec of stacked arrays, each of which has this one."""
    return PartitionSpec(*[None] * stacked, *spec) if stacked else spec


def _check(pattern: str, spec: PartitionSpec, array: _Array, mesh: Mesh) -> None:
    _check_axes(f"The rule {pattern!r}", spec, mesh)
    if len(spec) > len(array.shape):
        raise ValueError(
            f"The rule {pattern!r} divides {len(spec) - array.stacked} axes, and {array.name} has the "
            f"shape {array.shape}{' of stacked layers' if array.stacked else ''}."
        )
    for size, part in zip(array.shape, spec, strict=False):
        if size % _devices(part, mesh):
            raise ValueError(
                f"The rule {pattern!r} divides an axis of {array.name}, which has the shape {array.shape}, over "
                f"the {_devices(part, mesh)} devices of {part!r}, and {size} is no multiple of that."
            )


def _check_axes(what: str, spec: PartitionSpec, mesh: Mesh) -> None:
    for name in (name for part in spec for name in _names(part)):
        if name not in mesh.shape:
            known = ", ".join(map(repr, mesh.shape))
            raise ValueError(f"{what} names the mesh axis {name!r}; the mesh has {known}.")


def _names(part: Any) -> tuple[str, ...]:
    if part is None:
        return ()
    return (part,) if isinstance(part, str) else tuple(part)


def _devices(part: Any, mesh: Mesh) -> int:
    return prod(mesh.shape[name] for name in _names(part))


def _divided_once_more(spec: PartitionSpec, array: _Array, mesh: Mesh, axis: str) -> PartitionSpec:
    shape = array.shape
    parts = [*spec, *[None] * (len(shape) - len(spec))]
    if any(axis in _names(part) for part in parts):
        return spec
    own = range(array.stacked, len(shape))
    free = [i for i in own if parts[i] is None and shape[i] % mesh.shape[axis] == 0]
    if not free:
        return spec
    parts[max(free, key=lambda i: shape[i])] = axis
    return PartitionSpec(*parts)
