"""Parameters and buffers of a module as dictionaries of tensors."""

from collections.abc import Iterable

from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy


def get_params(module: Module) -> dict[str, Tensor]:
    """Returns copies of a module's parameters, by their full names.

    Args:
        module: any `torch.nn.Module`. A parameter that it holds in several places (a tied one) is
            listed once, under the first of its names.

    Returns:
        New tensors that require no grad and share no memory with the module.

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
    return _copies(module.named_parameters(), "parameter")


def get_buffers(module: Module) -> dict[str, Tensor]:
    """Returns copies of a module's buffers, by their full names.

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


def check_module(module: object, name: str) -> None:
    """Raises TypeError unless `module` is a `torch.nn.Module`."""
    if not isinstance(module, Module):
        raise TypeError(
            f"{name} expected a torch.nn.Module, "
            f"got {module!r} of type {type(module).__qualname__}."
        )


def check_materialized(name: str, tensor: Tensor, kind: str) -> None:
    """Raises ValueError for a parameter or buffer of a lazy module that has no shape yet."""
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
