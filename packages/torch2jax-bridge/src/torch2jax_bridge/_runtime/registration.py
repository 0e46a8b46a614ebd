"""Registers the custom calls with XLA, and gives C++ what it needs of Python; ends them at exit."""

from __future__ import annotations

import atexit
import threading
from functools import cache
from typing import Any

import jax
import torch

import torch2jax_bridge._C as _C
from torch2jax_bridge._compat import native_grad_mode
from torch2jax_bridge._convert import why_unusable
from torch2jax_bridge._runtime._compat import native_import, native_tensors
from torch2jax_bridge._runtime.errors import report
from torch2jax_bridge._runtime.thread_state import switches

TARGET = "torch2jax_bridge_call"
SECONDS_AT_EXIT = 30.0


@cache
def register(platform: str) -> None:
    """Make the custom calls known to the XLA of a platform, "cpu" or "cuda".

    Done at the first lowering, when the platform's client exists: before, jaxlib would register
    the call before the type of its state, which XLA refuses.
    """
    name = {"cuda": "CUDA"}.get(platform, platform)
    state: Any = _C.state_types()[name]
    jax.ffi.register_ffi_type(f"{TARGET}_state", state, platform=name)
    jax.ffi.register_ffi_target(TARGET, _C.targets()[name], platform=name)


def watch_interrupts() -> None:
    """Let Ctrl-C in a call wait for the end of its program, as in programs of JAX's own.

    Done at every lowering, as `signal.signal` undoes it.
    """
    _C.watch_interrupts(threading.main_thread().ident or 0)


def _rescue(tensor: torch.Tensor) -> None:
    """Give a tensor that outlives its call, and all that share its storage, memory of their own."""
    tensor.share_memory_()


_C.use_tensor_type(torch.Tensor)
_C.use_native_tensors(*native_tensors())
_C.use_native_import(*native_import())
_C.use_native_grad_mode(*native_grad_mode())
_C.use_hooks(**switches(), report=report, unusable=why_unusable, rescue=_rescue)
# Registered after JAX's own clean-up, so run before it.
atexit.register(_C.shutdown, SECONDS_AT_EXIT)
