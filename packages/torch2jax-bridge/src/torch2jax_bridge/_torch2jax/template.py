"""Copies of a module, which a call fills with the parameters and buffers that it is given."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Set
from copy import deepcopy
from functools import partial
from typing import Any

import torch

from torch2jax_bridge._compat import TENSOR_HOOKS, tensor_dicts
from torch2jax_bridge._torch2jax.function import WrongArguments
from torch2jax_bridge._torch2jax.recording import current_recording

NamedTensors = dict[str, torch.Tensor]
Holders = list[tuple[dict[str, Any], str]]


class ModuleTemplate:
    """A copy of a module whose parameters and buffers have no memory. For one thread at a time.

    `torch.func.functional_call` does the same for modules that want to know when their parameters
    are set, at the cost of some milliseconds for a large module.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self._parts = list(module.modules())
        self._plain = all(map(_is_plain, self._parts))
        self._holders = _holders(module, self._plain)
        self._original = {
            name: values[key]
            for name, holders in self._holders.items()
            for values, key in holders[:1]
        }

    def __call__(self, state: NamedTensors, args: tuple, kwargs: Mapping[str, Any]) -> Any:
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
        self._put(state)
        try:
            out = self.module(*args, **kwargs)
            for name, holders in self._holders.items():
                values, key = holders[0]
                state[name] = values[key]
        except BaseException:
            self.empty()
            raise
        return out

    def references(self) -> list[int]:
        """Return how often each part of the module is referred to."""
        return list(map(sys.getrefcount, self._parts))

    def empty(self) -> None:
        """Let the module have no parameters and buffers with values."""
        self._put(self._original)

    def _put(self, state: NamedTensors) -> None:
        for name, holders in self._holders.items():
            for values, key in holders:
                values[key] = state[name]

    def _check(self, state: NamedTensors) -> None:
        check_names(type(self.module).__name__, self._holders.keys(), state.keys())


def check_names(kind: str, own: Set[str], given: Set[str]) -> None:
    """Raise if a module is not given just its own parameters and buffers."""
    if given == own:
        return
    missing, unknown = sorted(own - given), sorted(given - own)
    raise WrongArguments(
        f"{kind} was not given the parameters and buffers it has: "
        f"missing {missing or 'none'}, unknown {unknown or 'none'}. Call apply(params, *args, "
        "buffers=buffers) with what torch2jax(module) returned, or with updates of it."
    )


class TrialTemplate(ModuleTemplate):
    """A template whose first call shows whether the module changes what it is made of."""

    def __call__(self, state: NamedTensors, args: tuple, kwargs: Mapping[str, Any]) -> Any:
        before = dict(self.module.named_parameters()).keys()
        out = super().__call__(state, args, kwargs)
        if made := sorted(dict(self.module.named_parameters()).keys() - before):
            raise WrongArguments(
                f"{type(self.module).__name__} makes parameters in its first call: {made}; JAX "
                "would not see them. Call the module once in PyTorch before torch2jax(module)."
            )
        return out


class TemplatePool:
    """As many templates of a module, in one mode, as threads call it at once.

    Args:
        first: the module, without memory and in its mode, of which copies are made.
        *free: templates that nobody uses; without one, one is made.
    """

    def __init__(self, first: torch.nn.Module, *free: ModuleTemplate) -> None:
        self.name = type(first).__name__
        self._first = first
        # One is made now: a call may be in a transform of PyTorch's, which is no place to copy a module.
        self._free = list(free) or [ModuleTemplate(deepcopy(first))]

    def __reduce__(self) -> tuple:
        return TemplatePool, (self._first,)

    def check(self, given: Set[str]) -> None:
        """Raise if these are not the names of the module's parameters and buffers."""
        named = (*self._first.named_parameters(), *self._first.named_buffers())
        check_names(self.name, {name for name, _ in named}, given)

    def for_one_call(self) -> TemplatePool:
        """Return a pool with one template, of a copy that nobody else has."""
        first = deepcopy(self._first)
        return TemplatePool(first, TrialTemplate(first))

    def call(self, state: NamedTensors, args: tuple, kwargs: Mapping[str, Any]) -> Any:
        """Call a template that nobody else uses, as `ModuleTemplate` is called.

        Nor does anybody before the backward pass of a graph that refers to parts of it.
        """
        try:
            template = self._free.pop()
        except IndexError:
            template = ModuleTemplate(deepcopy(self._first))
        recording = current_recording()
        before = None if recording is None else template.references()
        out = template(state, args, kwargs)
        if recording is not None and template.references() != before:
            recording.kept.append(partial(self._give_back, template))
        else:
            self._give_back(template)
        return out

    def _give_back(self, template: ModuleTemplate) -> None:
        template.empty()
        self._free.append(template)


def check_module(module: torch.nn.Module) -> None:
    """Raise if a module cannot be given other parameters, or has some without values.

    Raises:
        TypeError: says what to do.
    """
    kind = type(module).__name__
    if any(isinstance(inner, torch.jit.ScriptModule) for inner in module.modules()):
        raise TypeError(
            f"{kind} is or has a script module, which takes no other parameters than its own: give "
            "torch2jax the module that it was made of, or a function that calls it."
        )
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if any(getattr(tensor, hooks, None) for hooks in TENSOR_HOOKS):
            raise TypeError(
                f"{kind} has a hook of the tensor {name} (register_hook), which its arrays in JAX "
                "cannot have: remove it, and change the gradient in JAX."
            )
        if torch.nn.parameter.is_lazy(tensor):
            raise TypeError(
                f"{kind} is not initialised: {name} gets its shape from the first call. Call the "
                "module once in PyTorch, then give it to torch2jax."
            )
        if tensor.device.type == "meta":
            raise TypeError(
                f"{kind} has no values: {name} is on the device meta. Give it memory with "
                "module.to_empty(device=...) and load its values, then give it to torch2jax."
            )


def without_memory(module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of the module with its parameters and buffers on the meta device."""
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = torch.nn.Parameter(
            torch.empty_like(parameter, device="meta"), parameter.requires_grad
        )
    for buffer in module.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    for tensor in _computed(module):
        memo[id(tensor)] = tensor.detach()
    try:
        return deepcopy(module, memo)
    except Exception as error:
        raise TypeError(
            f"torch2jax works on copies of a module, and this {type(module).__name__} could not be "
            f"copied: {type(error).__name__}: {error}"
        ) from error


def _computed(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Return attributes that a call computes anew, such as those of the old `weight_norm`."""
    for inner in module.modules():
        for value in vars(inner).values():
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                yield value


def _holders(module: torch.nn.Module, plain: bool) -> dict[str, Holders]:
    """For each parameter and buffer all dicts that hold it, and its key there.

    Shared ones have one name. Where the module is not plain, the names alone.
    """
    named = (*module.named_parameters(), *module.named_buffers())
    names = {id(value): name for name, value in named}
    holders: dict[str, Holders] = {name: [] for name, _ in named}
    for inner in module.modules() if plain else ():
        for values in tensor_dicts(inner):
            for key, value in values.items():
                if value is not None:
                    holders[names[id(value)]].append((values, key))
    return holders


def _is_plain(module: torch.nn.Module) -> bool:
    """Whether the module takes parameters from where `torch.nn.Module` keeps them."""
    ordinary: Callable[..., Any] = torch.nn.Module.__setattr__
    is_ordinary = type(module).__setattr__ is ordinary and bool(tensor_dicts(module))
    return is_ordinary and not isinstance(module, torch.jit.ScriptModule)
