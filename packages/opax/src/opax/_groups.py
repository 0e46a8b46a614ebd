"""The groups of parameters that an optimizer treats in different ways, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

import pax_tree
from opax._call import given
from opax._hyperparameters import arguments, call_in_use, made_of, plain_call, value_at
from opax._inspect import parts
from opax._masks import LABELS, for_optax, is_mask
from opax._params import aligned, trainable
from opax._transforms import group_labels

_COLUMNS = ("group", "arrays", "parameters", "learning rate", "weight decay")
_DECAYS = ("weight_decay", "weight_decay_rate", "adam_weight_decay")


@dataclass(frozen=True)
class Group:
    """Parameters that are treated alike: a label, the optimizers that see them, and which they are."""

    label: str
    optimizers: tuple[Any, ...]
    chosen: tuple[bool, ...]


def group_lines(optimizer: Any, model: Any) -> list[str]:
    """Return the lines of a table with a row for each group of parameters, and the size of the state.

    Raises:
        ValueError: `model` has not the parameters that the optimizer was made for.
    """
    params = aligned("parameters", trainable(model), optimizer.made_for)
    everything = (True,) * len(pax_tree.tree_leaves(params))
    found = joined(groups(Group("all", (optimizer,), everything), params))
    rows = [_row(group, params) for group in found]
    told = [row for row in rows if row[0] != "all" or len(rows) == 1 or row[3:] != ("-", "-")]
    return [*_table([_COLUMNS, *told]), _size(optimizer.state)]


def joined(found: Iterable[Group]) -> list[Group]:
    """Make one group of those of one label and the same parameters."""
    together: dict[Any, tuple[Any, ...]] = {}
    for group in found:
        key = group.label, group.chosen
        together[key] = (*together.get(key, ()), *group.optimizers)
    return [Group(label, optimizers, chosen) for (label, chosen), optimizers in together.items()]


def groups(whole: Group, params: Any) -> Iterator[Group]:
    """Yield the groups in a group of one optimizer: of labels, of masks, or the group itself."""
    optimizer = whole.optimizers[0]
    call = plain_call(optimizer)
    name = getattr(call.function, "__name__", "")
    if name == "freeze":
        frozen = _mask("mask", call.arguments["mask"], params)
        yield Group(_below(whole, "frozen"), (), _and(whole.chosen, frozen))
    elif made_of(call, optimizer.state) is None:
        yield whole
    else:
        for label, inner in parts(optimizer).items():
            yield from groups(_inside(whole, call, label, inner, params), params)


def _inside(whole: Group, call: Any, label: Any, inner: Any, params: Any) -> Group:
    name, here = call.function.__name__, (inner,)
    if name in ("partition", "multi_transform"):
        labels = group_labels(for_optax(LABELS, call.arguments[LABELS]), params)
        chosen = tuple(x == label for x in labels)
        return Group(_below(whole, str(label)), here, _and(whole.chosen, chosen))
    if name == "masked":
        mask = call.arguments["mask"]
        text = f"masked {mask!r}" if isinstance(mask, str) else "masked"
        return Group(_below(whole, text), here, _and(whole.chosen, _mask("mask", mask, params)))
    return Group(whole.label, here, whole.chosen)


def _below(whole: Group, label: str) -> str:
    return label if whole.label == "all" else f"{whole.label}.{label}"


def _and(*masks: tuple[bool, ...]) -> tuple[bool, ...]:
    return tuple(all(found) for found in zip(*masks, strict=True))


def _mask(name: str, value: Any, params: Any) -> tuple[bool, ...]:
    mask = for_optax(name, value)
    mask = mask(params) if callable(mask) else mask
    return tuple(bool(x) for x in pax_tree.broadcast_prefix(mask, params))


def _row(group: Group, params: Any) -> tuple[str, ...]:
    sizes = [jnp.size(leaf) for leaf in pax_tree.tree_leaves(params)]
    count = sum(size for size, chosen in zip(sizes, group.chosen, strict=True) if chosen)
    rates, decays = [], []
    for optimizer in group.optimizers:
        if plain_call(optimizer).function is given:  # whose numbers are constants of its functions
            rates, decays = [*rates, "unknown"], [*decays, "unknown"]
        rates += [_text(x) for _, x in _values(optimizer, ("learning_rate",))]
        for path, value in _values(optimizer, _DECAYS):
            decayed = _and(group.chosen, _decayed(optimizer, path, params))
            of = sum(size for size, chosen in zip(sizes, decayed, strict=True) if chosen)
            decays.append(_text(value) if of == count else f"{_text(value)} of {of:,}")
    row = (group.label, f"{sum(group.chosen):,}", f"{count:,}", ", ".join(rates), ", ".join(decays))
    return tuple(cell or "-" for cell in row)


def _values(optimizer: Any, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield the hyperparameters of some names that are used at the next step, and not zero."""
    for path, value in arguments(call_in_use(optimizer)):
        is_named = path.rpartition(".")[2] in names
        if is_named and value is not None and not (isinstance(value, float) and value == 0):
            yield path, value_at(optimizer, path, value)


def _decayed(optimizer: Any, path: str, params: Any) -> tuple[bool, ...]:
    """Return which parameters a weight decay is for: those of the mask beside it."""
    known = dict(arguments(call_in_use(optimizer)))
    start = path.rpartition(".")[0]
    for other, value in known.items():
        where, _, name = other.rpartition(".")
        if where == start and is_mask(name) and value is not None:
            return _mask(name, value, params)
    return (True,) * len(pax_tree.tree_leaves(params))


def _text(value: Any) -> str:
    is_known = jnp.ndim(value) == 0 and not isinstance(value, Tracer)
    return f"{float(value):.4g}" if is_known else f"array of {jnp.shape(value)}"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return lines


def _size(state: Any) -> str:
    """Say how many bytes the state takes, and on how many devices it is spread."""
    leaves = [leaf for leaf in jax.tree.leaves(state) if isinstance(leaf, jax.Array)]
    total = sum(leaf.nbytes for leaf in leaves)
    if any(isinstance(leaf, Tracer) for leaf in leaves):
        return f"state: {total:,} bytes"
    devices = {device for leaf in leaves for device in leaf.devices()}
    held = sum(leaf.sharding.shard_shape(leaf.shape) != leaf.shape for leaf in leaves)
    if len(devices) < 2 or not held:
        return f"state: {total:,} bytes"
    here = sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)
    return f"state: {total:,} bytes, {here:,} on each of {len(devices)} devices"
