"""What `module.train` does to a module."""

from typing import Any

from torch.nn import Module

from pax_torch._detach import copy_without_tensors


def training_flags(module: Module, mode: bool) -> list[bool] | None:
    """Returns `training` of each submodule in a mode, or None where the mode is more than that.

    It is more in a module with a `train` of its own that, for example, merges weights.
    """
    if not any(_has_own_train(submodule) for submodule in module.modules()):
        return [mode for _ in module.modules()]
    trial = copy_without_tensors(module)
    before = _state(trial)
    try:
        trial.train(mode)
    except RuntimeError:  # it reads the values of tensors
        return None
    return (
        [submodule.training for submodule in trial.modules()] if _state(trial) == before else None
    )


def _has_own_train(module: Module) -> bool:
    return type(module).train is not Module.train or "train" in vars(module)


def _state(module: Module) -> list[dict[str, Any]]:
    """What can be seen of a module's state other than `training`, by identity."""
    return [
        {name: _identity(value) for name, value in vars(submodule).items() if name != "training"}
        for submodule in module.modules()
    ]


def _identity(value: Any) -> Any:
    return {key: id(item) for key, item in value.items()} if isinstance(value, dict) else id(value)
