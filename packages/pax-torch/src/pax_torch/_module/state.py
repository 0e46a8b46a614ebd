"""Parameters and buffers of a module as dictionaries of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Module, ModuleList
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from pax_torch._compat import mapped_zeros, running_vmaps
from pax_torch._errors import describe
from pax_torch._module.wrapped import fully_sharded


def get_params(module: Module) -> dict[str, Tensor]:
    """Return copies of a module's parameters, by their full names.

    Args:
        module: any `torch.nn.Module`. A parameter that it holds in several places (a tied one) is
            listed once, under the first of its names.

    Returns:
        New tensors that require no grad and share no memory with the module; `DTensor`s where it was
        given to `torch.distributed.fsdp.fully_shard`.

    Raises:
        TypeError: `module` is no module.
        ValueError: `module` is lazy and has not run yet.

    Example:
        >>> import torch, pax_torch
        >>> pax_torch.get_params(torch.nn.Linear(3, 2))['bias'].shape
        torch.Size([2])

    The name-to-tensor dictionary is that of `torch.nn.Module.named_parameters`.
    """
    check_module(module, "get_params")
    fully_sharded(module)  # which leaves them in parts
    return _copies(module.named_parameters(), "parameter")


def get_buffers(module: Module) -> dict[str, Tensor]:
    """Return copies of a module's buffers, by their full names.

    Args:
        module: any `torch.nn.Module`; its buffers are, for example, the running averages of
            `torch.nn.BatchNorm1d`. Buffers that are not persistent are included.

    Returns:
        New tensors that share no memory with the module.

    Raises:
        TypeError: `module` is no module.
        ValueError: `module` is lazy and has not run yet.

    Example:
        >>> import torch, pax_torch
        >>> list(pax_torch.get_buffers(torch.nn.BatchNorm1d(3)))
        ['running_mean', 'running_var', 'num_batches_tracked']

    The name-to-tensor dictionary is that of `torch.nn.Module.named_buffers`.
    """
    check_module(module, "get_buffers")
    return _copies(module.named_buffers(), "buffer")


def stack_params(modules: Sequence[Module] | ModuleList) -> dict[str, Tensor]:
    """Return the parameters of several modules of one kind, stacked for `vmap`.

    Args:
        modules: at least one module; all have parameters of the same names, shapes and dtypes.

    Returns:
        For each name a new tensor with the modules along its first axis, which requires no grad.

    Raises:
        TypeError: one of `modules` is no module.
        ValueError: there is no module, or two have different parameters or classes, or submodules
            of different classes; or one is lazy and has not run yet.

    Example:
        >>> import torch, pax_torch
        >>> nets = [torch.nn.Linear(3, 2) for _ in range(5)]
        >>> forward, params = pax_torch.functional_module(nets[0]), pax_torch.stack_params(nets)
        >>> ensemble = pax_torch.vmap(lambda params, x: forward(params, x)[0], in_axes=(0, None))
        >>> ensemble(params, torch.zeros(7, 3)).shape
        torch.Size([5, 7, 2])

    It is what `torch.func.stack_module_state` does for parameters.
    """
    return _stacked(modules, get_params, "stack_params")


def stack_buffers(modules: Sequence[Module] | ModuleList) -> dict[str, Tensor]:
    """Return the buffers of several modules of one kind, stacked for `vmap`.

    Args:
        modules: as for `stack_params`, with buffers of the same names, shapes and dtypes.

    Returns:
        For each name a new tensor with the modules along its first axis.

    Raises:
        TypeError, ValueError: as for `stack_params`.

    Example:
        >>> import torch, pax_torch
        >>> nets = [torch.nn.BatchNorm1d(3) for _ in range(5)]
        >>> pax_torch.stack_buffers(nets)["running_mean"].shape
        torch.Size([5, 3])

    It is what `torch.func.stack_module_state` does for buffers.
    """
    return _stacked(modules, get_buffers, "stack_buffers")


def _stacked(
    modules: Sequence[Module] | ModuleList, get: Callable[[Module], dict[str, Tensor]], name: str
) -> dict[str, Tensor]:
    if not isinstance(modules, Sequence | ModuleList) or not len(modules):
        raise ValueError(f"{name} takes a list of at least one module, got {describe(modules)}.")
    states = [get(module) for module in modules]
    _check_classes(modules, name)
    expected = {key: (x.shape, x.dtype) for key, x in states[0].items()}
    for number, state in enumerate(states):
        for key in expected.keys() | state.keys():
            found = (state[key].shape, state[key].dtype) if key in state else None
            if found != expected.get(key):
                raise ValueError(
                    f"{name} takes modules of one kind, but {key!r} is "
                    f"{_describe_kind(found)} in module {number} and "
                    f"{_describe_kind(expected.get(key))} in module 0."
                )
    return {key: torch.stack([state[key] for state in states]) for key in expected}


def _check_classes(modules: Sequence[Module] | ModuleList, name: str) -> None:
    """Raise ValueError unless all the modules and their submodules have the same classes."""
    kinds = [
        {prefix: _class_of(submodule) for prefix, submodule in module.named_modules()}
        for module in modules
    ]
    for number, found in enumerate(kinds):
        for prefix in {**kinds[0], **found}:
            other, first = found.get(prefix), kinds[0].get(prefix)
            if other is not first:
                where = f"submodule {prefix!r}" if prefix else "the module"
                raise ValueError(
                    f"{name} takes modules of one kind, but {where} is {_name_of(other)} in module "
                    f"{number} and {_name_of(first)} in module 0."
                )


def _class_of(module: Module) -> type[Module]:
    """Return the class of a module; for one with parametrizations, that it had before."""
    cls = type(module)
    return cls.__bases__[0] if is_parametrized(module) else cls


def _name_of(cls: type[Module] | None) -> str:
    return cls.__qualname__ if cls else "missing"


def _describe_kind(kind: tuple[torch.Size, torch.dtype] | None) -> str:
    return f"of shape {tuple(kind[0])} and dtype {kind[1]}" if kind else "missing"


def own_copies(buffers: Mapping[str, Tensor | None], is_training: bool) -> dict[str, Tensor | None]:
    """Return copies of buffers, which a call may write to.

    In training mode those of floating and complex dtypes are mapped by every `vmap` that is
    running: what is written there differs from example to example.
    """
    vmaps = running_vmaps() if is_training and buffers else []
    return {name: None if x is None else _own_copy(x, vmaps) for name, x in buffers.items()}


def _own_copy(buffer: Tensor, vmaps: list[tuple[int, int]]) -> Tensor:
    if vmaps and (buffer.is_floating_point() or buffer.is_complex()):
        return sum(mapped_zeros(vmaps, buffer.device), buffer)
    return buffer.clone()


def check_module(module: object, name: str) -> None:
    """Raise TypeError unless `module` is a `torch.nn.Module`."""
    if not isinstance(module, Module):
        raise TypeError(
            f"{name} expected a torch.nn.Module, "
            f"got {module!r} of type {type(module).__qualname__}."
        )


def check_materialized(name: str, tensor: Tensor, kind: str) -> None:
    """Raise ValueError for a parameter or buffer of a lazy module that has no shape yet."""
    if is_lazy(tensor):
        raise ValueError(
            f"{kind} {name!r} of a lazy module has no shape yet; "
            "run the module once on an example before converting it."
        )


def _copies(named: Iterable[tuple[str, Tensor]], kind: str) -> dict[str, Tensor]:
    copies = {}
    for name, tensor in named:
        check_materialized(name, tensor, kind)
        copies[name] = tensor.detach().clone()
    return copies
