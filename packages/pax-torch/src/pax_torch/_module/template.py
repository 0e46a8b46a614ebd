"""A module without its tensors, and how modules around given tensors are made of it.

A template lists the submodules of a module once. Filling it makes new module objects around the
given tensors: a call thus shares nothing that it may write with another call, whichever thread or
backward pass (as in `torch.utils.checkpoint`) runs it.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MemberDescriptorType
from typing import Any

import torch
from torch import Tensor
from torch.nn import Embedding, EmbeddingBag, Module, Parameter
from torch.nn.utils.parametrize import is_parametrized
from torch.overrides import TorchFunctionMode

from pax_torch import _compat
from pax_torch._module.rebind import CallObjects, Maker, Rebinder, references

NamedModules = list[tuple[str, Module]]

_HELD = _PARAMETERS, _BUFFERS, _MODULES = _compat.HELD_BY_MODULES
# Attributes that each call has of its own; a compiled call is that of the module it was made for.
_REPLACED = (*_HELD, _compat.COMPILED_CALL)
_BASE = frozenset(vars(Module()))
# How to quantize, which PyTorch reads when it prepares and converts a module, and no forward does.
_UNREAD = ("qconfig",)


class ModuleTemplate:
    """A module without tensors, from which modules around given tensors are made.

    Args:
        module: materialised; it is only read.
        preserve: copy its attributes, which are otherwise shared by all the modules made.
    """

    def __init__(self, module: Module, preserve: bool) -> None:
        model = _copy_without_tensors(module) if preserve else module
        named, originals = list(model.named_modules()), list(module.named_modules())
        names, own, of_original = _tensor_names(named), _replaced(named), _replaced(originals)
        rebinder = Rebinder({**of_original, **own}, of_original.keys() - own.keys())
        places = {id(submodule): i for i, (_, submodule) in enumerate(named)}
        self._calls_train = any(_has_own_train(submodule) for _, submodule in named)
        self._parts = [
            _part(prefix, submodule, names, places, rebinder, self._calls_train)
            for prefix, submodule in named
        ]
        self._attributes = [[part.attributes[mode] for part in self._parts] for mode in (0, 1)]
        self._holding = [
            (i, part) for i, part in enumerate(self._parts) if not part.holds_nothing()
        ]
        self._buffer_names = [name for name, _ in module.named_buffers()]
        # The parameters that a forward or `train` may write to.
        parameters = [name for name, _ in module.named_parameters()]
        self._written = parameters if self._calls_train else _renormed(named, names)
        self._is_parametrized = any(is_parametrized(submodule) for _, submodule in named)
        # Buffers that the module does not have yet.
        self._gained = {
            part.prefix + local for part in self._parts for local in part.buffers
        }.difference(self._buffer_names)

    def accepts(self, name: str) -> bool:
        """Whether a call may give, or has returned, a buffer that the module did not have."""
        return name in self._gained

    def fill(
        self, params: Mapping[str, Tensor], buffers: Mapping[str, Tensor | None], is_training: bool
    ) -> CallObjects:
        """Return new submodules around tensors, the root first.

        The parameters that `train` or a forward pass may write to are copied.
        """
        if self._is_parametrized and _compat.parametrizations_are_cached():
            raise RuntimeError(
                "A function of functional_module cannot run in torch.nn.utils.parametrize.cached(), "
                "which keeps the weights of one call for the next; call it outside of the block."
            )
        tensors = {**params, **buffers}
        for name in self._written:
            tensors[name] = params[name].clone()
        modules = [object.__new__(part.cls) for part in self._parts]
        call = CallObjects(modules, tensors, [{} for _ in modules])
        attributes = self._attributes[is_training]
        for module, own, held in zip(modules, attributes, call.buffers, strict=True):
            values = module.__dict__
            values.update(own)
            values[_PARAMETERS], values[_BUFFERS], values[_MODULES] = {}, held, {}
        for i, part in self._holding:
            part.fill(modules[i], call.buffers[i], call)
        if len(buffers) > len(self._buffer_names):
            self._add(call, buffers)
        if self._calls_train:
            with _RequiresGradKept():
                modules[0].train(is_training)
        return call

    def _add(self, call: CallObjects, buffers: Mapping[str, Tensor | None]) -> None:
        prefixes = [part.prefix for part in self._parts]
        for name in buffers.keys() - self._buffer_names:
            prefix, dot, local = name.rpartition(".")
            call.buffers[prefixes.index(prefix + dot)][local] = buffers[name]

    def read_buffers(self, call: CallObjects) -> dict[str, Any]:
        """Return the buffers that the modules of a call hold now, by full name.

        Those that the module had from the start are there, if only as None.
        """
        buffers: dict[str, Any] = dict.fromkeys(self._buffer_names)
        for part, module in zip(self._parts, call.modules, strict=True):
            if held := module.__dict__[_BUFFERS]:
                for local, tensor in held.items():
                    if tensor is not None:
                        self._read(buffers, part.prefix + local, tensor)
        return buffers

    def _read(self, buffers: dict[str, Any], name: str, tensor: Tensor) -> None:
        if name not in buffers:
            if any(tensor is other for other in buffers.values()):
                return
            self._gained.add(name)
        buffers[name] = tensor


@dataclass(frozen=True, slots=True)
class SubmoduleTemplate:
    """One submodule: its class, its attributes, and what takes the place of those it cannot share.

    The dictionaries map local names: to values in evaluation and in training, to full names of
    tensors, to places in the list of submodules (or None for an empty slot), and to how to make
    attributes anew, of which `slots` are those of `__slots__`.
    """

    cls: type[Module]
    prefix: str
    attributes: list[dict[str, Any]]
    parameters: dict[str, str | None]
    buffers: dict[str, str | None]
    children: dict[str, int | None]
    rebound: dict[str, Maker]
    slots: dict[str, Maker]

    def holds_nothing(self) -> bool:
        """Whether its attributes are all that there is."""
        held = self.parameters, self.buffers, self.children, self.rebound, self.slots
        return not any(held)

    def fill(self, module: Module, buffers: dict[str, Any], call: CallObjects) -> None:
        """Give a module, which has the attributes, what this submodule holds."""
        own, tensors, modules = module.__dict__, call.tensors, call.modules
        if self.parameters:
            own[_PARAMETERS] = {k: n and tensors[n] for k, n in self.parameters.items()}
        if self.children:
            own[_MODULES] = {k: None if i is None else modules[i] for k, i in self.children.items()}
        for local, name in self.buffers.items():
            buffers[local] = name and tensors[name]
        for name, make in self.rebound.items():
            own[name] = make(call)
        for name, make in self.slots.items():
            object.__setattr__(module, name, make(call))


def _part(
    prefix: str,
    module: Module,
    names: dict[int, str],
    places: dict[int, int],
    rebinder: Rebinder,
    calls_train: bool,
) -> SubmoduleTemplate:
    """Return the template of one submodule.

    Args:
        prefix: its full name.
        module: the submodule.
        names: the full names of all tensors, by identity.
        places: the places of all submodules in the list, by identity.
        rebinder: finds how to make attributes anew.
        calls_train: the mode is set after filling.
    """
    where = _where(prefix, module)

    def find(name: str, value: Any) -> Maker | None:
        return rebinder.find(value, f"attribute {name!r} of {where}")

    own = {name: value for name, value in vars(module).items() if name not in _REPLACED}
    rebound = {name: find(name, value) for name, value in own.items() if _may_refer(name, value)}
    empty = dict.fromkeys(_HELD)
    modes = (module.training, module.training) if calls_train else (False, True)
    parameters, buffers, children = (vars(module)[kind] for kind in _HELD)
    return SubmoduleTemplate(
        type(module),
        f"{prefix}." if prefix else "",
        [{**empty, **own, "training": mode} for mode in modes],
        {name: names.get(id(tensor)) for name, tensor in parameters.items()},
        {name: names.get(id(tensor)) for name, tensor in buffers.items()},
        {name: places.get(id(child)) for name, child in children.items()},
        {name: make for name, make in rebound.items() if make is not None},
        {k: find(k, v) or (lambda _, v=v: v) for k, v in _slots(module).items()},
    )


def _may_refer(name: str, value: Any) -> bool:
    """Whether an attribute may refer to the module; most of a module without hooks do not."""
    if name in _BASE:
        return bool(value) and "state_dict" not in name
    return name not in _UNREAD


def _tensor_names(named_modules: NamedModules) -> dict[int, str]:
    """Return the full name of each parameter and buffer, by identity."""
    names: dict[int, str] = {}
    for kind in (_PARAMETERS, _BUFFERS):
        for prefix, module in named_modules:
            for local, tensor in vars(module)[kind].items():
                if tensor is not None:
                    names.setdefault(id(tensor), f"{prefix}.{local}" if prefix else local)
    return names


def _replaced(named_modules: NamedModules) -> dict[int, Maker]:
    """Return what takes the place of submodules and tensors in a call, by identity."""
    found: dict[int, Maker] = {}
    for i, (_, module) in enumerate(named_modules):
        found[id(module)] = lambda call, i=i: call.modules[i]
        for reference in weakref.getweakrefs(module):
            if type(reference) in weakref.ProxyTypes:
                found[id(reference)] = lambda call, i=i: weakref.proxy(call.modules[i])
    for key, name in _tensor_names(named_modules).items():
        found[key] = lambda call, name=name: call.tensors[name]
    return found


def _has_own_train(module: Module) -> bool:
    """Whether `train` may do more than set flags; only running it shows what it does."""
    return type(module).train is not Module.train or "train" in vars(module)


class _RequiresGradKept(TorchFunctionMode):
    """Where `train` sets `requires_grad`, which in a call is not the module's to set.

    The tensors of a call are arguments, or copies of them that carry a graph.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        tensor: Any = Tensor
        if func in (tensor.requires_grad.__set__, tensor.requires_grad_):
            return args[0]
        return func(*args, **(kwargs or {}))


