"""`functional_module`: a PyTorch module as a pure function of its parameters."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from pax_torch._skeleton import Skeleton, copy_without_tensors
from pax_torch._state import check_materialized, check_module, get_buffers, own_copies

Shapes = dict[str, torch.Size]


def functional_module(
    module: Module, preserve_original: bool = True
) -> Callable[..., tuple[Any, dict[str, Tensor]]]:
    """Returns a module's computation as a pure function of parameters and buffers.

    The function is `forward(params, *args, buffers=None, is_training=True, **kwargs)` and returns
    `(out, buffers)`:

    - `params`: the parameters by name, as `get_params` gives them;
    - `args`, `kwargs`: the arguments of the module;
    - `buffers`: the buffers by name, as `get_buffers` gives them; by default those that the
      module had when it was converted;
    - `is_training`: the mode that is set by `module.train(is_training)`;
    - `out`: what the module returns for these;
    - the second result: the buffers after the call, such as new running averages. Mapped by
      `vmap` in training mode, each example has its own, also where one set of buffers is given.

    Each call runs on module objects of its own, so that the function can be called recursively
    and from several threads, changes no argument, and forgets attributes that the module's
    forward assigns. A tied parameter is given once, under the first of its names.

    Args:
        module: any `torch.nn.Module`, without compiled or scripted parts. It keeps its tensors,
            its mode and its attributes.
        preserve_original: copy the attributes of the module that are no tensors. With False they
            are shared with the calls: nothing is copied, what a forward writes *into* them (a
            list it appends to) is seen in the module, and an attribute of another kind than list,
            tuple or dict that holds a submodule holds the original one.

    Returns:
        The function `forward`.

    Raises:
        TypeError: `module` is no module, or has scripted or compiled parts; in a call: a parameter is no
            tensor.
        ValueError: a lazy module has not run yet; in a call: a parameter or buffer is missing,
            unknown or of the wrong shape.

    Example:
        >>> import torch, pax_torch
        >>> net = torch.nn.Linear(10, 1)
        >>> forward = pax_torch.functional_module(net)
        >>> params, buffers = pax_torch.get_params(net), pax_torch.get_buffers(net)
        >>> out, buffers = forward(params, torch.zeros(2, 10), buffers=buffers, is_training=True)
        >>> out.shape
        torch.Size([2, 1])

    The calling convention is that of a Haiku transform with state.

    """
    check_module(module, "functional_module")
    _check_convertible(module)
    param_shapes = _shapes(module.named_parameters(), "parameter")
    buffer_shapes = _shapes(module.named_buffers(), "buffer")
    initial_buffers = get_buffers(module)
    skeleton = Skeleton(copy_without_tensors(module) if preserve_original else module)
    owner = type(module).__name__

    def forward(
        params: Mapping[str, Tensor],
        *args: Any,
        buffers: Mapping[str, Tensor] | None = None,
        is_training: bool = True,
        **kwargs: Any,
    ) -> tuple[Any, dict[str, Tensor]]:
        buffers = initial_buffers if buffers is None else buffers
        _check_tensors(params, param_shapes, "params", owner)
        _check_tensors(buffers, buffer_shapes, "buffers", owner)
        tensors = {**params, **own_copies(buffers, is_training)}
        modules = skeleton.fill(tensors, bool(is_training))
        out = modules[0](*args, **kwargs)
        return out, skeleton.read_buffers(modules)

    return forward


def _check_convertible(module: Module) -> None:
    for name, submodule in module.named_modules():
        scripted = isinstance(submodule, torch.jit.ScriptModule)
        if scripted or "_orig_mod" in submodule._modules:
            what = "scripted" if scripted else "compiled"
            where = f"submodule {name!r}" if name else "module"
            raise TypeError(
                f"functional_module cannot convert the {what} {where} "
                f"({type(submodule).__name__}); convert the module that it was made of."
            )


def _shapes(named: Any, kind: str) -> Shapes:
    shapes = {}
    for name, tensor in named:
        check_materialized(name, tensor, kind)
        shapes[name] = tensor.shape
    return shapes


def _check_tensors(given: Any, shapes: Shapes, what: str, owner: str) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{what} must be a dictionary of tensors by name, as get_{what} returns, "
            f"got {type(given).__qualname__}."
        )
    if given.keys() != shapes.keys():
        _raise_names(given, shapes, what, owner)
    for name, tensor in given.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{what}[{name!r}] must be a tensor, "
                f"got {tensor!r} of type {type(tensor).__qualname__}."
            )
        if tensor.shape != shapes[name]:
            raise ValueError(
                f"{what}[{name!r}] has shape {tuple(tensor.shape)}, "
                f"but {owner} needs shape {tuple(shapes[name])}."
            )


def _raise_names(given: Mapping[Any, Any], shapes: Shapes, what: str, owner: str) -> None:
    missing = [name for name in shapes if name not in given]
    if missing:
        raise ValueError(f"{what} lacks {', '.join(map(repr, missing))}, which {owner} needs.")
    extra = [name for name in given if name not in shapes]
    raise ValueError(f"{what} has {', '.join(map(repr, extra))}, which {owner} does not have.")
