"""`functional_module`: a PyTorch module as a pure function of its parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Embedding, EmbeddingBag, Module

from pax_torch._compat import is_compiled_module
from pax_torch._module.state import check_materialized, check_module, get_buffers, own_copies
from pax_torch._module.template import ModuleTemplate
from pax_torch._module.wrapped import ShardedUnits, check_wrappers

Shapes = dict[str, torch.Size]
Buffers = Mapping[str, Tensor | None]


def functional_module(
    module: Module, preserve_original: bool = True, *, strict: bool = True
) -> Callable[..., tuple[Any, dict[str, Tensor]]]:
    """Return a module's computation as a pure function of parameters and buffers.

    The function is `forward(params, *args, buffers=None, is_training=True, **kwargs)` and returns
    `(out, buffers)`:

    - `params`: the parameters by name, as `get_params` gives them;
    - `args`, `kwargs`: the arguments of the module;
    - `buffers`: the buffers by name, as `get_buffers` gives them, or as a call returned them; by
      default those that the module had when it was converted;
    - `is_training`: the mode that is set by `module.train(is_training)`;
    - `out`: what the module returns for these;
    - the second result: the buffers after the call, such as new running averages, whatever their
      shapes; also those that the call registered, and None for one that it removed. In training
      mode under `vmap`, each example gets its own copy of the buffers of floating or complex
      dtype, even if all were given the same buffers.

    Each call runs on module objects of its own, so that the function can be called recursively
    and from several threads, and forgets what the module's forward assigns to attributes.
    Functions that close over the module, such as hooks, use that of the call. A tied parameter is
    given once, under the first of its names.

    Of a module that was given to `torch.distributed.fsdp.fully_shard`, `params` are the `DTensor`s that
    it has. A call gathers them, those of each `fully_shard` together, and its gradients are the means over
    the processes in the same parts, as in FSDP. What was gathered lives until the backward pass has
    used it, as with `reshard_after_forward=False`.

    What is written in place is not undone. A forward that writes to a parameter writes to the
    argument; `Embedding(max_norm=...)` has a copy, which a warning says, as has a module with a
    `train` of its own, which every call runs. What is written into a list, a dictionary or a tensor
    that is an attribute, or that a hook closes over, stays for later calls, as do hooks that a forward
    registers; let it keep such things in buffers.

    Args:
        module: any `torch.nn.Module`, without compiled or scripted parts, or such as average gradients
            themselves (`DistributedDataParallel`). It keeps its tensors, its mode and its attributes.
        preserve_original: copy the attributes of the module, so that it does not see what a
            forward writes into them. With False they are shared with the calls, and an attribute
            of a kind of its own that holds a submodule holds the original one.
        strict: `params` has every parameter. With False it may lack some, such as those that are not
            trained; the module's own are used for these, as they are at the call and as constants.

    Returns:
        The function `forward`.

    Raises:
        TypeError: `module` is no module, has scripted or compiled parts, one that averages gradients
            itself, or a policy of `fully_shard` that calls would not follow; or it has an attribute that cannot be
            copied, or one that holds a submodule or a tensor where no call could replace it (such
            as a global variable that a hook reads); in a call: a parameter is no tensor.
        ValueError: a lazy module has not run yet; in a call: a parameter or buffer is missing or
            unknown, or a parameter is of the wrong shape.
        RuntimeError: in a call: `torch.nn.utils.parametrize.cached` would keep its weights.

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
    check_wrappers(module)
    sharded = ShardedUnits(module)
    _shapes(module)
    with sharded.hidden():
        template = ModuleTemplate(module, preserve_original)
    _warn_of_scaled_weights(module)
    return _FunctionalModule(module, template, sharded, strict)


