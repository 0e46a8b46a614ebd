"""Writes and views that gradients do not see: under `torch.no_grad`, or by `.data` and `.detach()`.

PyTorch changes the value and keeps the derivative of what was there before. A tensor that shares
memory with another one but not its derivative is a copy here, its *twin*; what is written into the
one is written into the other, which keeps its derivative.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch

from torch2jax_bridge._compat import storage_key
from torch2jax_bridge._lowered.operators import keep_gradient
from torch2jax_bridge._lowered.program import instances, replaced
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
_NO_VALUES = {
    *("t_", "squeeze_", "unsqueeze_", "transpose_", "swapaxes_", "swapdims_"),
    *("as_strided_", "resize_", "resize_as_", "set_"),
}
_AVERAGES = {"batch_norm", "instance_norm"}


class _Twins(NamedTuple):
    """Two tensors that share memory in PyTorch, and no derivative."""

    first: torch.Tensor
    second: torch.Tensor


class Writes:
    """The functions of PyTorch that one recorded function calls, made to write as PyTorch does."""

    def __init__(self) -> None:
        self._twins: dict[int, list[_Twins]] = defaultdict(list)
        self._constants: dict[int, torch.Tensor] = {}  # made where gradients are off

    def call(self, function: Function, args: tuple, kwargs: dict[str, Any], by: Function) -> Any:
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
            return self._twin(args[0])
        targets = _written(function, args, kwargs)
        if torch.is_grad_enabled():
            result = by(*args, **kwargs)
            for target in targets:
                self._constants.pop(_key(target), None)
        elif getattr(function, "__name__", "") in _NO_VALUES:
            with torch.enable_grad():
                return by(*args, **kwargs)
        elif targets:
            result = _without_gradient(by, args, kwargs, targets)
        else:
            return self._unseen(by, args, kwargs)
        for target in targets:
            self._share(_key(target))
        return result

    def _unseen(self, by: Function, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Call a function where gradients are off; a view that it returns has no derivative."""
        given = list(instances([args, kwargs], torch.Tensor))
        with torch.enable_grad():
            for tensor in given:
                tensor.clone()  # or else earlier writes are done only now, without gradient
        result = by(*args, **kwargs)
        found = [
            x for x in instances([result], torch.Tensor) if not any(x is other for other in given)
        ]
        keys = set(map(_key, found)) - self._constants.keys()
        moving = [tensor for tensor in given if _key(tensor) in keys]
        if not moving:
            self._constants.update((_key(tensor), tensor) for tensor in found)
            return result
        args, kwargs = _with((args, kwargs), {id(x): self._twin(x) for x in moving})
        return by(*args, **kwargs)

    def _twin(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor that stands for the same memory, without derivative."""
        with torch.enable_grad():
            twins = _Twins(tensor, tensor.detach().clone())
        for one in twins:
            self._twins[_key(one)].append(twins)
        self._constants[_key(twins.second)] = twins.second
        return twins.second

    def _share(self, key: int, known: _Twins | None = None) -> None:
        """Write what was written into a tensor into its twins, and theirs."""
        for twins in self._twins.get(key, ()):
            if twins is known:
                continue
            old, new = twins if _key(twins.second) == key else reversed(twins)
            _write(old, new)
            self._share(_key(old), twins)


def _key(tensor: torch.Tensor) -> int:
    """Return what tensors have in common that are views of each other."""
    key = storage_key(tensor)
    return id(tensor) if key is None else key


def _without_gradient(
    by: Function, args: tuple, kwargs: dict[str, Any], targets: list[torch.Tensor]
) -> Any:
    """Call a function that writes where gradients are off."""
    with torch.enable_grad():
        made = {id(target): target.detach().clone() for target in targets}
    args, kwargs = _with((args, kwargs), made)
    result = by(*args, **kwargs)
    for target in targets:
        _write(target, made[id(target)])
    return _with(result, {id(made[id(target)]): target for target in targets})


def _write(tensor: torch.Tensor, new: torch.Tensor) -> None:
    """Change the value of a tensor and keep its derivative.

    Raises:
        WrongArguments: a transform of `torch.func` differentiates it.
    """
    if tensor.requires_grad:
        raise WrongArguments(
            "A function that torch.func differentiates writes into a tensor where gradients are off, "
            'which a program of XLA cannot: make a new tensor, or use backend="call".'
        )
    with torch.enable_grad():
        new = new.detach()
        if tensor.is_floating_point() or tensor.is_complex():
            new = keep_gradient()(tensor.clone(), new)
        tensor.copy_(new)
        tensor.clone()  # which does it now; later, gradients may be off


def _with(given: Any, new: dict[int, torch.Tensor]) -> Any:
    """Return arguments with some tensors replaced."""
    return replaced(given, lambda x: new.get(id(x), x), torch.Tensor)


def _written(function: Function, args: tuple, kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """Return the tensors that a call of a function of PyTorch writes into."""
    name = getattr(function, "__name__", "")
    if kwargs.get("out") is not None:
        found = instances(kwargs["out"], torch.Tensor)
    elif name in _AVERAGES:
        found = instances([args[1:], kwargs], torch.Tensor)
    elif _writes(function, name, args, kwargs):
        found = instances(args[0] if args else next(iter(kwargs.values()), None), torch.Tensor)
    else:
        return []
    return list({id(tensor): tensor for tensor in found}.values())


def _writes(function: Function, name: str, args: tuple, kwargs: dict[str, Any]) -> bool:
    if name in _SETTERS:
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
