"""Arrays to tensors and back, without a copy where both libraries allow it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import torch
from jax.core import Tracer

import torch2jax_bridge._C as _C
from pax_tree import tree_map
from torch2jax_bridge._avals import canonical, dtype_j2t, dtype_t2j
from torch2jax_bridge._compat import is_plain, is_transformed, is_zero_tensor, uncommitted

# DLPack's numbers for the kind of device, and for CUDA's default stream.
_CUDA = 2
_DEFAULT_STREAM = 1
ALIGNMENT = 64  # bytes; XLA copies memory on a CPU that begins elsewhere


def j2t(array: jax.Array, *, copy: bool | None = None) -> torch.Tensor:
    """Return a tensor with the values of a JAX array, on the same device.

    It shares the array's memory unless `copy` is true, and keeps that memory alive. A tensor that
    shares memory must not be written to: JAX takes its arrays to be constant.

    Args:
        array: any shape, any dtype that PyTorch has, on one device.
        copy: whether the tensor has memory of its own and may be written to. `None` and `False`
            never copy.

    Returns:
        The tensor: same shape, same dtype.

    Raises:
        TypeError: `array` is no JAX array, is being traced, or has a dtype unknown to PyTorch.
        ValueError: `array` is spread over several devices, or was donated.

    Example:
        >>> j2t(jnp.arange(3.0))
        tensor([0., 1., 2.])
    """
    _check_array(array)
    tensor = _borrowed(array)
    return tensor.clone() if copy else tensor


def t2j(tensor: torch.Tensor, *, copy: bool | None = None) -> jax.Array:
    """Return a JAX array with the values of a tensor, on the same device.

    It shares the tensor's memory where JAX can use it as it is, and keeps that memory alive; the
    tensor must not be written to afterwards. It is a copy where the tensor has gaps or repeats
    (a step, an `expand`), is lazily conjugated or negated, has a dtype of 64 bits while
    `jax_enable_x64` is off (the array then has 32), lies in memory that other processes may write
    to (as batches of a `DataLoader` with workers do), or does not begin at a multiple of 64 bytes
    on a CPU. Gradients are not tracked. With `copy=True` the array is not committed to its device,
    so that it may enter programs of several devices, as arrays may that JAX makes.

    Args:
        tensor: any shape, strided.
        copy: `None` copies where it is needed, `True` always, `False` never, also of memory that
            other processes have.

    Returns:
        The array: same shape, same dtype up to 64 bits.

    Raises:
        TypeError: `tensor` is no strided tensor with values, or has a dtype unknown to JAX.
        ValueError: a copy is needed and `copy` is `False`, or JAX has no such device.

    Example:
        >>> t2j(torch.ones(2, 3).T).shape
        (3, 2)
        >>> t2j(torch.arange(6.0)[::2], copy=False)
        Traceback (most recent call last):
        ...
        ValueError: t2j cannot share the memory of a tensor of shape (3,), because its strides ...
    """
    _check_tensor(tensor)
    if copy is False:
        _require_shareable(tensor)
    values = materialized(tensor.detach().to(dtype_j2t(canonical(tensor.dtype))))
    if copy or (copy is None and _is_shared(tensor)):
        values = values.clone(memory_format=torch.contiguous_format)
    array = _import(values if is_dense(values) else values.contiguous())
    return uncommitted(array) if copy else array


def tree_j2t(tree: Any, *, copy: bool | None = None) -> Any:
    """Return the tree with every JAX array replaced by `j2t` of it; other leaves are unchanged.

    Args:
        tree: any pytree.
        copy: as for `j2t`.

    Returns:
        A tree of the same structure.

    Example:
        >>> tree_j2t({"a": jnp.zeros(2), "b": "text"})
        {'a': tensor([0., 0.]), 'b': 'text'}
    """
    convert = partial(j2t, copy=copy)
    return tree_map(lambda leaf: convert(leaf) if isinstance(leaf, jax.Array) else leaf, tree)


def tree_t2j(tree: Any, *, copy: bool | None = None) -> Any:
    """Return the tree with every tensor replaced by `t2j` of it; other leaves are unchanged.

    Args:
        tree: any pytree.
        copy: as for `t2j`.

    Returns:
        A tree of the same structure.

    Example:
        >>> tree_t2j([torch.zeros(2), "text"])
        [Array([0., 0.], dtype=float32), 'text']
    """
    convert = partial(t2j, copy=copy)
    return tree_map(lambda leaf: convert(leaf) if isinstance(leaf, torch.Tensor) else leaf, tree)


def materialized(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor with its values in memory as they are: not conjugated, negated or zero lazily."""
    if is_zero_tensor(tensor):
        return torch.zeros(tensor.shape, dtype=tensor.dtype, device=tensor.device)
    return tensor.resolve_conj().resolve_neg()


def is_dense(tensor: torch.Tensor) -> bool:
    """Whether the elements lie side by side, in whatever order of the dimensions."""
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True


