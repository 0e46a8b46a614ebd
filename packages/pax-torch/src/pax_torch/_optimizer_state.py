"""The state of an optimizer: one tree like the parameters for each name."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from pax_torch._rules import State
from pax_tree import PyTreeDef, tree_unflatten


def pack(rows: Sequence[Mapping[str, Any]], treedef: PyTreeDef) -> State:
    """Turns one dictionary per parameter into one tree like the parameters per name."""
    names = dict.fromkeys(chain.from_iterable(rows))
    return {name: tree_unflatten(treedef, [row.get(name) for row in rows]) for name in names}


def unpack(state: State, treedef: PyTreeDef) -> list[dict[str, Any]]:
    """The inverse of `pack`."""
    if not state:
        return [{} for _ in range(treedef.num_leaves)]
    columns = [leaves_like(treedef, tree, f"state[{name!r}]") for name, tree in state.items()]
    names = tuple(state)
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in zip(*columns, strict=True)
    ]


def check_state(state: object) -> None:
    """Raises TypeError unless `state` is a dictionary."""
    if not isinstance(state, Mapping):
        raise TypeError(
            "state must be a dictionary, as init and step return it, "
            f"got {type(state).__qualname__}; the order is step(params, grads, state)."
        )


def leaves_like(treedef: PyTreeDef, tree: Any, name: str) -> list[Any]:
    """The parts of `tree` in the places of the parameters' leaves, None included."""
    try:
        return treedef.flatten_up_to(tree)
    except ValueError as error:
        raise ValueError(f"{name} does not have the structure of params: {error}") from None
