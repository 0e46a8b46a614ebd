"""Optimizers of torch without `torch.compile`, which they import when they are made and when they step.

The import takes as long as that of torch itself, and only a program that compiles needs it. Until
something else has imported the compiler nothing is compiled, and what is undone here does nothing.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch

_COMPILER = "torch._dynamo"


def make(cls: type[torch.optim.Optimizer], *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
    """Return `cls(*args, **kwargs)`."""
    inherited = torch.optim.Optimizer.add_param_group
    is_plain = cls.__new__ is object.__new__ and type(cls).__call__ is type.__call__
    if _COMPILER in sys.modules or cls.add_param_group is not inherited or not is_plain:
        return cls(*args, **kwargs)
    optimizer = cls.__new__(cls)
    vars(optimizer)["add_param_group"] = functools.partial(_unwrapped(inherited), optimizer)
    optimizer.__init__(*args, **kwargs)
    vars(optimizer).pop("add_param_group")
    return optimizer


def step(optimizer: torch.optim.Optimizer) -> None:
    """Let an optimizer of a class of `torch.optim` take a step through which no gradients flow."""
    if _COMPILER in sys.modules:
        optimizer.step()
    else:
        _hooked(type(optimizer).step)(optimizer)


@functools.cache
def _hooked(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return the step of a class, with the hooks and the entry in profiles that all steps have."""
    return torch.optim.Optimizer.profile_hook_step(torch.no_grad()(_unwrapped(method)))


def _unwrapped(function: Any) -> Callable[..., Any]:
    """Return a function without what torch has wrapped around it."""
    while isinstance(function, FunctionType) and _is_of_torch(function):
        if not hasattr(function, "__wrapped__"):
            break
        function = function.__wrapped__
    return function


def _is_of_torch(function: FunctionType) -> bool:
    return function.__globals__.get("__name__", "").partition(".")[0] == "torch"
