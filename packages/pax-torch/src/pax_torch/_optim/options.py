"""The hyperparameters of a step: which values may be given, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pax_torch._autodiff.flatten_fun import to_tensor
from pax_torch._errors import describe

_NUMBERS = bool | int | float | complex


def check_options(
    given: Mapping[str, Any], options: Mapping[str, Any], cls: type[torch.optim.Optimizer]
) -> dict[str, Any]:
    """Return the hyperparameters given for a step, as numbers, tensors of shape () and tuples.

    Args:
        given: the values by name.
        options: all hyperparameters, whose values say what may stand in their place, other than in
            somebody else's class.
        cls: the class they belong to.

    Raises:
        TypeError: there is no such hyperparameter, or it takes another kind of value.
        ValueError: it takes one number, or so many of them, and got another number of them.
    """
    owner = cls.__name__
    defaults = {name: _default(name, options, owner) for name in given}
    if not is_of_torch(cls):
        return dict(given)
    return {
        name: _checked(value, defaults[name], f"{owner}'s {name}") for name, value in given.items()
    }


def is_of_torch(cls: type[torch.optim.Optimizer]) -> bool:
    """Whether a class is one of `torch.optim`, and no subclass of one."""
    return getattr(torch.optim, cls.__name__, None) is cls


def _default(name: str, options: Mapping[str, Any], owner: str) -> Any:
    if name in options and name != "differentiable":
        return options[name]
    known = ", ".join(sorted(options.keys() - {"differentiable"}))
    raise TypeError(f"{owner} has no hyperparameter {name!r} to override; it has {known}.")


def _checked(value: Any, default: Any, name: str) -> Any:
    if isinstance(default, tuple | list):
        return _checked_tuple(value, default, name)
    if isinstance(default, Tensor) and default.numel() != 1:
        return value
    is_number = isinstance(default, _NUMBERS | Tensor) and not isinstance(default, bool)
    return _number(value, name) if is_number else value


def _checked_tuple(value: Any, default: tuple[Any, ...] | list[Any], name: str) -> tuple[Any, ...]:
    if hasattr(value, "__array__"):
        tensor = to_tensor(value, lambda: name)
        value = tensor.unbind() if tensor.dim() else tensor
    if not isinstance(value, tuple | list) or len(value) != len(default):
        raise ValueError(
            f"{name} must be a tuple of {len(default)} numbers, got {describe(value)}."
        )
    parts = zip(value, default, strict=True)
    return tuple([_checked(part, d, f"{name}[{i}]") for i, (part, d) in enumerate(parts)])


def _number(value: Any, name: str) -> Any:
    if isinstance(value, _NUMBERS):
        return value
    if not isinstance(value, Tensor) and getattr(value, "shape", None) == ():
        return value.item()  # of an array or a scalar of NumPy
    if not hasattr(value, "__array__"):
        raise TypeError(f"{name} must be a number or a tensor of shape (), got {describe(value)}.")
    return as_scalar(value, name)


def as_scalar(value: Any, name: str) -> Tensor:
    """Return the only element of a tensor or array as a tensor of shape ()."""
    tensor = to_tensor(value, lambda: name)
    if tensor.numel() != 1:
        raise ValueError(f"{name} must be one number, got {describe(tensor)}.")
    return tensor.reshape(()) if tensor.dim() else tensor


def scalars(options: dict[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters with tensors of one element as tensors of shape ()."""
    return {name: _scalar(value) for name, value in options.items()}


def _scalar(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple([_scalar(part) for part in value])
    is_vector = isinstance(value, Tensor) and value.dim() > 0 and value.numel() == 1
    return value.reshape(()) if is_vector else value


def readable(options: dict[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters with tensors read as numbers, but where a kernel reads them itself."""
    if options.get("capturable") or options.get("fused"):
        return options
    return {name: _read(value) for name, value in options.items()}


def _read(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple([_read(part) for part in value])
    return value.item() if isinstance(value, Tensor) else value


def hold_tensors(options: Mapping[str, Any]) -> bool:
    """Whether a hyperparameter, or a part of one such as of `betas`, is a tensor."""
    return any(
        isinstance(value, Tensor)
        or (isinstance(value, tuple | list) and any(isinstance(part, Tensor) for part in value))
        for value in options.values()
    )
