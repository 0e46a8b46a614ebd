"""The submodules of a module: what they hold, and what takes its place in a call."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

from torch.nn import Module

from pax_torch._module.meta_copy import describe_place, slots
from pax_torch._module.rebind import Filling, Recipe, Recipes

# Attributes that are made anew; a compiled call would be that of the module it was made for.
_OWN = ("_parameters", "_buffers", "_modules", "_compiled_call_impl")
_BASE = frozenset(vars(Module()))
# What no forward reads: how to quantize, which closes over the module in ways of its own.
_UNREAD = ("qconfig",)


@dataclass(frozen=True, slots=True)
class Part:
    """One submodule: its class, its attributes in evaluation and in training, and what it refers to.

    The dictionaries map local names: to full names of tensors, to places in the list of parts (or
    None for an empty slot), and to how to make attributes anew; `slots` are those of `__slots__`.
    """

    cls: type[Module]
    attributes: list[dict[str, Any]]
    parameters: dict[str, str | None]
    buffers: dict[str, str | None]
    children: dict[str, int | None]
    recipes: dict[str, Recipe]
    slots: dict[str, Recipe]

    def fill(self, module: Module, filling: Filling) -> None:
        """Give `module` the tensors and submodules of this part."""
        own, tensors, modules = module.__dict__, filling.tensors, filling.modules
        own["_parameters"] = {k: n and tensors[n] for k, n in self.parameters.items()}
        own["_buffers"] = (
            {k: n and tensors[n] for k, n in self.buffers.items()} if self.buffers else {}
        )
        own["_modules"] = (
            {k: None if i is None else modules[i] for k, i in self.children.items()}
            if self.children
            else {}
        )
        for name, make in self.recipes.items():
            own[name] = make(filling)
        for name, make in self.slots.items():
            object.__setattr__(module, name, make(filling))

    def is_plain(self) -> bool:
        """Whether the class is one of PyTorch's own, which register nothing in a call."""
        return self.cls.__module__.startswith("torch.nn.modules.")

    def is_filled(self) -> bool:
        """Whether there is something to fill in."""
        held = self.parameters or self.buffers or self.children or self.recipes or self.slots
        return bool(held) or not self.is_plain()


def tensor_names(named_modules: list[tuple[str, Module]]) -> dict[int, str]:
    """Return the full name of each parameter and buffer, by identity."""
    names: dict[int, str] = {}
    for kind in ("_parameters", "_buffers"):
        for prefix, module in named_modules:
            for local, tensor in getattr(module, kind).items():
                if tensor is not None:
                    names.setdefault(id(tensor), f"{prefix}.{local}" if prefix else local)
    return names


def places(named_modules: list[tuple[str, Module]]) -> dict[int, Recipe]:
    """Return what takes the place of submodules and tensors."""
    found: dict[int, Recipe] = {}
    for i, (_, module) in enumerate(named_modules):
        found[id(module)] = lambda filling, i=i: filling.modules[i]
        for reference in weakref.getweakrefs(module):
            if type(reference) in weakref.ProxyTypes:
                found[id(reference)] = lambda filling, i=i: weakref.proxy(filling.modules[i])
    for key, name in tensor_names(named_modules).items():
        found[key] = lambda filling, name=name: filling.tensors[name]
    return found


class Parts:
    """Makes the parts of a module."""

    def __init__(self, named_modules: list[tuple[str, Module]], recipes: Recipes) -> None:
        self._index = {id(module): i for i, (_, module) in enumerate(named_modules)}
        self._tensors = tensor_names(named_modules)
        self._recipes = recipes

    def part(self, prefix: str, module: Module, flags: list[bool]) -> Part:
        own = {name: value for name, value in vars(module).items() if name not in _OWN}
        empty = {name: {} for name in ("_parameters", "_buffers", "_modules")}
        place = describe_place(prefix, module)

        def find(name: str, value: Any) -> Recipe | None:
            return self._recipes.find(value, f"attribute {name!r} of {place}")

        recipes = {
            name: find(name, value)
            for name, value in own.items()
            if name not in _UNREAD and (name not in _BASE or (value and "state_dict" not in name))
        }
        in_slots = {k: find(k, v) or (lambda _, v=v: v) for k, v in slots(module).items()}
        return Part(
            type(module),
            [{**empty, **own, "training": flag} for flag in flags],
            {k: self._tensors.get(id(t)) for k, t in module._parameters.items()},
            {k: self._tensors.get(id(t)) for k, t in module._buffers.items()},
            {k: self._index.get(id(m)) for k, m in module._modules.items()},
            {name: make for name, make in recipes.items() if make is not None},
            in_slots,
        )
