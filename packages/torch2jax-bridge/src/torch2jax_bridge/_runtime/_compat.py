"""What calls use of PyTorch beyond its public names, and what happens without it."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch

import torch2jax_bridge._C as _C
from pax_tree._foreign import foreign
from torch2jax_bridge._compat import (
    DispatchMode,
    native_address,
    native_library,
    number_of_modes,
    pop_mode,
    push_mode,
)

_MODES = "PyTorch's modes of a trace in the calls of its program"
_function_modes: Callable[[], int] = foreign(
    "torch._C._len_torch_function_stack", _MODES, lambda: 0
)
_function_mode_at: Any = foreign("torch._C._get_function_stack_at", _MODES)
_push_function_mode: Any = foreign("torch._C._push_on_torch_function_stack", _MODES)
_pop_function_mode: Any = foreign("torch._C._pop_torch_function_stack", _MODES)
_dispatch_mode_at: Any = foreign("torch._C._get_dispatch_stack_at", _MODES)
# What `torch.set_default_device` and `with torch.device(...)` enter.
DeviceMode: Any = foreign("torch.utils._device.DeviceContext", _MODES, ())

_of_devices: Any = foreign("torch._GLOBAL_DEVICE_CONTEXT", _MODES, None)


def default_device_mode() -> Any:
    """Return the mode that `torch.set_default_device` has made on this thread, or None."""
    return getattr(_of_devices, "device_context", None)


def set_default_device_mode(mode: Any) -> None:
    """Let `torch.set_default_device` take this for what it has made, without entering it."""
    if default_device_mode() is not mode:
        _of_devices.device_context = mode


Modes = tuple[tuple[Any, ...], tuple[Any, ...]]


def modes() -> Modes:
    """Return the function modes and the dispatch modes that this thread is in, outermost first."""
    return (
        tuple(map(_function_mode_at, range(_function_modes()))),
        tuple(map(_dispatch_mode_at, range(number_of_modes()))),
    )


def plain_modes() -> Modes:
    """Return the same without those that put other things in the place of tensors, or note programs."""
    functions, dispatch = modes()
    return functions, tuple(m for m in dispatch if getattr(m, "_mode_key", None) is None)


def set_modes(wanted: Modes) -> None:
    """Let this thread be in these modes and in no others."""
    while _function_modes():
        _pop_function_mode()
    while number_of_modes():
        pop_mode()
    for mode in wanted[0]:
        _push_function_mode(mode)
    for mode in wanted[1]:
        push_mode(mode)


def _unknown() -> None:
    """Read a setting that this PyTorch does not have."""


_SETTINGS = "the settings of a trace in its calls"


class NativeGetter(NamedTuple):
    """A function of PyTorch's C++ that returns a number, at a tenth of the cost of Python's.

    Attributes:
        address: where it is.
        arguments: its arguments, any where it takes fewer.
        mask: the bits of the register that the result has.
    """

    address: int
    arguments: tuple[int, int, int]
    mask: int

    def __call__(self) -> int:
        number = ctypes.c_int64
        function = ctypes.CFUNCTYPE(number, number, number, number)(self.address)
        return function(*self.arguments) & self.mask


class ItemGetter(NamedTuple):
    """What a variable of a module, or another dict, has."""

    holder: dict[str, Any]
    name: str

    def __call__(self) -> Any:
        return self.holder.get(self.name)


Getter = Callable[[], Any]
_NUMBER, _BYTE = -1, 0xFF
_NO_ARGUMENTS = (0, 0, 0)


@functools.cache
def _thread_count_setter() -> Callable[[int], Any]:
    names = ("omp_set_num_threads", "MKL_Set_Num_Threads_Local")  # not all builds have the second
    addresses = [address for name in names if (address := native_address(name))]
    setters = [ctypes.CFUNCTYPE(None, ctypes.c_int)(address) for address in addresses]

    def put(count: int) -> None:
        for setter in setters:
            setter(count)

    before = torch.get_num_threads()
    put(before + 1)
    works = torch.get_num_threads() == before + 1
    put(before)
    return put if works else torch.set_num_threads


def set_num_threads_here(count: int) -> None:
    """Set with how many threads this thread computes.

    `torch.set_num_threads` sets it for every thread to come as well. Where PyTorch was built without
    OpenMP, or it is not found, there is nothing else.
    """
    _thread_count_setter()(count)


@functools.cache
def _context() -> int:
    """Return where PyTorch's settings of the process are, 0 if that is not known."""
    address = native_address("_ZN2at13globalContextEv")
    return NativeGetter(address, _NO_ARGUMENTS, _NUMBER)() if address else 0


