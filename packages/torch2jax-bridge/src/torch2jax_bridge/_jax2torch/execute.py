"""Runs of JAX programs on tensors: at once, or as a PyTorch operation where tensors have no values."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

import jax
import numpy as np
import torch

from torch2jax_bridge._avals import dtype_j2t, dtype_t2j
from torch2jax_bridge._compat import (
    batch_of_gradients,
    is_batched_gradient,
    is_plain,
    is_traced_for_user,
    number_of_modes,
)
from torch2jax_bridge._convert import is_dense, j2t, materialized, t2j
from torch2jax_bridge._jax2torch.context import refuse_forks
from torch2jax_bridge._jax2torch.program import Numbers, Program

_config: Any = jax.config
_ORDINARY = (torch.Tensor, torch.nn.Parameter)
SMALL = 1 << 17  # bytes
_NARROWER = {torch.int64: torch.int32, torch.uint64: torch.uint32}
# NumPy reads these through a dtype of the same size.
_THROUGH = {
    dtype_j2t(name): torch.uint8 if "8" in name else torch.uint16
    for name in (
        *("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz"),
        *("float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
    )
}


def run(program: Program, numbers: Numbers, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the program's results: real ones, or ones without values if the tensors have none."""
    if not number_of_modes() and all(map(_has_values, tensors)):
        try:
            return execute(program, numbers, tensors)
        except RuntimeError:
            if not any(map(is_batched_gradient, tensors)):
                raise
            return _execute_batched(program, numbers, tensors)
    return torch.ops.torch2jax_bridge.run(tensors, numbers, _key_of(program))


def execute(
    program: Program, numbers: Numbers, tensors: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """Convert, run and convert back; returns when the results are there."""
    refuse_forks()
    scope = _NO_SCOPE
    if _config.jax_enable_x64 != program.x64:
        scope = jax.enable_x64(program.x64)
    with scope, _current_device_kept(tensors):
        arrays = [_array(tensor, program) for tensor in tensors]
        outs = program.jitted(numbers, *arrays)
        return _own([_tensor(out) for out in outs], tensors)


_NO_SCOPE = nullcontext()


def _current_device_kept(tensors: Sequence[torch.Tensor]) -> AbstractContextManager[Any]:
    """In the `with` block XLA, which runs on the device of the tensors, may make it the current one."""
    on_gpu = bool(tensors) and tensors[0].is_cuda
    return torch.cuda.device_of(tensors[0]) if on_gpu else _NO_SCOPE


def _execute_batched(
    program: Program, numbers: Numbers, tensors: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """Return results for the batches that `torch.autograd.grad(is_grads_batched=True)` makes."""
    shown, hide = batch_of_gradients(tensors)
    dims = tuple(0 if is_batched_gradient(tensor) else None for tensor in tensors)
    batch = program.vmap(dims, shown[dims.index(0)].shape[0])
    return [hide(out) for out in run(batch, numbers, shown)]


def _has_values(tensor: torch.Tensor) -> bool:
    return (type(tensor) in _ORDINARY or is_plain(tensor)) and not tensor.is_meta


def _array(tensor: torch.Tensor, program: Program) -> Any:
    if not program.x64 and tensor.dtype in _NARROWER:
        tensor = _narrowed(tensor, program)
    if tensor.device.type == "cpu" and _is_numpy_cheap() and not _is_worth_sharing(tensor):
        return _numpy(tensor.contiguous())
    return t2j(tensor)


def _is_worth_sharing(tensor: torch.Tensor) -> bool:
    """Whether dimensions are permuted, and a copy would cost more than DLPack does."""
    return not tensor.is_contiguous() and tensor.nbytes > SMALL and is_dense(tensor)


def _narrowed(tensor: torch.Tensor, program: Program) -> torch.Tensor:
    narrow = tensor.to(_NARROWER[tensor.dtype])
    # On a GPU the host waits for this: an assertion in a kernel would end all work of the process.
    if not (narrow.to(tensor.dtype) == tensor).all():
        raise OverflowError(
            f"{program} was given a tensor of dtype {tensor.dtype} and shape {tuple(tensor.shape)} "
            f"with values beyond {narrow.dtype}, which is all that JAX has unless jax_enable_x64 is on."
        )
    return narrow


@cache
def _is_numpy_cheap() -> bool:
    """Whether a jitted function takes a NumPy array as it is: where its device is the CPU."""
    return jax.default_backend() == "cpu"


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    plain = materialized(tensor.detach())
    through = _THROUGH.get(plain.dtype)
    if through is None:
        return plain.numpy()
    return plain.view(through).numpy().view(dtype_t2j(plain.dtype))


def _tensor(array: jax.Array) -> torch.Tensor:
    if not _is_numpy_cheap():
        return j2t(array)
    try:
        return torch.from_dlpack(array.__dlpack__())
    except BufferError:
        if len(array.devices()) == 1:
            raise
    # In `jax.set_mesh` a program has all devices.
    device = min(array.devices(), key=lambda device: device.id)
    return torch.from_dlpack(jax.device_put(array, device).__dlpack__())


def _own(results: list[torch.Tensor], tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the results, copied where JAX returned an argument's memory: PyTorch may write to results."""
    given = {tensor.data_ptr() for tensor in tensors if tensor.numel()}
    if given.isdisjoint([result.data_ptr() for result in results]):
        return results
    return [r.clone() if r.data_ptr() in given else r for r in results]


# Programs that are part of a PyTorch graph, which names them only. What `jax2torch` returned owns
# them, but graphs that are the user's own may outlive it.
_in_graphs: WeakValueDictionary[str, Program] = WeakValueDictionary()
_in_graphs_of_users: set[Program] = set()


def _key_of(program: Program) -> str:
    if program.key is None:
        program.key = f"{program}-{uuid4().hex}"
        _in_graphs[program.key] = program
    if is_traced_for_user():
        _in_graphs_of_users.add(program)
    return program.key


def _named(key: str) -> Program:
    program = _in_graphs.get(key)
    if program is None:
        raise RuntimeError(
            f"A graph of PyTorch's calls the JAX function {key.rpartition('-')[0]}, which is gone: "
            "keep what jax2torch returned for as long as the graph is used."
        )
    return program


@torch.library.custom_op(
    "torch2jax_bridge::run",
    mutates_args=(),
    schema="(Tensor[] tensors, Scalar[] numbers, str program) -> Tensor[]",
)
def _run(tensors: Any, numbers: Any, program: str) -> Any:
    return execute(_named(program), tuple(numbers), tensors)


@_run.register_fake
def _shapes(tensors: Any, numbers: Any, program: str) -> Any:
    device = tensors[0].device if tensors else "cpu"
    outs = _named(program).outs
    return [torch.empty(o.shape, dtype=dtype_j2t(o.dtype), device=device) for o in outs]
