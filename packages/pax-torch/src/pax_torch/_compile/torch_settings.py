"""Settings of PyTorch that a program depends on as it does on its arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

# Device types and the dtypes that autocast has for them.
Autocast = tuple[tuple[str, torch.dtype], ...]


def defaults() -> tuple[torch.dtype, torch.device | None]:
    """Return the dtype and, if it was set, the device of tensors made without being told."""
    # A device is set by a function mode; where there is none, that is known at once.
    device = torch.get_default_device() if torch._C._len_torch_function_stack() else None
    return torch.get_default_dtype(), device


def autocast() -> Autocast:
    """Return where autocast is on."""
    return _autocast() if torch._C._is_any_autocast_enabled() else ()


def _autocast() -> Autocast:
    types = dict.fromkeys(("cpu", torch._C._get_accelerator().type))
    return tuple([(t, torch.get_autocast_dtype(t)) for t in types if torch.is_autocast_enabled(t)])


@contextmanager
def without_autocast(settings: Autocast) -> Iterator[None]:
    """Switches autocast off for what has its conversions written down."""
    with ExitStack() as stack:
        for kind, _ in settings:
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def with_autocast(function: Callable[..., Any], settings: Autocast) -> Callable[..., Any]:
    """Return the function under autocast as it is in the settings.

    Autocast keeps no copies of parameters then, which could be tensors without values.
    """

    def cast(*args: Any) -> Any:
        with ExitStack() as stack:
            for kind, dtype in settings:
                stack.enter_context(torch.autocast(kind, dtype, cache_enabled=False))
            return function(*args)

    return cast