def quick(getter: Getter, symbol: str, *arguments: int) -> Getter:
    """Return the function of PyTorch's C++ that says what a function of Python says, or that function.

    Args:
        getter: the function of Python; for the same setting it returns the same object.
        symbol: what compilers call the other.
        *arguments: of the other.
    """
    address = native_address(symbol)
    first, second, third, *_ = (*arguments, *_NO_ARGUMENTS)
    native = NativeGetter(address, (first, second, third), _BYTE)
    return native if address and native() == _as_number(getter()) else getter


def quick_of_process(getter: Getter, name: str) -> Getter:
    """Return the method of `at::Context` that says what a function of Python says, or that function."""
    if not _context():
        return getter
    return quick(getter, f"_ZNK2at7Context{len(name)}{name}Ev", _context())


_PRECISIONS = ("none", "ieee", "tf32", "bf16")
_DTYPES = {torch.float16: 5, torch.float32: 6, torch.float64: 7, torch.bfloat16: 15}


def _as_number(value: Any) -> Any:
    """Return what C++ has in the place of a value of Python's."""
    if isinstance(value, str):
        return _PRECISIONS.index(value) if value in _PRECISIONS else None
    return _DTYPES.get(value) if isinstance(value, torch.dtype) else value


class Precision(NamedTuple):
    """With what precision one kind of operations multiplies numbers of 32 bits.

    Attributes:
        get: says it, as `fp32_precision` of the modules of `torch.backends` does.
        put: sets it.
        quick: changes with it.
    """

    get: Getter
    put: Callable[[Any], Any]
    quick: Getter


_PRECISION = "_ZNK2at7Context16float32PrecisionENS_14Float32BackendENS_9Float32OpE"
_get_precision: Any = foreign(
    "torch._C._get_fp32_precision_getter", _SETTINGS, lambda backend, operation: "none"
)
_set_precision: Any = foreign(
    "torch._C._set_fp32_precision_setter", _SETTINGS, lambda backend, operation, value: None
)


def _precision(backend: str, operation: str) -> Precision:
    def get() -> str:
        return sys.intern(_get_precision(backend, operation))

    numbers = _BACKENDS.index(backend), _OPERATIONS.index(operation)
    known = quick(get, _PRECISION, _context(), *numbers) if _context() else get
    return Precision(get, partial(_set_precision, backend, operation), known)


_BACKENDS, _OPERATIONS = ("generic", "cuda", "mkldnn"), ("all", "conv", "rnn", "matmul")
# Those first from which others inherit.
PRECISIONS: tuple[Precision, ...] = (
    _precision("generic", "all"),
    *(_precision(backend, kind) for backend in ("cuda", "mkldnn") for kind in _OPERATIONS),
)


def _anomaly_flag(getter: Getter, name: str) -> Getter:
    symbol = f"_ZN5torch8autograd11AnomalyMode{len(name)}{name}E"
    address = native_address(symbol)
    native = NativeGetter(_C.byte_at(), (address, 0, 0), _BYTE)
    return native if address and native() == getter() else getter


ANOMALY: tuple[Getter, ...] = (
    _anomaly_flag(torch.is_anomaly_enabled, "_enabled"),
    _anomaly_flag(torch.is_anomaly_check_nan_enabled, "_check_nan"),
)
# Whether objects say themselves what PyTorch's functions do with them.
get_function_state: Getter = foreign("torch._C._get_torch_function_state", _SETTINGS, _unknown)
set_function_state: Any = foreign("torch._C._set_torch_function_state", _SETTINGS, _unknown)
_FUNCTION_STATE = native_address("_ZN2at4impl22PythonTorchFunctionTLS18get_disabled_stateEv")
FUNCTION_STATE: tuple[Getter, ...] = (
    (NativeGetter(_FUNCTION_STATE, _NO_ARGUMENTS, _BYTE),) if _FUNCTION_STATE else ()
)
FAST_ATTENTION: Getter = (
    ItemGetter(torch.backends.mha.__dict__, "_is_fastpath_enabled")
    if foreign("torch.backends.mha._is_fastpath_enabled", _SETTINGS, None) is not None
    else torch.backends.mha.get_fastpath_enabled
)
_nnpack: Getter = foreign("torch._C._get_nnpack_enabled", _SETTINGS, _unknown)
NNPACK: tuple[Getter, Callable[[Any], Any], Getter] = (
    *(_nnpack, foreign("torch._C._set_nnpack_enabled", _SETTINGS, lambda value: None)),
    quick_of_process(_nnpack, "userEnabledNNPACK"),
)
_sdp_order: Getter = foreign("torch._C._get_sdp_priority_order", _SETTINGS, lambda: ())
set_sdp_order: Any = foreign("torch._C._set_sdp_priority_order", _SETTINGS, lambda order: None)
_known_orders: dict[tuple[int, ...], tuple[int, ...]] = {}


