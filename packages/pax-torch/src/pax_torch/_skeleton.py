"""What is left of a module when its tensors are taken out, and how to fill it again.

A skeleton lists the submodules of a module once. Filling it makes new module objects around the
given tensors: a call thus shares nothing that it may write with another call, whichever thread or
backward pass (as in `torch.utils.checkpoint`) runs it.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from pax_tree import tree_flatten, tree_unflatten

# Given the new submodules and the tensors by name, returns one leaf of an attribute.
_Link = Callable[[list[Module], Mapping[str, Tensor]], Any]
_MODES = (True, False)
# Attributes that are made anew; a compiled call would be that of the module it was made for.
_OWN = ("_parameters", "_buffers", "_modules", "_compiled_call_impl")


@dataclass(frozen=True)
class _Part:
    """One submodule: its class, its attributes in both modes, and what it refers to.

    The dictionaries map local names: to full names of tensors, to places in the list of parts (or
    None for an empty slot), and to the pieces of attributes that contain modules or tensors.
    """

    cls: type[Module]
    attributes: dict[bool, dict[str, Any]]
    parameters: dict[str, str | None]
    buffers: dict[str, str | None]
    children: dict[str, int | None]
    links: dict[str, tuple[list[_Link], Any]]

    def fill(self, module: Module, modules: list[Module], tensors: Mapping[str, Tensor]) -> None:
        """Gives `module` the tensors and submodules of this part."""
        own = module.__dict__
        own["_parameters"] = {k: n and tensors[n] for k, n in self.parameters.items()}
        own["_buffers"] = {k: n and tensors[n] for k, n in self.buffers.items()}
        own["_modules"] = {k: None if i is None else modules[i] for k, i in self.children.items()}
        for name, (links, treedef) in self.links.items():
            own[name] = tree_unflatten(treedef, [link(modules, tensors) for link in links])

    def never_changes(self) -> bool:
        """Whether a call leaves a module of this part as it was, so that calls can share it.

        That is so for what PyTorch itself defines without tensors and submodules, such as `ReLU`.
        """
        attributes = self.attributes[True].items()
        return (
            self.cls.__module__.startswith("torch.nn.modules.")
            and not (self.parameters or self.buffers or self.children or self.links)
            and not any(value for name, value in attributes if name.endswith("_hooks"))
        )


class Skeleton:
    """A module without tensors, from which modules around given tensors are made.

    Args:
        module: materialised; it is read here, and its attributes other than parameters, buffers
            and submodules are shared by all the modules made.

    """

    def __init__(self, module: Module) -> None:
        named_modules = list(module.named_modules())
        names = _Names(named_modules)
        training, evaluation = _attributes(module, True), _attributes(module, False)
        self._parts = [
            names.part(submodule, *attributes)
            for (_, submodule), *attributes in zip(named_modules, training, evaluation, strict=True)
        ]
        self._shared = {mode: [_shared(part, mode) for part in self._parts] for mode in _MODES}
        self._with_buffers = [i for i, part in enumerate(self._parts) if part.buffers]

    def fill(self, tensors: Mapping[str, Tensor], is_training: bool) -> list[Module]:
        """Returns new submodules around `tensors`, the root first."""
        modules, unfilled = [], []
        for part, shared in zip(self._parts, self._shared[is_training], strict=True):
            if shared is None:
                shared = object.__new__(part.cls)
                shared.__dict__.update(part.attributes[is_training])
                unfilled.append((part, shared))
            modules.append(shared)
        for part, module in unfilled:
            part.fill(module, modules, tensors)
        return modules

    def read_buffers(self, modules: list[Module]) -> dict[str, Tensor]:
        """Returns the buffers that the modules made by `fill` hold now, by full name."""
        buffers = {}
        for i in self._with_buffers:
            for local, full in self._parts[i].buffers.items():
                if full is not None and full not in buffers:
                    buffers[full] = modules[i]._buffers[local]
        return buffers


def _shared(part: _Part, mode: bool) -> Module | None:
    if not part.never_changes():
        return None
    module = object.__new__(part.cls)
    module.__dict__.update(part.attributes[mode])
    part.fill(module, [], {})
    return module


class _Names:
    """The places of submodules and the full names of tensors, by identity."""

    def __init__(self, named_modules: list[tuple[str, Module]]) -> None:
        self._index = {id(module): i for i, (_, module) in enumerate(named_modules)}
        self._tensors: dict[int, str] = {}
        for kind in ("_parameters", "_buffers"):
            for prefix, module in named_modules:
                for local, tensor in getattr(module, kind).items():
                    name = f"{prefix}.{local}" if prefix else local
                    if tensor is not None:
                        self._tensors.setdefault(id(tensor), name)

    def part(self, module: Module, training: dict[str, Any], evaluation: dict[str, Any]) -> _Part:
        links = {name: self._links(value) for name, value in training.items()}
        return _Part(
            type(module),
            {True: training, False: evaluation},
            {k: self._tensors.get(id(t)) for k, t in module._parameters.items()},
            {k: self._tensors.get(id(t)) for k, t in module._buffers.items()},
            {k: self._index.get(id(m)) for k, m in module._modules.items()},
            {name: link for name, link in links.items() if link is not None},
        )

    def _links(self, value: Any) -> tuple[list[_Link], Any] | None:
        """Where an attribute holds submodules, their methods or tensors, how to remake it."""
        leaves, treedef = tree_flatten(value)
        links = [self._link(leaf) for leaf in leaves]
        if not any(links):
            return None
        return [link or _constant(leaf) for link, leaf in zip(links, leaves, strict=True)], treedef

    def _link(self, leaf: Any) -> _Link | None:
        if (name := self._tensors.get(id(leaf))) is not None:
            return lambda _, tensors: tensors[name]
        if (index := self._index.get(id(leaf))) is not None:
            return lambda modules, _: modules[index]
        if isinstance(leaf, MethodType) and (owner := self._link(leaf.__self__)):
            return lambda *given: MethodType(leaf.__func__, owner(*given))
        return None


def _constant(leaf: Any) -> _Link:
    return lambda *_: leaf


def _attributes(module: Module, mode: bool) -> list[dict[str, Any]]:
    """The attributes of every submodule in a mode, with the module left as it was."""
    submodules = list(module.modules())
    flags = [submodule.training for submodule in submodules]
    module.train(mode)
    attributes = [
        {name: value for name, value in submodule.__dict__.items() if name not in _OWN}
        for submodule in submodules
    ]
    for submodule, flag in zip(submodules, flags, strict=True):
        submodule.training = flag
    return attributes


def copy_without_tensors(module: Module) -> Module:
    """Deep-copies a module with parameters and buffers that take no memory."""
    memo: dict[int, Any] = {}
    for tensor in module.parameters():
        empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
        memo[id(tensor)] = Parameter(empty, requires_grad=tensor.requires_grad)
    for tensor in module.buffers():
        memo[id(tensor)] = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    for submodule in module.modules():
        memo.update(_computed_tensors(submodule))
    return copy.deepcopy(module, memo)


def _computed_tensors(module: Module) -> dict[int, Tensor]:
    """Attributes that are results of operations, which deepcopy refuses, by identity."""
    return {
        id(value): value.detach().clone()
        for value in module.__dict__.values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
