"""What joins Python callables to XLA's custom calls: registration, the call itself, the end."""

import atexit
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import jax
import torch

from torch2jax_bridge import _C
from torch2jax_bridge._stream import stream_scope

TARGET = "torch2jax_bridge_call"
SECONDS_AT_EXIT = 30.0

T = TypeVar("T")
Tensors = tuple[torch.Tensor, ...]


def guarded(call: Callable[..., T]) -> Callable[..., T]:
    """The callable as XLA runs it: without gradients, and with JAX refusing to execute.

    A function that waits for JAX inside of a JAX program can wait for ever, as the thread it
    stands on may be the one that would have to run the other program; so JAX raises there.
    """
    is_grad_enabled, set_grad_enabled = torch.is_grad_enabled, torch._C._set_grad_enabled
    no_execution = jax.no_execution

    def run(*tensors: torch.Tensor) -> T:
        before = is_grad_enabled()
        set_grad_enabled(False)
        try:
            with no_execution(True):
                return call(*tensors)
        finally:
            set_grad_enabled(before)

    return run


def keep(call: Callable[..., Tensors]) -> _C.Handle:
    """A handle whose number names the callable in a custom call, for as long as it lives."""
    return _C.Handle(guarded(call))


@cache
def register(platform: str) -> None:
    """Make the custom call known to the XLA of a platform, "cpu" or "cuda".

    Done at the first lowering, when the platform's client exists: before, jaxlib would register
    the call before the type of its state, which XLA refuses.
    """
    name = {"cuda": "CUDA"}.get(platform, platform)
    state: Any = _C.state_type()
    jax.ffi.register_ffi_type(f"{TARGET}_state", state, platform=name)
    jax.ffi.register_ffi_target(TARGET, _C.targets()[name], platform=name)


_C.use_tensor_type(torch.Tensor)
_C.use_stream_scope(stream_scope)
# Registered after JAX's own clean-up, so run before it.
atexit.register(_C.shutdown, SECONDS_AT_EXIT)
