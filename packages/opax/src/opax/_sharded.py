"""Optimizer state that is spread over the devices of a mesh, and stays so (ZeRO)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import pax_tree
from opax._optimizer import Optimizer
from opax._params import aligned
from pax_jax import sharding
from pax_jax._module.scope import is_traced
from pax_jax._storage.keys import is_key

Rule = str | tuple[tuple[str, PartitionSpec], ...]


@dataclass(frozen=True)
class Placement:
    """Where the state of an optimizer is kept, and where the parameters are.

    Attributes:
        mesh: the devices.
        rule: a mesh axis, or pairs of a regular expression and a spec.
        params: the sharding of each parameter; None where every device has all of them.
    """

    mesh: Mesh
    rule: Rule
    params: tuple[NamedSharding, ...] | None

    @classmethod
    def of(cls, mesh: Any, rule: Any, params: Any) -> Placement:
        """Return the placement, and say what cannot be one.

        Raises:
            TypeError: `rule` is neither a mesh axis nor rules, or a parameter is not on the mesh.
        """
        if not isinstance(rule, str) and not _are_rules(rule):
            raise TypeError(
                "shard_state expects a mesh axis ('data'), or pairs of a regular expression and a "
                f"PartitionSpec, got {rule!r} of type {type(rule).__name__}."
            )
        rule = rule if isinstance(rule, str) else tuple(map(tuple, rule))
        return cls(mesh, rule, None if params is None else tuple(_shardings(params, mesh)))

    def spread(self, state: Any, allow_unmatched: bool = True) -> Any:
        """Return a state on the devices where it belongs."""
        if isinstance(self.rule, str):
            wanted = sharding.fsdp(state, self.mesh, self.rule, min_size=1)
        else:
            rules = self.rule
            wanted = sharding.shardings(state, self.mesh, rules, allow_unmatched=allow_unmatched)
        return jax.tree.map(self._put, state, wanted)

    def gathered(self, tree: Any) -> Any:
        """Return parameters, or updates of them, on the devices where the parameters are."""
        leaves, structure = pax_tree.tree_flatten(tree)
        whole = NamedSharding(self.mesh, PartitionSpec())
        wanted = [whole] * len(leaves) if self.params is None else self.params
        return structure.unflatten(map(self._put, leaves, wanted))

    def _put(self, leaf: Any, wanted: NamedSharding) -> Any:
        if AxisType.Explicit in self.mesh.axis_types:
            return jax.sharding.reshard(leaf, NamedSharding(self.mesh, wanted.spec))
        if is_traced(leaf):
            return jax.lax.with_sharding_constraint(leaf, wanted)
        if is_key(leaf):  # which go to other devices only as their numbers
            data = jax.device_put(jax.random.key_data(leaf), wanted)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return jax.device_put(leaf, wanted)


def _are_rules(rule: Any) -> bool:
    return isinstance(rule, list | tuple) and all(
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], PartitionSpec)
        for pair in rule
    )


def _shardings(params: Any, mesh: Mesh) -> Any:
    for path, leaf in pax_tree.tree_leaves_with_path(params):
        found = getattr(leaf, "sharding", None)
        if not isinstance(found, NamedSharding) or found.mesh.shape != mesh.shape:
            raise TypeError(
                f"shard_state expects parameters on the devices of the mesh, got {found!r} at "
                f"{pax_tree.keystr(path) or 'the root'}: move them there "
                "(`pax_jax.sharding.shard(params, mesh)`), or leave `params` out if every device has all."
            )
        yield NamedSharding(found.mesh, found.spec)


def shard_state(
    optimizer: Optimizer,
    mesh: Mesh,
    rule: Any,
    params: Any = None,
    *,
    allow_unmatched: bool = False,
) -> Optimizer:
    """Return an optimizer whose state is spread over the devices of a mesh, and stays so.

    After each step the state is where it was, a part on each device, and the parameters are where they
    were, whole: so the state costs a device its part of the memory only (ZeRO,
    https://arxiv.org/abs/1910.02054). The compiler finds out what is sent between the devices.

    Args:
        optimizer: an optimizer.
        mesh: the devices.
        rule: a mesh axis, over which the largest axis of each array that it divides is spread; or pairs of
            a regular expression, looked for in paths of the state ("0.mu.layers.0.weight"), and a
            `PartitionSpec`, as in `pax_jax.sharding`.
        params: the parameters, where they too are spread over the mesh; else every device has all.
        allow_unmatched: whether a rule may be found in no path.

    Returns:
        A copy of the optimizer.

    Raises:
        TypeError: `optimizer` is not an optimizer, `rule` is neither a mesh axis nor such pairs, or
            `params` are not on the mesh.
        ValueError: the mesh has no such axis, or a rule is found in no path or does not divide what it
            is found in.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import opax
        >>> params, mesh = {"w": jnp.ones(8)}, jax.make_mesh((1,), ("data",))
        >>> optimizer = opax.shard_state(opax.adam(0.1)(params), mesh, "data")
        >>> params, optimizer = opax.apply_gradients(params, optimizer, {"w": jnp.ones(8)})
        >>> optimizer.mu["w"].sharding.spec, params["w"].sharding.is_fully_replicated
        (P('data',), True)
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            "shard_state expects an optimizer such as `opax.adam(1e-3)(params)`, "
            f"got {optimizer!r} of type {type(optimizer).__name__}."
        )
    params = None if params is None else aligned("parameters", params, optimizer.made_for)
    placement = Placement.of(mesh, rule, params)
    copy = optimizer.copy()
    copy.made_for = optimizer.made_for.but(placement=placement)
    copy.state = placement.spread(optimizer.state, allow_unmatched)
    return copy
