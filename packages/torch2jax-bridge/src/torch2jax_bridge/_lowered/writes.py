"""Writes that gradients do not see: under `torch.no_grad`, or by `.data` and `.detach()`.

PyTorch changes the value and keeps the derivative of what was there before.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from torch2jax_bridge._lowered.operators import keep_gradient
from torch2jax_bridge._torch2jax.function import WrongArguments

Function = Callable[..., Any]
_tensor: Any = torch.Tensor
_DATA, _SET_DATA = _tensor.data.__get__, _tensor.data.__set__
_DETACHED = {_DATA, _tensor.detach, torch.detach}
_SETTERS = {
    *(f"__i{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")),
    *("__iand__", "__ior__", "__ixor__", "__ilshift__", "__irshift__", "__setitem__"),
}
_NO_WRITES = {"requires_grad_", "retain_grad", "share_memory_", "rename_"}
_SOURCE = "_detached_from"


def called_with_writes(
    function: Function, args: tuple, kwargs: dict[str, Any], by: Function
) -> Any:
    """Call a function of PyTorch.

    Args:
        function: what the user called.
        args: its arguments.
        kwargs: its keyword arguments.
        by: what to call instead.

    Raises:
        WrongArguments: the user sets `.data`.
    """
    if function == _SET_DATA:
        raise WrongArguments(
            "An assignment to .data changes a tensor unseen, which a program of XLA cannot: use "
            'copy_() under torch.no_grad(), or backend="call".'
        )
    if function in _DETACHED:
        out = args[0].detach()
        setattr(out, _SOURCE, getattr(args[0], _SOURCE, args[0]))
        return out
    target = kwargs.get("out", args[0] if args else None)
    if not isinstance(target, torch.Tensor) or not _writes(function, args, kwargs):
        return by(*args, **kwargs)
    source = getattr(target, _SOURCE, None)
    if source is None and torch.is_grad_enabled():
        return by(*args, **kwargs)
    changed = target if source is None else source
    with torch.enable_grad():
        before = changed.clone()
    with torch.no_grad():
        result = by(*args, **kwargs)
        after = target.clone()
    if changed.is_floating_point() or changed.is_complex():
        with torch.enable_grad():
            changed.copy_(keep_gradient()(before, after.reshape(before.shape)))
    elif source is not None:
        changed.copy_(after)
    return result


def _writes(function: Function, args: tuple, kwargs: dict[str, Any]) -> bool:
    name = getattr(function, "__name__", "")
    if name in _SETTERS or "out" in kwargs:
        return True
    if name.endswith("_") and not name.endswith("__"):
        return name not in _NO_WRITES
    place = _place_of_inplace(function)
    return place is not None and bool(args[place] if place < len(args) else kwargs.get("inplace"))


@cache
def _place_of_inplace(function: Function) -> int | None:
    """Return which argument of a function says whether it writes in place; None if there is none."""
    if getattr(function, "__module__", None) != "torch.nn.functional":
        return None
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None
    return names.index("inplace") if "inplace" in names else None