def sdp_order() -> tuple[int, ...]:
    """Return which kernel of attention is tried first; the same object for the same order."""
    order = tuple(_sdp_order())
    return _known_orders.setdefault(order, order)


# What a thread does with the tensors of every graph, as `torch.autograd.graph.save_on_cpu` says.
hooks_of_graphs: Getter = partial(
    foreign("torch._C._autograd._top_saved_tensors_default_hooks", _MODES, lambda always: None),
    True,
)
drop_hooks_of_graphs: Any = foreign(
    "torch._C._autograd._pop_saved_tensors_default_hooks", _MODES, _unknown
)
# Whether there may be any, as `torch.autograd.graph.disable_saved_tensors_hooks` says.
why_no_hooks: Getter = foreign(
    "torch._C._autograd._saved_tensors_hooks_get_disabled_error_message", _MODES, _unknown
)
allow_hooks: Any = foreign("torch._C._autograd._saved_tensors_hooks_enable", _MODES, _unknown)
forbid_hooks: Any = foreign(
    "torch._C._autograd._saved_tensors_hooks_disable", _MODES, lambda message: None
)


def _of_mode(
    getter: Getter, none: Any, mode: Callable[[], Any], *native: NativeGetter
) -> tuple[tuple[Getter, Any], ...]:
    """Return what says that a thread is in no mode of a kind: functions, and what they then return.

    Args:
        getter: a function of Python that says it.
        none: what it then returns.
        mode: makes a context in such a mode, without effect on other threads.
        *native: functions of PyTorch's C++ which all return 0 then, if they are known.
    """
    in_python = ((getter, none),)
    if not all(function.address for function in native):
        return in_python

    def agree() -> bool:
        return any(function() for function in native) == (getter() != none)

    before = agree()
    try:
        with mode():
            return tuple((f, 0) for f in native) if before and agree() else in_python
    except RuntimeError:  # such a mode cannot be entered
        return in_python


@contextmanager
def _dispatch_mode() -> Iterator[None]:
    push_mode(DispatchMode())
    try:
        yield
    finally:
        pop_mode()


@contextmanager
def _autocast(device: str = "cpu") -> Iterator[None]:
    before = torch.is_autocast_enabled(device)
    torch.set_autocast_enabled(device, True)
    try:
        yield
    finally:
        torch.set_autocast_enabled(device, before)


def _casts() -> bool:
    return any(map(torch.is_autocast_enabled, ("cpu", "cuda")))


def _hooks() -> Any:
    return torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x)


_HOOKS = native_address("_ZN2at23SavedTensorDefaultHooks13get_tls_stateEv")
_HOOKS_ALLOWED = native_address("_ZN2at23SavedTensorDefaultHooks10is_enabledEv")
_FUNCTION_MODES = native_address("_ZN2at4impl22PythonTorchFunctionTLS9get_stateEv")
_KEYS = native_library("_ZN3c104impl26raw_local_dispatch_key_setE")
_INFERENCE_MODE = native_address("_ZN3c1013InferenceMode10is_enabledEv")
NoMode = tuple[tuple[Getter, Any], ...]


def _is_in_modes() -> NativeGetter | None:
    """Return what says in one call whether a thread is in a mode that a function may begin and not end.

    PyTorch finds kernels by keys of the thread, which dispatch modes and autocast change.
    """
    if not (_KEYS and _HOOKS and _FUNCTION_MODES):
        return None
    _C.use_native_modes(_KEYS, _HOOKS, _FUNCTION_MODES)
    of_keys = [_dispatch_mode, *(partial(_autocast, device) for device in ("cpu", "cuda"))]
    outside, included, excluded = _C.keys_of_thread(), 0, 0
    for mode in of_keys:
        try:
            with mode():
                inside = _C.keys_of_thread()
        except RuntimeError:  # such a mode cannot be entered
            return None
        included |= inside[0] ^ outside[0]
        excluded |= inside[1] ^ outside[1]
    signed = (ctypes.c_int64(included).value, ctypes.c_int64(excluded).value, 0)
    found = NativeGetter(_C.is_in_modes(), signed, _NUMBER)
    if found() != 0:
        return None
    modes = (*of_keys, _hooks, torch.overrides.TorchFunctionMode)
    return found if all(_says_one(found, mode) for mode in modes) and found() == 0 else None


