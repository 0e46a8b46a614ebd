"""What a call sets of the state of its thread, in PyTorch and JAX, and puts back at its end.

XLA calls on any of its threads, and PyTorch's state there is whatever the thread had last. So one
rule holds for all of it: what counts is the state where the function was traced. It is part of what
the trace is found by; it is set for each call, and at the end it is what was found, also where the
function itself has changed it. Gradients, inference mode and hooks of all graphs are always off: the
bridge takes the derivatives. The level of forward mode, which threads share, is pax_tree's.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache
from typing import Any, NamedTuple, Self
from weakref import WeakValueDictionary

import jax
import torch

import torch2jax_bridge._C as _C
from torch2jax_bridge._compat import (
    DispatchMode,
    execution_switch,
    pop_mode,
    push_mode,
    set_grad_enabled,
)
from torch2jax_bridge._runtime import _compat
from torch2jax_bridge._runtime.settings import CASTS, DENORMALS, SETTINGS, THREADS, Setting

_no_execution: Any = jax.no_execution
_one_thread = threading.RLock()


@contextmanager
def without_values() -> Iterator[None]:
    """In the `with` block a function may run on fake tensors, in one thread at a time.

    As in a call, PyTorch records no gradients and JAX executes no programs. Dispatch modes of the
    caller do not see what happens: it is no call yet. Functions of
    `torch.compile` run uncompiled: otherwise PyTorch would compile them for fake tensors, or, under
    a dispatch mode, never compile them again.
    """
    with _one_thread:
        # Before it is loaded nothing is compiled, and loading it takes seconds.
        is_loaded = "torch._dynamo" in sys.modules
        stance = torch.compiler.set_stance("force_eager") if is_loaded else nullcontext()
        mode = torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()
        with stance, mode, torch.no_grad(), _no_execution(True), _without_dispatch_modes():
            yield


@contextmanager
def _without_dispatch_modes() -> Iterator[None]:
    found = _compat.modes()
    if not found[1]:
        yield
        return
    _compat.set_modes((found[0], ()))
    try:
        yield
    finally:
        _compat.set_modes(found)


class ThreadMode(DispatchMode):
    """A mode of its thread alone, under which functions of `torch.compile` stay compiled."""

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        return True

    def __enter__(self) -> Self:
        if not push_mode:
            return super().__enter__()
        push_mode(self)
        return self

    def __exit__(self, *error: Any) -> None:
        if push_mode:
            pop_mode()
        else:
            super().__exit__(*error)


_here = threading.local()


_one_setting = threading.RLock()


class Settings:
    """PyTorch's settings where a function is traced. The same settings are the same object.

    Attributes:
        values: of `SETTINGS`.
        modes: those of `__torch_function__` and those of `__torch_dispatch__`.
        checks: say whether a thread has these settings now, as far as calls can depend on them;
            None if that takes too long to find out, so that each call sets them.
        checks_of_thread: say so of those settings that each thread has for itself.
    """

    def __init__(self, values: tuple[Any, ...], modes: _compat.Modes, checked: bool = True) -> None:
        self.values = values
        self.modes = modes
        casts = any(enabled for _, enabled, _ in values[CASTS])
        plain = checked and not (casts or any(modes))
        self.checks = self.checks_of_thread = self._all_checks = None
        if plain:
            called = [setting for setting in SETTINGS if not setting.only_traces]
            own = [setting for setting in called if setting.of_thread]
            self.checks = _checks(called, _compat.NO_MODE)
            self.checks_of_thread = self.checks and _checks(own, _compat.NO_MODE_BEGUN)
            self._all_checks = _checks(SETTINGS, _compat.NO_MODE)

    def are_current(self) -> bool:
        """Whether this thread has these settings now; False where it takes longer to find out."""
        return self._all_checks is not None and self._all_checks.hold()

    def unchecked(self) -> Settings:
        """Return the same for a function that changes them: each call sets and restores them."""
        return Settings(self.values, self.modes, checked=False)

    @property
    def flushes_denormals(self) -> bool:
        """Whether denormal numbers are zeros."""
        return self.values[DENORMALS]


def _checks(settings: Sequence[Setting], no_mode: _compat.NoMode) -> _C.Checks | None:
    """Return what holds now, in no mode; None if that is not always said by the same objects."""
    watched = [getter for setting in settings for getter in setting.watched]
    now = [(getter, getter()) for getter in watched]
    if any(getter() is not value for getter, value in now):
        return None
    native, items, in_python = [], [], []
    for getter, value in (*no_mode, *now):
        if isinstance(getter, _compat.NativeGetter):
            native.append((getter, value))
        elif isinstance(getter, _compat.ItemGetter):
            items.append((getter, value))
        else:
            in_python.append((getter, value))
    return _C.Checks(in_python, native, items)


_known: WeakValueDictionary[Hashable, Settings] = WeakValueDictionary()
_latest: list[Settings] = []


def current_settings() -> Settings:
    """Return PyTorch's settings on this thread."""
    latest = _latest[-1] if _latest else None
    if latest is not None and latest.are_current():
        return latest
    values, modes = _values(), _compat.plain_modes()
    key = (values, *(tuple(map(_identity, some)) for some in modes))
    found = _known.get(key)
    if found is None:
        found = _known[key] = Settings(values, modes)
    if found.are_current():
        _latest[:] = [found]
    return found


def _values() -> tuple[Any, ...]:
    return tuple(setting.get() for setting in SETTINGS)


def _identity(mode: Any) -> Hashable:
    return ("device", str(mode.device)) if isinstance(mode, _compat.DeviceMode) else id(mode)


