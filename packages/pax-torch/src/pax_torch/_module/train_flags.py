"""What `module.train` does to a module."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

from torch.nn import Module

from pax_torch._module.meta_copy import copy_without_tensors
from pax_torch._module.references import ATOMS, attributes_of, contents


def training_flags(module: Module, mode: bool) -> list[bool] | None:
    """Return `training` of each submodule in a mode, or None where the mode is more than that.

    It is more in a module with a `train` of its own that, for example, merges weights.
    """
    if not any(map(_has_own_train, module.modules())):
        return [mode for _ in module.modules()]
    try:
        trial = copy_without_tensors(module)
        before = list(_state(trial))
        trial.train(mode)
    except Exception:  # such as one that reads the values of tensors
        return None
    after = list(_state(trial))
    same = len(before) == len(after) and all(map(operator.is_, before, after))
    return [submodule.training for submodule in trial.modules()] if same else None


def _has_own_train(module: Module) -> bool:
    return type(module).train is not Module.train or "train" in vars(module)


def _state(module: Module) -> Iterator[Any]:
    """Yield all that a module refers to other than by `training`, in order, down to the numbers."""
    submodules, seen = list(module.modules()), set()
    left = [
        value
        for submodule in submodules
        for name, value in vars(submodule).items()
        if name != "training"
    ]
    seen.update(map(id, submodules))
    while left:
        value = left.pop()
        yield value
        if not isinstance(value, ATOMS) and id(value) not in seen:
            seen.add(id(value))
            left += contents(value)
            left += attributes_of(value)