def _says_one(found: NativeGetter, mode: Callable[[], Any]) -> bool:
    try:
        with mode():
            return found() == 1
    except RuntimeError:  # such a mode cannot be entered
        return False


_IS_IN_MODES = _is_in_modes() if push_mode and pop_mode else None
# What a function may begin and not end.
NO_MODE_BEGUN: NoMode = (
    ((_IS_IN_MODES, 0),)
    if _IS_IN_MODES
    else (
        (hooks_of_graphs, None),
        (_function_modes, 0),
        (number_of_modes, 0),
        (foreign("torch._C._is_any_autocast_enabled", _SETTINGS, _casts), False),
    )
)
NO_MODE: NoMode = (
    *NO_MODE_BEGUN,
    *(
        ((NativeGetter(_HOOKS_ALLOWED, _NO_ARGUMENTS, _BYTE), 1),)
        if _HOOKS_ALLOWED
        else ((why_no_hooks, None),)
    ),
    *_of_mode(
        torch.is_inference_mode_enabled,
        False,
        torch.inference_mode,
        NativeGetter(_INFERENCE_MODE, _NO_ARGUMENTS, _BYTE),
    ),
)

# Tensors -----------------------------------------------------------------------------------------

_TENSORS = "checks of a call's tensors at less cost"
# Where PyTorch's own tensor is, of one of Python's.
_implementation: Any = foreign("torch.Tensor._cdata", _TENSORS, None)
_version: Any = foreign("torch.Tensor._version", _TENSORS, None)
_negated: Any = foreign("torch._neg_view", _TENSORS, None)
_OF_TENSORS = (
    "_ZN2at6native7is_conjERKNS_6TensorE",
    "_ZN2at6native6is_negERKNS_6TensorE",
    "_ZNK2at10TensorBase8_versionEv",
    "_ZN2at17toDLPackNonOwningERKNS_6TensorEP8DLTensor",
)
_UNKNOWN_TENSORS = (0, 0, 0, 0)


def native_tensors() -> tuple[int, int, int, int]:
    """Return the addresses of functions of an `at::Tensor`, zeros where they are not known.

    They say whether it is conjugated, whether it is negated, its version, and its description for
    DLPack. An `at::Tensor` is what follows the head of Python's object.
    """
    is_conj, is_neg, version, view = map(native_address, _OF_TENSORS)
    known = all((is_conj, is_neg, version, view, _implementation, _version, _negated))
    try:
        agree = known and all(_agrees(x, is_conj, is_neg, version, view) for x in _examples())
    except RuntimeError:  # in a mode in which tensors have no memory
        agree = False
    return (is_conj, is_neg, version, view) if agree else _UNKNOWN_TENSORS


def _examples() -> list[torch.Tensor]:
    written = torch.zeros(2, 3, device="cpu").add_(1)
    return [written, _negated(written), torch.ones(2, dtype=torch.complex64, device="cpu").conj()]


def _agrees(tensor: torch.Tensor, is_conj: int, is_neg: int, version: int, view: int) -> bool:
    """Whether the functions say of a tensor what Python's do."""
    place = id(tensor) + object.__basicsize__
    if ctypes.c_void_p.from_address(place).value != _implementation.__get__(tensor):
        return False
    described = (
        ctypes.c_void_p * 8
    )()  # more than DLPack's description, which begins with the memory
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(view)(place, described)
    return (
        ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)(is_conj)(place) == tensor.is_conj()
        and ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)(is_neg)(place) == tensor.is_neg()
        and ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(version)(place)
        == _version.__get__(tensor)
        and described[0] == tensor.data_ptr()
    )


def native_import() -> tuple[int, int]:
    """Return the addresses of what makes a tensor of a DLPack one, and Python's tensor of it, or zeros."""
    make = native_address(
        "_ZN2at19fromDLPackVersionedEP24DLManagedTensorVersionedSt8functionIFvPvEE"
    )
    wrap = native_address("_Z16THPVariable_WrapON2at10TensorBaseE")
    return (make, wrap) if make and wrap else (0, 0)