class _FunctionalModule:
    """A module as a function; it is pickled as far as the module can be."""

    __static_by_identity__ = True

    def __init__(
        self, module: Module, template: ModuleTemplate, sharded: ShardedUnits, strict: bool
    ) -> None:
        self._owner = type(module).__name__
        self.__name__ = self.__qualname__ = f"functional_module({self._owner})"
        self._template = template
        self._sharded = sharded
        self._shapes = _shapes(module)
        self._constants = (
            {} if strict else {name: x.detach() for name, x in module.named_parameters()}
        )
        self._initial_buffers = get_buffers(module)

    def __call__(
        self,
        params: Mapping[str, Tensor],
        /,
        *args: Any,
        buffers: Buffers | None = None,
        is_training: bool = True,
        **kwargs: Any,
    ) -> tuple[Any, dict[str, Tensor]]:
        buffers = self._initial_buffers if buffers is None else buffers
        _check_mapping(params, "params")
        params = {**self._constants, **params} if self._constants else params
        _check_params(params, self._shapes, self._owner)
        params = self._sharded.gathered(params) if self._sharded else params
        _check_buffers(buffers, self._initial_buffers, self._template, self._owner)
        template = self._template
        call = template.fill(params, own_copies(buffers, is_training), bool(is_training))
        out = call.modules[0](*args, **kwargs)
        return out, template.read_buffers(call)

    def __repr__(self) -> str:
        return f"<{self.__name__}>"

    def __copy__(self) -> _FunctionalModule:
        return self

    def __deepcopy__(self, memo: Any) -> _FunctionalModule:
        return self  # it never changes


def _check_convertible(module: Module) -> None:
    for name, submodule in module.named_modules():
        scripted = isinstance(submodule, torch.jit.ScriptModule)
        if scripted or is_compiled_module(submodule):
            what = "scripted" if scripted else "compiled"
            where = f"submodule {name!r}" if name else "module"
            raise TypeError(
                f"functional_module cannot convert the {what} {where} "
                f"({type(submodule).__name__}); convert the module that it was made of."
            )


def _warn_of_scaled_weights(module: Module) -> None:
    """Say that `max_norm` does not change the parameters, where they are trained."""
    for name, submodule in module.named_modules():
        if not isinstance(submodule, Embedding | EmbeddingBag) or submodule.max_norm is None:
            continue
        weight = f"{name}.weight" if name else "weight"
        if submodule.weight.requires_grad:
            warnings.warn(
                f"{type(submodule).__name__}(max_norm={submodule.max_norm}) scales rows of its weight "
                "in place in each forward pass, which a functional module does on a copy: values and "
                "gradients are PyTorch's, but the rows in the parameters keep their norms. To train as "
                f"PyTorch does, scale them after the pass: torch.renorm(params[{weight!r}], "
                f"{submodule.norm_type}, 0, {submodule.max_norm}), for the rows that were used.",
                stacklevel=3,
            )


def _shapes(module: Module) -> Shapes:
    shapes = {}
    for name, tensor in module.named_parameters():
        check_materialized(name, tensor, "parameter")
        shapes[name] = tensor.shape
    return shapes


def _check_params(params: Any, shapes: Shapes, owner: str) -> None:
    if params.keys() != shapes.keys():
        _raise_names(params, shapes, "params", owner)
    for name, tensor in params.items():
        if not isinstance(tensor, Tensor):
            _raise_no_tensor("params", name, tensor)
        if tensor.shape != shapes[name]:
            raise ValueError(
                f"params[{name!r}] has shape {tuple(tensor.shape)}, "
                f"but {owner} needs shape {tuple(shapes[name])}."
            )


def _check_buffers(buffers: Any, initial: Buffers, template: ModuleTemplate, owner: str) -> None:
    _check_mapping(buffers, "buffers")
    if buffers.keys() != initial.keys():
        expected = [*initial, *filter(template.accepts, buffers)]
        if buffers.keys() != set(expected):
            _raise_names(buffers, expected, "buffers", owner)
    for name, tensor in buffers.items():
        if not isinstance(tensor, Tensor) and tensor is not None:
            _raise_no_tensor("buffers", name, tensor)


def _check_mapping(given: Any, what: str) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{what} must be a dictionary of tensors by name, as get_{what} returns, "
            f"got {type(given).__qualname__}."
        )


def _raise_no_tensor(what: str, name: str, value: Any) -> None:
    raise TypeError(
        f"{what}[{name!r}] must be a tensor, got {value!r} of type {type(value).__qualname__}."
    )


def _raise_names(
    given: Mapping[Any, Any], expected: Collection[str], what: str, owner: str
) -> None:
    missing = [name for name in expected if name not in given]
    if missing:
        raise ValueError(f"{what} lacks {', '.join(map(repr, missing))}, which {owner} needs.")
    extra = [name for name in given if name not in expected]
    raise ValueError(f"{what} has {', '.join(map(repr, extra))}, which {owner} does not have.")