def why_unusable(tensor: torch.Tensor) -> str | None:
    """Return why a tensor can be no result of a function, and what helps; None if it can be one."""
    if not is_plain(tensor):
        return f"a {type(tensor).__name__}, which has no memory of its own; give back its values"
    return why_not_dense(tensor)


QUANTIZED = "a quantized tensor; give back its .dequantize(), or its .int_repr()"


def why_not_dense(tensor: torch.Tensor) -> str | None:
    """Return why a tensor is not one that lies in memory as JAX's do; None if it is."""
    if tensor.is_nested:
        return "a nested tensor; make it dense with torch.nested.to_padded_tensor"
    if tensor.is_quantized:
        return QUANTIZED
    if tensor.layout is not torch.strided:
        return f"a tensor of the layout {tensor.layout}; make it dense with .to_dense()"
    if tensor.device.type == "meta":
        return "a tensor on the device meta, which has no values; make it on another device"
    return None


def _check_array(array: Any) -> None:
    if isinstance(array, Tracer):
        raise TypeError(f"j2t needs a concrete array, got the tracer {array}; use torch2jax.")
    if not isinstance(array, jax.Array):
        raise TypeError(f"j2t converts JAX arrays, got {array!r} of type {type(array).__name__}.")
    if array.is_deleted():
        raise ValueError(f"j2t needs an array that is alive, got a donated one: {array.aval}.")
    dtype_j2t(array.dtype)
    if len(array.sharding.device_set) > 1:
        raise ValueError(
            f"j2t needs an array on one device, got one of shape {array.shape} on "
            f"{len(array.sharding.device_set)}; move it with jax.device_put first."
        )


def _borrowed(array: Any) -> torch.Tensor:
    kind, ordinal = array.__dlpack_device__()
    if kind != _CUDA:
        return torch.from_dlpack(array)
    stream = torch.cuda.current_stream(ordinal).cuda_stream
    with torch.cuda.device(ordinal):  # XLA changes the current device; at the end it is what it was
        return _C.borrow_array(array.__dlpack__(stream=stream or _DEFAULT_STREAM), stream)


def _check_tensor(tensor: Any) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"t2j converts tensors, got {tensor!r} of type {type(tensor).__name__}.")
    if is_transformed(tensor):
        raise TypeError(
            "t2j needs a tensor with values, got one inside a transform; use jax2torch."
        )
    if tensor.layout is not torch.strided or tensor.is_nested:
        kind = "a nested one" if tensor.is_nested else tensor.layout
        raise TypeError(f"t2j converts strided tensors, got {kind}; make it dense first.")
    if tensor.device.type == "meta" or not is_plain(tensor):
        raise TypeError(
            f"t2j needs a tensor with memory of its own, got a {type(tensor).__name__} on the "
            f"device {tensor.device}; use jax2torch."
        )


def _is_shared(tensor: torch.Tensor) -> bool:
    """Whether other processes may write to the memory of a tensor."""
    return tensor.device.type == "cpu" and tensor.untyped_storage().is_shared()


def _require_shareable(tensor: torch.Tensor) -> None:
    reason = next(_obstacles(tensor), None)
    if reason is not None:
        raise ValueError(
            f"t2j cannot share the memory of a tensor of shape {tuple(tensor.shape)}, because "
            f"{reason}; pass copy=None for a copy."
        )


def _obstacles(tensor: torch.Tensor) -> Iterator[str]:
    """Why JAX cannot use the memory of a tensor as it is."""
    if (dtype := canonical(tensor.dtype)) != dtype_t2j(tensor.dtype):
        yield f"JAX makes {dtype} of {tensor.dtype} unless jax_enable_x64 is on"
    if tensor.is_conj():
        yield "its conjugation is not done yet"
    if tensor.is_neg():
        yield "its negation is not done yet"
    if is_zero_tensor(tensor):
        yield "it has none, being made of zeros"
    if not is_dense(tensor):
        yield f"its strides {tensor.stride()} leave gaps or repeats"
    if tensor.device.type == "cpu" and tensor.data_ptr() % ALIGNMENT:
        yield f"it begins {tensor.data_ptr() % ALIGNMENT} bytes after a multiple of {ALIGNMENT}"


class _Exporter:
    """A CPU tensor as DLPack sees it. PyTorch calls pinned memory CUDA's, where JAX may have none."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **_: Any) -> Any:
        return torch.to_dlpack(self._tensor)


def _import(tensor: torch.Tensor) -> jax.Array:
    on_cpu = tensor.device.type == "cpu"
    # PyTorch exports tensors of its current device only.
    with nullcontext() if on_cpu else torch.cuda.device_of(tensor):
        try:
            return jnp.from_dlpack(_Exporter(tensor) if on_cpu else tensor)
        except RuntimeError as error:
            if on_cpu or _has_gpu():
                raise
            raise ValueError(
                f"t2j was given a tensor on {tensor.device}, but this JAX has no such device; "
                "move the tensor with .cpu()."
            ) from error


def _has_gpu() -> bool:
    try:
        return bool(jax.devices("gpu"))
    except RuntimeError:
        return False
