"""PyTorch's settings that are those of a trace in its calls: how each is read, set and watched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

import torch2jax_bridge._C as _C
from torch2jax_bridge._runtime import _compat
from torch2jax_bridge._runtime._compat import Getter, quick, quick_of_process

_DEVICES = ("cpu", "cuda")
_CALLED = _DEVICES if torch.cuda.is_available() else _DEVICES[:1]
_CUDA = torch.backends.cuda


class Setting(NamedTuple):
    """One setting, or several that are set together.

    Attributes:
        get: what says it.
        put: what sets it to something that `get` has said; not to None.
        watched: what shows, to each call, that it is another now.
        of_thread: whether each thread has its own.
        only_traces: whether calls need not look, as nothing on these devices depends on it.
    """

    get: Callable[[], Any]
    put: Callable[[Any], Any]
    watched: tuple[Getter, ...] = ()
    of_thread: bool = False
    only_traces: bool = False


def _casts() -> tuple[tuple[str, bool, torch.dtype], ...]:
    return tuple((d, torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in _DEVICES)


def _set_casts(values: tuple[tuple[str, bool, torch.dtype], ...]) -> None:
    for device, enabled, dtype in values:
        torch.set_autocast_enabled(device, enabled)
        torch.set_autocast_dtype(device, dtype)


def _dtype_of_casts(device: str) -> Getter:
    symbol = "_ZN2at8autocast18get_autocast_dtypeEN3c1010DeviceTypeE"
    return quick(lambda: torch.get_autocast_dtype(device), symbol, _DEVICES.index(device))


def _deterministic() -> tuple[bool, bool]:
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    return torch.are_deterministic_algorithms_enabled(), warns


def _set_deterministic(values: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(values[0], warn_only=values[1])


def _anomaly() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def _set_anomaly(values: tuple[bool, bool]) -> None:
    torch.autograd.set_detect_anomaly(*values)


def _unless_mixed(get: Callable[[], Any]) -> Callable[[], Any]:
    """Return the function, which says None where a setting was made by its parts."""

    def find() -> Any:
        try:
            return get()
        except RuntimeError:
            return None

    return find


def _attribute(holder: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    return lambda: getattr(holder, name), lambda value: setattr(holder, name, value)


def _flag(holder: Any, name: str, method: str) -> Setting:
    """Return an attribute of a module, which a method of `at::Context` says too."""
    get, put = _attribute(holder, name)
    return Setting(get, put, (quick_of_process(get, method),))


def _kernel(get: Getter, put: Callable[[Any], Any], method: str) -> Setting:
    """Return whether attention may be done in one way, which a method of `at::Context` says too."""
    return Setting(get, put, (quick_of_process(get, method),))


def _precision(some: _compat.Precision) -> Setting:
    return Setting(some.get, some.put, (some.quick,))


def _on_gpus(setting: Setting) -> Setting:
    """Return the setting, at which nothing looks where there is no GPU: nothing depends on it then."""
    return setting if torch.cuda.is_available() else setting._replace(watched=())


_backends = torch.backends
_CUDNN_TF32 = _attribute(_backends.cudnn, "allow_tf32")
_CUBLAS_TF32 = _attribute(_CUDA.matmul, "allow_tf32")
# Those first by which others are changed.
SETTINGS: tuple[Setting, ...] = (
    Setting(
        torch.get_num_threads,
        _compat.set_num_threads_here,
        (quick(torch.get_num_threads, "_ZN2at15get_num_threadsEv"),),
        of_thread=True,
    ),
    Setting(_casts, _set_casts, tuple(map(_dtype_of_casts, _CALLED)), of_thread=True),
    Setting(
        torch.is_autocast_cache_enabled,
        torch.set_autocast_cache_enabled,
        (
            quick(
                torch.is_autocast_cache_enabled,
                "_ZN2at8autocast25is_autocast_cache_enabledEv",
            ),
        ),
        of_thread=True,
    ),
    Setting(
        _compat.get_function_state,
        _compat.set_function_state,
        _compat.FUNCTION_STATE,
        of_thread=True,
    ),
    Setting(
        *(_C.flushes_denormals, torch.set_flush_denormal),
        (_C.flushes_denormals,),
        of_thread=True,
        only_traces=True,  # C++ sets it in every call
    ),
    Setting(
        torch.get_default_dtype,
        torch.set_default_dtype,
        (quick(torch.get_default_dtype, "_ZN3c1031get_default_dtype_as_scalartypeEv"),),
    ),
    Setting(
        _deterministic,
        _set_deterministic,
        (
            quick_of_process(torch.are_deterministic_algorithms_enabled, "deterministicAlgorithms"),
            quick_of_process(
                torch.is_deterministic_algorithms_warn_only_enabled,
                "deterministicAlgorithmsWarnOnly",
            ),
        ),
    ),
    _flag(
        torch.utils.deterministic,
        *("fill_uninitialized_memory", "deterministicFillUninitializedMemory"),
    ),
    Setting(_anomaly, _set_anomaly, _compat.ANOMALY),
    Setting(_unless_mixed(_CUDNN_TF32[0]), _CUDNN_TF32[1]),
    Setting(_unless_mixed(_CUBLAS_TF32[0]), _CUBLAS_TF32[1]),
    Setting(_unless_mixed(torch.get_float32_matmul_precision), torch.set_float32_matmul_precision),
    *map(_on_gpus, map(_precision, _compat.PRECISIONS[:-3])),
    *map(_precision, _compat.PRECISIONS[-3:]),  # of the CPU
    _kernel(_CUDA.flash_sdp_enabled, _CUDA.enable_flash_sdp, "userEnabledFlashSDP"),
    _kernel(_CUDA.math_sdp_enabled, _CUDA.enable_math_sdp, "userEnabledMathSDP"),
    _kernel(
        *(_CUDA.mem_efficient_sdp_enabled, _CUDA.enable_mem_efficient_sdp),
        "userEnabledMemEfficientSDP",
    ),
    _kernel(_CUDA.cudnn_sdp_enabled, _CUDA.enable_cudnn_sdp, "userEnabledCuDNNSDP"),
    _kernel(
        _CUDA.fp16_bf16_reduction_math_sdp_allowed,
        _CUDA.allow_fp16_bf16_reduction_math_sdp,
        "allowFP16BF16ReductionMathSDP",
    ),
    _on_gpus(Setting(_compat.sdp_order, _compat.set_sdp_order, (_compat.sdp_order,))),
    Setting(
        _backends.mha.get_fastpath_enabled,
        _backends.mha.set_fastpath_enabled,
        (_compat.FAST_ATTENTION,),
    ),
    _flag(_backends.cudnn, "enabled", "userEnabledCuDNN"),
    _flag(_backends.cudnn, "benchmark", "benchmarkCuDNN"),
    _flag(_backends.cudnn, "deterministic", "deterministicCuDNN"),
    _flag(_backends.mkldnn, "enabled", "userEnabledMkldnn"),
    _flag(_backends.mkldnn, "deterministic", "deterministicMkldnn"),
    Setting(_compat.NNPACK[0], _compat.NNPACK[1], (_compat.NNPACK[2],)),
)
CASTS = next(i for i, setting in enumerate(SETTINGS) if setting.get is _casts)
THREADS = next(i for i, setting in enumerate(SETTINGS) if setting.get is torch.get_num_threads)
DENORMALS = next(i for i, setting in enumerate(SETTINGS) if setting.get is _C.flushes_denormals)
