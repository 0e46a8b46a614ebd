"""What is left of a module when its tensors are taken out, and how to fill it again.

A skeleton lists the submodules of a module once. Filling it makes new module objects around the
given tensors: a call thus shares nothing that it may write with another call, whichever thread or
backward pass (as in `torch.utils.checkpoint`) runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import Embedding, EmbeddingBag, Module
from torch.nn.utils import parametrize

from pax_torch._module.meta_copy import copy_without_tensors
from pax_torch._module.parts import Parts, places, tensor_names
from pax_torch._module.rebind import Filling, Recipes
from pax_torch._module.train_flags import training_flags


class Skeleton:
    """A module without tensors, from which modules around given tensors are made.

    Args:
        module: materialised; it is only read.
        preserve: copy its attributes, which are otherwise shared by all the modules made.
    """

    def __init__(self, module: Module, preserve: bool) -> None:
        model = copy_without_tensors(module) if preserve else module
        named, originals = list(model.named_modules()), list(module.named_modules())
        now = [submodule.training for _, submodule in named]
        modes = [training_flags(model, mode) for mode in (False, True)]
        self._calls_train = None in modes
        flags = [now if self._calls_train or mode is None else mode for mode in modes]
        own, others = places(named), places(originals)
        parts = Parts(named, Recipes({**others, **own}, others.keys() - own.keys()))
        self._parts = [
            parts.part(prefix, submodule, pair)
            for (prefix, submodule), *pair in zip(named, *flags, strict=True)
        ]
        self._prefixes = [f"{prefix}." if prefix else "" for prefix, _ in named]
        self._buffer_names = [name for name, _ in module.named_buffers()]
        self._copied = _renormed(named, tensor_names(named))
        self._cached = any("parametrizations" in part.children for part in self._parts)
        self._filled = [(i, part) for i, part in enumerate(self._parts) if part.is_filled()]
        self._with_buffers = [i for i, p in self._filled if p.buffers or not p.is_plain()]
        # Buffers that the module does not have yet.
        self._gained = {
            prefix + local
            for prefix, part in zip(self._prefixes, self._parts, strict=True)
            for local in part.buffers
        }.difference(self._buffer_names)

    def accepts(self, name: str) -> bool:
        """Whether a call may give, or has returned, a buffer that the module did not have."""
        return name in self._gained

    def fill(
        self, params: Mapping[str, Tensor], buffers: Mapping[str, Tensor | None], is_training: bool
    ) -> list[Module]:
        """Return new submodules around tensors, the root first.

        The parameters that a mode or a forward pass writes to are copied.
        """
        if self._cached and parametrize._cache_enabled:
            raise RuntimeError(
                "a function of functional_module cannot run in torch.nn.utils.parametrize.cached(), "
                "which keeps the weights of one call for the next; call it outside of the block."
            )
        tensors = {**params, **buffers}
        for name in params if self._calls_train else self._copied:
            tensors[name] = params[name].clone()
        modules = self._blank(is_training)
        filling = Filling(modules, tensors)
        for i, part in self._filled:
            part.fill(modules[i], filling)
        if len(buffers) > len(self._buffer_names):
            self._add(modules, buffers)
        if self._calls_train:
            modules[0].train(is_training)
        return modules

    def _blank(self, is_training: bool) -> list[Module]:
        """Return modules without tensors and submodules."""
        modules = []
        for part in self._parts:
            module = object.__new__(part.cls)
            module.__dict__.update(part.attributes[is_training])
            modules.append(module)
        return modules

    def _add(self, modules: list[Module], buffers: Mapping[str, Tensor | None]) -> None:
        for name in buffers.keys() - self._buffer_names:
            prefix, _, local = name.rpartition(".")
            module = modules[self._prefixes.index(f"{prefix}." if prefix else "")]
            module._buffers[local] = buffers[name]

    def read_buffers(self, modules: list[Module]) -> dict[str, Any]:
        """Return the buffers that the modules made by `fill` hold now, by full name.

        Those that the module had from the start are there, if only as None.
        """
        buffers: dict[str, Any] = dict.fromkeys(self._buffer_names)
        for i in self._with_buffers:
            for local, tensor in modules[i]._buffers.items():
                if tensor is not None:
                    self._read(buffers, self._prefixes[i] + local, tensor)
        return buffers

    def _read(self, buffers: dict[str, Any], name: str, tensor: Tensor) -> None:
        if name not in buffers:
            if any(tensor is other for other in buffers.values()):
                return
            self._gained.add(name)
        buffers[name] = tensor


def _renormed(named_modules: list[tuple[str, Module]], names: dict[int, str]) -> list[str]:
    """Return the weights that a forward pass scales in place."""
    return [
        names[id(module.weight)]
        for _, module in named_modules
        if isinstance(module, Embedding | EmbeddingBag) and module.max_norm is not None
        if id(module.weight) in names
    ]
