"""Settings of PyTorch that a program depends on as it does on its arguments."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch


class Ambient(NamedTuple):
    """The settings now: what tensors are made without being told, and the dtypes of autocast."""

    dtype: torch.dtype
    device: torch.device | None
    autocast: tuple[tuple[str, torch.dtype], ...]


def ambient() -> Ambient:
    """Returns the settings now."""
    autocast = _autocast() if torch._C._is_any_autocast_enabled() else ()
    # Devices are set by function modes; where there is none, that is known at once.
    device = torch.get_default_device() if torch._C._len_torch_function_stack() else None
    return Ambient(torch.get_default_dtype(), device, autocast)


def _autocast() -> tuple[tuple[str, torch.dtype], ...]:
    types = dict.fromkeys(("cpu", torch._C._get_accelerator().type))
    return tuple([(t, torch.get_autocast_dtype(t)) for t in types if torch.is_autocast_enabled(t)])


@contextmanager
def without_autocast(settings: Ambient) -> Iterator[None]:
    """Switches autocast off for what has its conversions written down."""
    with ExitStack() as stack:
        for kind, _ in settings.autocast:
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def with_autocast(function: Callable[..., Any], settings: Ambient) -> Callable[..., Any]:
    """Returns the function under autocast as it is in the settings.

    Autocast keeps no copies of parameters then, which could be tensors without values.
    """

    def cast(*args: Any) -> Any:
        with ExitStack() as stack:
            for kind, dtype in settings.autocast:
                stack.enter_context(torch.autocast(kind, dtype, cache_enabled=False))
            return function(*args)

    return cast
