"""What a step is given: parameters, gradients that fit them, and hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from pax_torch._autodiff.flatten_fun import is_differentiable, to_tensor, to_tensors
from pax_torch._errors import describe, leaf_place
from pax_torch._placements import describe_placement, is_distributed, placed_like

_PLAIN = {Tensor, Parameter}
_NUMBERS = bool | int | float | complex

_dtype, _device, _is_cpu = map(attrgetter, ("dtype", "device", "is_cpu"))


def as_tensors(leaves: list[Any], params: Any) -> list[Tensor]:
    """Return the leaves of the parameters, with numbers and arrays turned into tensors."""
    if set(map(type, leaves)) <= _PLAIN:
        return leaves
    return to_tensors(leaves, lambda i: leaf_place(params, i, "params"))


def check_dtypes(tensors: Sequence[Tensor], params: Any) -> None:
    """Raise TypeError unless the parameters are floating-point or complex."""
    compiled = torch.compiler.is_compiling()  # which does not know what `attrgetter` makes
    if not compiled and all(dtype.is_floating_point for dtype in set(map(_dtype, tensors))):
        return
    for i, tensor in enumerate(tensors):
        if not is_differentiable(tensor):
            raise TypeError(
                f"{leaf_place(params, i, 'params')} has dtype {tensor.dtype}, but an optimizer "
                "steps floating-point and complex parameters; convert it, or leave it out."
            )


@dataclass(frozen=True, slots=True)
class Gradients:
    """Gradients that fit their parameters.

    Args:
        places: those of the parameters that have one.
        tensors: the gradients.
        alike: whether these and the parameters are plain tensors of one dtype on one device.
    """

    places: Sequence[int]
    tensors: list[Tensor]
    alike: bool


def given_gradients(tensors: Sequence[Tensor], leaves: list[Any], params: Any) -> Gradients:
    """Return the gradients that are not None, as tensors.

    Raises:
        ValueError: one differs from its parameter in shape, dtype or device.
    """
    if _are_alike(tensors, leaves):
        if type(leaves[0]) is Parameter:
            _check_order(tensors, leaves, params)
        return Gradients(range(len(tensors)), leaves, True)
    _check_order(tensors, leaves, params)
    places = [i for i, leaf in enumerate(leaves) if leaf is not None]
    found = to_tensors(
        [leaves[i] for i in places], lambda i: leaf_place(params, places[i], "grads")
    )
    for i, gradient in zip(places, found, strict=True):
        _check_gradient(tensors[i], gradient, params, i)
    found = [placed_like(g, tensors[i]) for i, g in zip(places, found, strict=True)]
    return Gradients(places, found, _are_alike([tensors[i] for i in places], found))


def _check_order(tensors: Sequence[Tensor], gradients: Sequence[Any], params: Any) -> None:
    """Raise ValueError if gradients are parameters of a module, and parameters are none."""
    kinds = list(map(type, gradients))
    if Parameter in kinds and Parameter not in set(map(type, tensors)):
        raise ValueError(
            f"{leaf_place(params, kinds.index(Parameter), 'grads')} is a torch.nn.Parameter, and no "
            "parameter is one: they seem to be given for each other; the order is step(params, grads, "
            "state)."
        )


def _are_alike(tensors: Sequence[Tensor], gradients: Sequence[Any]) -> bool:
    """Whether all are plain, of one dtype and on one device, and of the same shapes in pairs."""
    if torch.compiler.is_compiling():
        return False
    together = [*tensors, *gradients]
    return (
        set(map(type, together)) <= _PLAIN
        and len(set(map(_dtype, together))) == 1
        and (all(map(_is_cpu, together)) or len(set(map(_device, together))) == 1)
        and all(map(Tensor.is_same_size, tensors, gradients))
    )


def _check_gradient(tensor: Tensor, gradient: Tensor, params: Any, i: int) -> None:
    if tensor.shape != gradient.shape:
        raise ValueError(
            f"{leaf_place(params, i, 'grads')} has shape {tuple(gradient.shape)}, "
            f"but its parameter has shape {tuple(tensor.shape)}."
        )
    if tensor.dtype is not gradient.dtype or tensor.device != gradient.device:
        raise ValueError(
            f"{leaf_place(params, i, 'grads')} has dtype {gradient.dtype} on {gradient.device}, "
            f"but its parameter has dtype {tensor.dtype} on {tensor.device}; "
            "they must be the same."
        )
    if is_distributed(tensor) != is_distributed(gradient) or (
        is_distributed(tensor) and tensor.device_mesh != gradient.device_mesh  # pyright: ignore[reportAttributeAccessIssue]
    ):
        raise ValueError(
            f"{leaf_place(params, i, 'grads')} is {describe_placement(gradient)}, but its parameter is "
            f"{describe_placement(tensor)}; give a gradient that is spread over the processes of its parameter."
        )


def check_donated(tensors: Sequence[Tensor], params: Any) -> None:
    """Raise ValueError unless each parameter has memory of its own that can be written.

    Args:
        tensors: the leaves.
        params: the tree they are the leaves of.
    """
    if not all(map(Tensor.is_contiguous, tensors)):
        for i, tensor in enumerate(tensors):
            if any(stride == 0 and size > 1 for stride, size in _strides(tensor)):
                raise ValueError(
                    f"{leaf_place(params, i, 'params')} has elements that share memory (it is "
                    "expanded), which cannot be donated; copy it, or leave donate=True out."
                )
    plain = set(map(type, tensors)) <= _PLAIN
    if not plain or len(set(map(Tensor.data_ptr, tensors))) < len(tensors):
        _check_addresses(tensors, params)
    if any(map(Tensor.is_inference, tensors)) and not torch.is_inference_mode_enabled():
        i = [tensor.is_inference() for tensor in tensors].index(True)
        raise ValueError(
            f"{leaf_place(params, i, 'params')} was made in inference mode, and cannot be written "
            "outside of it; copy it, or leave donate=True out."
        )


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor fills the memory that it spans, each place once."""
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted(_strides(tensor)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def _strides(tensor: Tensor) -> list[tuple[int, int]]:
    """Return the stride and the size of each axis; none for a tensor that has no strides."""
    if tensor.layout is not torch.strided:
        return []
    return list(zip(tensor.stride(), tensor.shape, strict=True))


def _address(tensor: Tensor) -> int:
    """Return where a tensor begins; what has no memory of its own is known by its identity."""
    return (tensor.data_ptr() if type(tensor) in _PLAIN else 0) or id(tensor)


def _check_addresses(tensors: Sequence[Tensor], params: Any) -> None:
    seen: dict[int, int] = {}
    for i, tensor in enumerate(tensors):
        first = seen.setdefault(_address(tensor), i)
        if first != i:
            raise ValueError(
                f"{leaf_place(params, first, 'params')} and {leaf_place(params, i, 'params')} are "
                "one tensor, or views of one, whose memory cannot be donated twice; copy one of "
                "them, or leave donate=True out."
            )


def check_options(
    given: Mapping[str, Any], options: Mapping[str, Any], cls: type[torch.optim.Optimizer]
) -> dict[str, Any]:
    """Return the hyperparameters given for a step, as numbers, tensors of shape () and tuples.

    Args:
        given: the values by name.
        options: all hyperparameters, whose values say what may stand in their place, other than in
            somebody else's class.
        cls: the class they belong to.

    Raises:
        TypeError: there is no such hyperparameter, or it takes another kind of value.
        ValueError: it takes one number, or so many of them, and got another number of them.
    """
    owner = cls.__name__
    defaults = {name: _default(name, options, owner) for name in given}
    if not is_of_torch(cls):
        return dict(given)
    return {
        name: _checked(value, defaults[name], f"{owner}'s {name}") for name, value in given.items()
    }


def is_of_torch(cls: type[torch.optim.Optimizer]) -> bool:
    """Whether a class is one of `torch.optim`, and no subclass of one."""
    return getattr(torch.optim, cls.__name__, None) is cls


def _default(name: str, options: Mapping[str, Any], owner: str) -> Any:
    if name in options and name != "differentiable":
        return options[name]
    known = ", ".join(sorted(options.keys() - {"differentiable"}))
    raise TypeError(f"{owner} has no hyperparameter {name!r} to override; it has {known}.")


def _checked(value: Any, default: Any, name: str) -> Any:
    if isinstance(default, tuple | list):
        return _checked_tuple(value, default, name)
    if isinstance(default, Tensor) and default.numel() != 1:
        return value
    is_number = isinstance(default, _NUMBERS | Tensor) and not isinstance(default, bool)
    return _number(value, name) if is_number else value


def _checked_tuple(value: Any, default: tuple[Any, ...] | list[Any], name: str) -> tuple[Any, ...]:
    if hasattr(value, "__array__"):
        tensor = to_tensor(value, lambda: name)
        value = tensor.unbind() if tensor.dim() else tensor
    if not isinstance(value, tuple | list) or len(value) != len(default):
        raise ValueError(
            f"{name} must be a tuple of {len(default)} numbers, got {describe(value)}."
        )
    parts = zip(value, default, strict=True)
    return tuple([_checked(part, d, f"{name}[{i}]") for i, (part, d) in enumerate(parts)])


def _number(value: Any, name: str) -> Any:
    if isinstance(value, _NUMBERS):
        return value
    if not isinstance(value, Tensor) and getattr(value, "shape", None) == ():
        return value.item()  # of an array or a scalar of NumPy
    if not hasattr(value, "__array__"):
        raise TypeError(f"{name} must be a number or a tensor of shape (), got {describe(value)}.")
    tensor = to_tensor(value, lambda: name)
    if tensor.numel() != 1:
        raise ValueError(f"{name} must be one number, got {describe(tensor)}.")
    return tensor.reshape(())


def as_scalars(options: dict[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters with tensors of one element as tensors of shape ()."""
    return {name: _scalar(value) for name, value in options.items()}


def _scalar(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple([_scalar(part) for part in value])
    is_vector = isinstance(value, Tensor) and value.dim() > 0 and value.numel() == 1
    return value.reshape(()) if is_vector else value