def _set_values(wanted: tuple[Any, ...], of_thread: bool = False) -> None:
    """Set what differs, and which each thread has for itself if that is asked for."""
    with _one_setting:
        for setting, value in zip(SETTINGS, wanted, strict=True):
            left_out = of_thread and not setting.of_thread
            if value is not None and not left_out and setting.get() != value:
                setting.put(value)


class FoundSettings(NamedTuple):
    """What a thread had before; and with how many threads it was told to compute."""

    values: tuple[Any, ...]
    modes: _compat.Modes
    device_mode: Any
    no_hooks: str | None
    switched_off: ExitStack
    threads: int


def enter_settings(wanted: Settings) -> FoundSettings:
    """Give this thread other settings; inference mode, and hooks of all graphs, are off.

    Returns:
        What `leave_settings` needs.
    """
    found = FoundSettings(
        _values(),
        _compat.modes(),
        _compat.default_device_mode(),
        _compat.why_no_hooks(),
        ExitStack(),
        wanted.values[THREADS],
    )
    _compat.set_modes(((), ()))
    if torch.is_inference_mode_enabled():
        found.switched_off.enter_context(torch.inference_mode(False))
    if found.no_hooks is not None:
        _compat.allow_hooks()
    if _compat.hooks_of_graphs() is not None:
        hooks = torch.autograd.graph.saved_tensors_hooks(_unchanged, _unchanged)
        found.switched_off.enter_context(hooks)
    _set_values(wanted.values)
    _compat.set_modes(wanted.modes)
    devices = [mode for mode in wanted.modes[0] if isinstance(mode, _compat.DeviceMode)]
    _compat.set_default_device_mode(devices[-1] if devices else None)
    return found


def _unchanged(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def leave_settings(found: FoundSettings) -> None:
    """Undo `enter_settings`."""
    _leave_thread(found.threads)
    _drop_hooks_begun()
    _set_values(found.values)
    found.switched_off.close()
    if found.no_hooks is not None:
        _compat.forbid_hooks(found.no_hooks)
    _compat.set_default_device_mode(found.device_mode)
    _compat.set_modes(found.modes)


def _leave_thread(threads: int) -> None:
    """End what a function has begun on this thread and not ended, which had so many threads."""
    _compat.set_modes(((), ()))
    if _compat.why_no_hooks() is not None:
        _compat.allow_hooks()
    if any(map(torch.is_autocast_enabled, ("cpu", "cuda"))):
        torch.clear_autocast_cache()  # it holds casts of arguments
    if torch.get_num_threads() != threads:  # the function told all threads to come as well
        torch.set_num_threads(threads)


def _drop_hooks_begun() -> None:
    """End the hooks of all graphs that a function has begun; those below are of `enter_settings`."""
    while _compat.hooks_of_graphs() not in (None, (_unchanged, _unchanged)):
        _compat.drop_hooks_of_graphs()


def restore_settings(settings: Settings) -> None:
    """Give this thread back what it had before a call that had nothing to set.

    Those of the whole process stay: another thread may have set them meanwhile.
    """
    _leave_thread(settings.values[THREADS])
    _drop_hooks_begun()
    _set_values(settings.values, of_thread=True)
    _compat.set_default_device_mode(None)


def switches() -> dict[str, Callable[..., Any]]:
    """Return the functions with which C++ sets the state of a call, and puts back what it found.

    PyTorch records no gradients and has the settings of the trace, JAX executes no programs, and
    PyTorch's stream is XLA's.
    """
    forbid, restore = execution_switch()
    streams = StreamSwitch()
    return {
        "is_grad_enabled": torch.is_grad_enabled,
        "set_grad_enabled": set_grad_enabled,
        "forbid_execution": forbid,
        "restore_execution": restore,
        "enter_settings": enter_settings,
        "leave_settings": leave_settings,
        "restore_settings": restore_settings,
        "enter_stream": streams.enter,
        "leave_stream": streams.leave,
    }


class Found(NamedTuple):
    """What was current before."""

    device: int
    stream: Any
    run: Hashable


class StreamSwitch:
    """Makes streams of XLA's PyTorch's current ones.

    The host waits for nothing: work that PyTorch enqueues in between is ordered with XLA's work by the
    stream itself, and memory that PyTorch frees is reused in stream order. XLA's stream waits for what
    PyTorch has yet to do on this thread's stream, where tensors that a function has captured are made.

    Args:
        cuda: the module to use; tests pass a stand-in for `torch.cuda`.
    """

    def __init__(self, cuda: Any = torch.cuda) -> None:
        self._cuda = cuda
        self._external = cache(lambda pointer, ordinal: cuda.ExternalStream(pointer, ordinal))

    def enter(self, pointer: int, ordinal: int, run: int) -> Found:
        """Make a stream the current one of its device, and its device the current one.

        Args:
            pointer: the address of the `cudaStream_t`.
            ordinal: the local ordinal of the stream's device, the same in XLA and PyTorch.
            run: XLA's number for the run of the program.

        Returns:
            What `leave` needs to undo it.
        """
        cuda = self._cuda
        found = Found(cuda.current_device(), cuda.current_stream(ordinal), current_run())
        external = self._external(pointer, ordinal)
        if not found.stream.query():
            external.wait_stream(found.stream)
        cuda.set_stream(external)
        _here.run = (run, pointer)
        return found

    def leave(self, found: Found) -> None:
        """Undo `enter`."""
        _here.run = found.run
        self._cuda.set_stream(found.stream)
        if self._cuda.current_device() != found.device:
            self._cuda.set_device(found.device)


def current_run() -> Hashable:
    """Return what names the run of a program, and its stream, that this thread is in on a GPU."""
    return getattr(_here, "run", None)
