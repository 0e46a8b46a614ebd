"""Modules that communicate between processes themselves: which can be pure functions, and how.

`torch.distributed.fsdp.fully_shard` gathers parameters in hooks of a module, whose class it changes. A
pure function has neither: it is made of the class that the module had, and gathers what it is given.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.nn import Module
from torch.nn.parallel import DistributedDataParallel

from pax_torch._compat import (
    class_before_fsdp,
    fsdp_policies,
    fsdp_state_of,
    is_fsdp_state,
    transforms_active,
)
from pax_torch._placements import describe_placement, is_distributed
from pax_torch.distributed._gather import gathered

_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_FLAGS = (
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
)
_STATE = "__composable_api_state_key"


def check_wrappers(module: Module) -> None:
    """Raise TypeError for a part whose own communication a function of it would not have."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    older = getattr(fsdp, "FullyShardedDataParallel", ())
    for name, submodule in module.named_modules():
        where = f"submodule {name!r}" if name else "module"
        if isinstance(submodule, DistributedDataParallel):
            inner = f"net.get_submodule({name!r}).module" if name else "ddp.module"
            raise TypeError(
                f"functional_module cannot convert the {where}, a DistributedDataParallel: it averages "
                "gradients in hooks of a backward pass that a function of parameters does not run. Convert "
                f"what it wraps, and average the gradients: `forward = functional_module({inner})` and "
                "`grads = pax_torch.distributed.pmean(grad(loss)(params))`."
            )
        if isinstance(submodule, older):
            raise TypeError(
                f"functional_module cannot convert the {where}, a FullyShardedDataParallel: it keeps the "
                "parameters in vectors of its own. Use `torch.distributed.fsdp.fully_shard(net)`, which "
                "it can convert."
            )


class ShardedUnits:
    """The parameters that `fully_shard` has divided, in the groups that it gathers together.

    Args:
        module: a module, parts of which may be given to `fully_shard`; it is left with its
            parameters in parts.

    Raises:
        TypeError: a part has a policy that a function of it would not follow.
    """

    def __init__(self, module: Module) -> None:
        self._units: list[list[str]] = []
        self._kinds: dict[str, str] = {}
        parts = fully_sharded(module)
        self._modules = [submodule for _, submodule in parts]
        if not parts:
            return
        names = {id(tensor): name for name, tensor in module.named_parameters()}
        nested = {id(submodule) for submodule in self._modules}
        for prefix, submodule in parts:
            _check_policies(prefix, submodule)
            unit = [names[id(tensor)] for tensor in _own_parameters(submodule, nested)]
            self._units.append(list(dict.fromkeys(unit)))
        found = dict(module.named_parameters())
        self._kinds = {
            name: describe_placement(found[name])
            for unit in self._units
            for name in unit
            if is_distributed(found[name])
        }

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Give the modules the classes and the hooks back that they had before, for a while."""
        before = [(module, type(module), dict(vars(module))) for module in self._modules]
        try:
            for module, cls, own in before:
                state = fsdp_state_of(module)
                module.__class__ = class_before_fsdp(cls)
                for name in [*own]:
                    if name.startswith(_STATE):
                        del vars(module)[name]
                _take_out_hooks(module, state)
            yield
        finally:
            for module, cls, own in before:
                module.__class__ = cls
                vars(module).clear()
                vars(module).update(own)

    def gathered(self, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the parameters with those whole that are in parts.

        Raises:
            ValueError: one is not in the parts that the module had it in.
            TypeError: it is inside a transform of `torch.func`.
        """
        if transforms_active():
            raise TypeError(
                "A function of a module with `fully_shard` gathers parameters over processes, and cannot "
                "be called inside vmap, forward mode or another transform of torch.func."
            )
        wholes = dict(params)
        for name, kind in self._kinds.items():
            if describe_placement(params[name]) != kind:
                raise ValueError(
                    f"params[{name!r}] is {describe_placement(params[name])}, and the module, which "
                    f"was given to fully_shard, needs {kind}: as get_params(module) returns it."
                )
        for unit in self._units:
            names = [name for name in unit if name in self._kinds]
            found = gathered([params[name] for name in names])
            wholes.update(zip(names, found, strict=True))
        return wholes

    def __bool__(self) -> bool:
        return bool(self._kinds)


def fully_sharded(module: Module) -> list[tuple[str, Module]]:
    """Return the parts that were given to `fully_shard`, with their parameters in parts again."""
    cls = getattr(sys.modules.get("torch.distributed.fsdp"), "FSDPModule", None)
    if cls is None:
        return []
    found = [(name, part) for name, part in module.named_modules() if isinstance(part, cls)]
    for _, part in found:
        part.reshard()  # pyright: ignore[reportCallIssue]
    return found


def _own_parameters(module: Module, nested: set[int]) -> Iterator[Tensor]:
    yield from module.parameters(recurse=False)
    for child in module.children():
        if id(child) not in nested:
            yield from _own_parameters(child, nested)


def _check_policies(prefix: str, module: Module) -> None:
    where = f"submodule {prefix!r}" if prefix else "module"
    for policy in fsdp_policies(module):
        raise TypeError(
            f"functional_module cannot convert the {where}, which was given to fully_shard with {policy}: "
            "its calls would not follow it. Leave it out; convert the parameters and the inputs "
            "yourself where they should have another dtype."
        )
    for tensor in module.parameters():
        names = (getattr(tensor, "device_mesh", None) and tensor.device_mesh.mesh_dim_names) or ()  # pyright: ignore[reportAttributeAccessIssue]
        if any("tp" in name for name in names):
            raise TypeError(
                f"functional_module cannot convert the {where}, whose parameters are divided by tensor "
                "parallelism as well as by fully_shard; give it to one of them."
            )


def _take_out_hooks(module: Module, state: Any) -> None:
    own = vars(module)
    for name in _HOOKS:
        own[name] = OrderedDict(
            (number, hook) for number, hook in own[name].items() if not is_fsdp_state(hook, state)
        )
    kept = {number for name in _HOOKS for number in own[name]}
    for name in _FLAGS:
        if name in own:
            flags = own[name].items()
            own[name] = OrderedDict((number, flag) for number, flag in flags if number in kept)
