"""Other ways to call PyTorch from jitted JAX, and what a call costs at least."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import torch
from jax.experimental.buffer_callback import buffer_callback

from benchmarks.case import Program
from torch2jax_bridge import _C

Arrays = tuple[jax.Array, ...]
TorchFunction = Callable[..., torch.Tensor]


def by_buffer_callback(function: TorchFunction, like: Any) -> Callable[..., jax.Array]:
    """One result, of the shape and dtype of `like`, by `jax.experimental.buffer_callback`."""

    def call(context: Any, out: Any, *arguments: Any) -> None:
        torch.from_dlpack(out).copy_(function(*map(torch.from_dlpack, arguments)))

    def call_on_stream(context: Any, out: Any, *arguments: Any) -> None:
        with torch.cuda.stream(torch.cuda.ExternalStream(context.stream)):
            call(context, out, *arguments)

    chosen = call_on_stream if jax.default_backend() == "gpu" else call
    return buffer_callback(chosen, jax.ShapeDtypeStruct(like.shape, like.dtype))


def by_pure_callback(function: TorchFunction, like: Any) -> Callable[..., jax.Array]:
    """One result, of the shape and dtype of `like`, by `jax.pure_callback`."""

    def call(*arguments: Any) -> Any:
        return function(*map(torch.from_dlpack, arguments)).numpy(force=True)

    shape = jax.ShapeDtypeStruct(like.shape, like.dtype)
    return lambda *arguments: jax.pure_callback(call, shape, *arguments)


def by_wrap_torch2jax(function: TorchFunction, like: Any) -> Callable[..., jax.Array]:
    """One result, of the shape and dtype of `like`, by rdyro's torch2jax; it compiles at first use."""
    from wrap_torch2jax import torch2jax

    shape = jax.ShapeDtypeStruct(like.shape, like.dtype)
    return lambda *arguments: torch2jax(function, *arguments, output_shapes=shape)(*arguments)


def working(programs: dict[str, Program]) -> dict[str, Program]:
    """The programs of peers that run here; says what is left out, and why."""
    found = {}
    for name, program in programs.items():
        try:
            jax.block_until_ready(program())
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            print(f"{name} is left out: {type(error).__name__}: {reason}", file=sys.stderr)
        else:
            found[name] = program
    return found


def peers() -> dict[str, Callable[[TorchFunction, Any], Callable[..., jax.Array]]]:
    """The peers that are installed."""
    found = {"buffer_callback": by_buffer_callback, "pure_callback": by_pure_callback}
    if find_spec("wrap_torch2jax") is not None:
        found["wrap-torch2jax"] = by_wrap_torch2jax
    return found


@cache
def _register_nothing() -> str:
    jax.devices()
    for platform in ("cpu", "CUDA"):
        jax.ffi.register_ffi_target("bridge_nothing", _C.empty_target(), platform=platform)
    return "bridge_nothing"


def nothing(like: Any) -> Callable[..., jax.Array]:
    """An XLA custom call that does nothing, with a result of the shape and dtype of `like`."""
    shape = jax.ShapeDtypeStruct(like.shape, jnp.dtype(like.dtype))
    return jax.ffi.ffi_call(_register_nothing(), shape)