def _renormed(named_modules: NamedModules, names: dict[int, str]) -> list[str]:
    """Return the weights that a forward pass scales in place."""
    return [
        names[id(module.weight)]
        for _, module in named_modules
        if isinstance(module, Embedding | EmbeddingBag) and module.max_norm is not None
        if id(module.weight) in names
    ]


def _copy_without_tensors(module: Module) -> Module:
    """Deep-copy a module with parameters and buffers that take no memory.

    Raises:
        TypeError: an attribute cannot be copied.
    """
    memo: dict[int, Any] = _empty_tensors(module)
    try:
        copied = copy.deepcopy(module, memo)
        for original in filter(_slots, list(module.modules())):  # which modules do not copy
            for name, value in _slots(original).items():
                object.__setattr__(memo[id(original)], name, copy.deepcopy(value, memo))
    except Exception as error:
        where = _what_fails(module, _empty_tensors(module))
        raise TypeError(
            f"functional_module cannot copy {where}: {error}; take it out of the module, or pass "
            "preserve_original=False to share it."
        ) from error
    return copied


def _slots(module: Module) -> dict[str, Any]:
    """Return the attributes that are in `__slots__` rather than in `__dict__`."""
    names = [
        name
        for cls in type(module).__mro__
        for name, value in vars(cls).items()
        if isinstance(value, MemberDescriptorType)
    ]
    return {name: getattr(module, name) for name in names if hasattr(module, name)}


def _empty_tensors(module: Module) -> dict[int, Tensor]:
    memo: dict[int, Tensor] = {}
    for tensor in module.buffers():
        memo[id(tensor)] = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    for tensor in module.parameters():
        empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
        memo[id(tensor)] = Parameter(empty, requires_grad=tensor.requires_grad)
    for tensor in _computed_tensors(module):
        memo.setdefault(id(tensor), tensor.detach().clone())
    return memo


def _computed_tensors(module: Module) -> Iterator[Tensor]:
    """Yield what attributes hold of the results of operations, which deepcopy refuses."""
    for part in references([vars(submodule) for submodule in module.modules()], attributes=True):
        if isinstance(part, Tensor) and not part.is_leaf:
            yield part


def _what_fails(module: Module, memo: dict[int, Tensor]) -> str:
    for prefix, submodule in module.named_modules():
        own = {id(child): child for child in submodule.children()}
        for name, value in submodule.__dict__.items():
            try:
                copy.deepcopy(value, {**memo, **own})
            except Exception:
                return f"attribute {name!r} of {_where(prefix, submodule)}"
    return type(module).__qualname__


def _where(prefix: str, module: Module) -> str:
    return f"submodule {prefix!r}" if prefix else f"the {type(module).__qualname__}"
