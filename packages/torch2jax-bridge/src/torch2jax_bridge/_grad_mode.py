"""PyTorch's grad mode as C functions: reading and setting it in Python costs half of a small call."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import torch

# `c10::GradMode::is_enabled()` and `c10::GradMode::set_enabled(bool)`, as compilers name them.
_IS_ENABLED = "_ZN3c108GradMode10is_enabledEv"
_SET_ENABLED = "_ZN3c108GradMode11set_enabledEb"


def native_grad_mode() -> tuple[int, int]:
    """Return the addresses of PyTorch's functions that read and set the mode, zeros if it has none such."""
    library = _c10()
    is_enabled, set_enabled = (getattr(library, name, None) for name in (_IS_ENABLED, _SET_ENABLED))
    if is_enabled is None or set_enabled is None or not _agree(is_enabled, set_enabled):
        return 0, 0
    return _address(is_enabled), _address(set_enabled)


def _c10() -> Any:
    """Return the library that PyTorch has loaded, or None."""
    folder = Path(torch.__file__).parent / "lib"
    found = [file for name in ("libc10.so", "libc10.dylib") if (file := folder / name).is_file()]
    return ctypes.CDLL(str(found[0])) if found else None


def _agree(is_enabled: Any, set_enabled: Any) -> bool:
    """Whether the functions do what Python's do."""
    is_enabled.restype = ctypes.c_bool
    set_enabled.argtypes, set_enabled.restype = [ctypes.c_bool], None
    before = torch.is_grad_enabled()
    try:
        for mode in (False, True):
            set_enabled(mode)
            if not torch.is_grad_enabled() == is_enabled() == mode:
                return False
        return True
    finally:
        torch._C._set_grad_enabled(before)


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0
