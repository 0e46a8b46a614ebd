"""Functions in pickles: by name where they have one, which `pickle` does not do for compiled ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import reduce
from importlib import import_module
from typing import Any

Function = Callable[..., Any]


class Named:
    """A function that is found under its name, also one that `jax.jit` has made."""

    def __init__(self, module: str, name: str) -> None:
        self.place = module, name

    def function(self) -> Function:
        """Return the function."""
        module, name = self.place
        return reduce(getattr, name.split("."), import_module(module))


def to_pickle(function: Function) -> Function | Named:
    """Return what stands for a function in a pickle: its name if that leads to it, else itself."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if module not in sys.modules or not isinstance(name, str):
        return function
    named = Named(module, name)
    try:
        return named if named.function() is function else function
    except AttributeError:
        return function


def from_pickle(stored: Function | Named) -> Function:
    """Return the function that `to_pickle` was given."""
    return stored.function() if isinstance(stored, Named) else stored
