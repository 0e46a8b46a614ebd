"""A module without parameters of its own, into which those of a call are put."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch

Tensors = dict[str, torch.Tensor]
Slots = list[tuple[dict[str, Any], str]]


class Skeleton:
    """A copy of a module whose parameters and buffers have no memory. For one thread at a time.

    `torch.func.functional_call` does the same for modules that want to know when their parameters
    are set, at the cost of some milliseconds for a large module.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self._slots = _slots(module)
        self._original = {name: places[0][0][places[0][1]] for name, places in self._slots.items()}
        self._plain = all(map(_is_plain, module.modules()))

    def __call__(self, state: Tensors, args: tuple, kwargs: Mapping[str, Any]) -> Any:
        """Call the module with other parameters and buffers.

        Args:
            state: all of them by name; what the module assigns to a buffer is put in here.
            args: the module's arguments.
            kwargs: its keyword arguments.

        Raises:
            TypeError: `state` has other names than the module.
        """
        self._check(state)
        if not self._plain:
            return torch.func.functional_call(
                self.module, state, args, dict(kwargs), tie_weights=False, strict=False
            )
        with self._filled(state):
            out = self.module(*args, **kwargs)
            for name, places in self._slots.items():
                values, key = places[0]
                state[name] = values[key]
        return out

    @contextmanager
    def _filled(self, state: Tensors) -> Iterator[None]:
        self._put(state)
        try:
            yield
        finally:
            self._put(self._original)

    def _put(self, state: Tensors) -> None:
        for name, places in self._slots.items():
            for values, key in places:
                values[key] = state[name]

    def _check(self, state: Tensors) -> None:
        if state.keys() == self._slots.keys():
            return
        kind = type(self.module).__name__
        missing = sorted(self._slots.keys() - state.keys())
        unknown = sorted(state.keys() - self._slots.keys())
        raise TypeError(
            f"{kind} was not given the parameters and buffers it has: "
            f"missing {missing or 'none'}, unknown {unknown or 'none'}"
        )


class Skeletons:
    """As many skeletons of a module, in one mode, as threads call it at once.

    Args:
        module: is not kept.
        training: the mode.
    """

    def __init__(self, module: torch.nn.Module, training: bool) -> None:
        self._first = _without_memory(module).train(training)
        self._free = [Skeleton(deepcopy(self._first))]

    @contextmanager
    def one(self) -> Iterator[Skeleton]:
        """Return a skeleton that nobody else uses in the `with` block."""
        try:
            skeleton = self._free.pop()
        except IndexError:
            skeleton = Skeleton(deepcopy(self._first))
        yield skeleton
        self._free.append(skeleton)


def _without_memory(module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of the module with its parameters and buffers on the meta device."""
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = torch.nn.Parameter(
            torch.empty_like(parameter, device="meta"), parameter.requires_grad
        )
    for buffer in module.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return deepcopy(module, memo)


def _slots(module: torch.nn.Module) -> dict[str, Slots]:
    """For each parameter and buffer all places where it stands; shared ones have one name."""
    places: dict[str, Slots] = {}
    names: dict[int, str] = {}
    for kind in ("_parameters", "_buffers"):
        for prefix, inner in module.named_modules():
            values = getattr(inner, kind)
            for key, value in values.items():
                if value is not None:
                    name = names.setdefault(id(value), f"{prefix}.{key}" if prefix else key)
                    places.setdefault(name, []).append((values, key))
    return places


def _is_plain(module: torch.nn.Module) -> bool:
    """Whether the module takes parameters from where `torch.nn.Module` keeps them."""
    ordinary: Callable[..., Any] = torch.nn.Module.__setattr__
    return type(module).__setattr__ is ordinary and not isinstance(module, torch.jit.ScriptModule)
