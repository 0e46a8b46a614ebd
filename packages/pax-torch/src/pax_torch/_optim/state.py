"""The state of an optimizer: one tree like the parameters for each name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from pax_torch._errors import leaf_place
from pax_tree import PyTreeDef, tree_unflatten

# One tree like the parameters for each name, as users see it; the same as lists of leaves; and one
# dictionary for each parameter.
OptimizerState = dict[str, Any]
Columns = dict[str, list[Any]]
Rows = list[dict[str, Any]]

_OTHER_SHAPES = ("row_var", "col_var")  # of Adafactor

_MOMENTS = {"step", "exp_avg", "exp_avg_sq"}
# What each class keeps, with any options.
_NAMES = {
    "ASGD": {"step", "eta", "mu", "ax"},
    "Adadelta": {"step", "square_avg", "acc_delta"},
    "Adafactor": {"step", "row_var", "col_var", "variance"},
    "Adagrad": {"step", "sum"},
    "Adam": _MOMENTS | {"max_exp_avg_sq"},
    "AdamW": _MOMENTS | {"max_exp_avg_sq"},
    "Adamax": {"step", "exp_avg", "exp_inf"},
    "LBFGS": {"func_evals", "n_iter", "d", "t", "old_dirs", "old_stps", "ro", "H_diag"}
    | {"prev_flat_grad", "prev_loss"},
    "Muon": {"momentum_buffer"},
    "NAdam": _MOMENTS | {"mu_product"},
    "RAdam": _MOMENTS,
    "RMSprop": {"step", "square_avg", "momentum_buffer", "grad_avg"},
    "Rprop": {"step", "prev", "step_size"},
    "SGD": {"momentum_buffer"},
    "SparseAdam": _MOMENTS,
}


def columns_of(state: OptimizerState, treedef: PyTreeDef, owner: str) -> Columns:
    """Return the parts of each tree of a state in the places of the parameters' leaves, None included.

    Raises:
        TypeError: `state` is no dictionary.
        ValueError: a tree does not have the structure of the parameters, or is none that `owner` keeps.
    """
    check_state(state)
    check_names(state, owner)
    return {name: leaves_like(treedef, tree, f"state[{name!r}]") for name, tree in state.items()}


def state_of(columns: Columns, treedef: PyTreeDef) -> OptimizerState:
    """Return one tree like the parameters per name."""
    return {name: tree_unflatten(treedef, column) for name, column in columns.items()}


def rows_of(columns: Columns, size: int) -> Rows:
    """Return one dictionary per parameter, without None."""
    if not columns:
        return [{} for _ in range(size)]
    names = tuple(columns)
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in zip(*columns.values(), strict=True)
    ]


def columns_of_rows(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Return one list per name, with None where a row does not have it."""
    names = dict.fromkeys(chain.from_iterable(rows))
    return {name: [row.get(name) for row in rows] for name in names}


def replaced(columns: Columns, places: Sequence[int], new: Columns, size: int) -> Columns:
    """Return columns of so many parameters with new values in some places."""
    rows = rows_of(columns, size)
    for i, row in zip(places, rows_of(new, len(places)), strict=True):
        rows[i] = row
    return columns_of_rows(rows)


def check_names(state: Mapping[str, Any], owner: str) -> None:
    """Raise ValueError if a state has a name that this class of torch.optim does not keep."""
    known = _NAMES.get(owner)
    if known is not None and not known.issuperset(state):
        unknown = next(name for name in state if name not in known)
        raise ValueError(
            f"The state has {unknown!r}, which {owner} does not keep; it keeps "
            f"{', '.join(sorted(known))}. Is it the state of another optimizer? The order is "
            "step(params, grads, state)."
        )


def check_shapes(columns: Columns, tensors: Sequence[Tensor], params: Any) -> None:
    """Raise ValueError if a tensor of the state has neither its parameter's shape nor one element."""
    for name, column in columns.items():
        if name in _OTHER_SHAPES or _all_fit(column, tensors):
            continue
        for i, value in enumerate(column):
            if isinstance(value, Tensor) and value.numel() != 1 and value.shape != tensors[i].shape:
                raise ValueError(
                    f"{leaf_place(params, i, f'state[{name!r}]')} has shape {tuple(value.shape)}, "
                    f"but its parameter has shape {tuple(tensors[i].shape)}; is it the state of "
                    "other parameters?"
                )


def _all_fit(column: list[Any], tensors: Sequence[Tensor]) -> bool:
    """Whether all are tensors of their parameters' shapes, or all of shape ()."""
    if torch.compiler.is_compiling() or set(map(type, column)) != {Tensor}:
        return False
    return all(map(Tensor.is_same_size, column, tensors)) or not any(map(Tensor.dim, column))


def check_state(state: object) -> None:
    """Raise TypeError unless `state` is a dictionary."""
    if not isinstance(state, Mapping):
        raise TypeError(
            "state must be a dictionary, as init and step return it, "
            f"got {type(state).__qualname__}; the order is step(params, grads, state)."
        )


def leaves_like(treedef: PyTreeDef, tree: Any, name: str) -> list[Any]:
    """Return the parts of `tree` in the places of the parameters' leaves, None included."""
    try:
        return treedef.flatten_up_to(tree)
    except ValueError as error:
        order = "; the order is step(params, grads, state)." if name == "grads" else ""
        raise ValueError(f"{name} does not have the structure of params: {error}{order}") from None
