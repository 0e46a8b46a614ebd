"""The random numbers of PyTorch's own generators, to be drawn once more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import get_device_states, set_device_states

from pax_torch._compat import DispatchMode, is_without_values


class RandomState:
    """The state of the generators now, on the CPU and on the devices of the given tensors."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._cpu = torch.get_rng_state()
        self._devices, self._states = get_device_states(*tensors)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Go back to that state, and then on from where the generators were.

        Raises:
            RuntimeError: what runs draws random numbers, and is traced: a program does not go back.
        """
        accelerator = torch.accelerator.current_accelerator()
        kind = accelerator.type if accelerator is not None and self._devices else "cuda"
        with torch.random.fork_rng(self._devices, device_type=kind):
            self.restore()
            with _NoDraws() if is_without_values() else nullcontext():
                yield

    def restore(self) -> None:
        """Go back to that state."""
        torch.set_rng_state(self._cpu)
        set_device_states(self._devices, self._states)


class _NoDraws(DispatchMode):
    """Refuses operations that draw random numbers."""

    supports_higher_order_operators = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Run one operation."""
        if torch.Tag.nondeterministic_seeded in getattr(func, "tags", ()):
            raise RuntimeError(
                "A rule for a derivative draws the random numbers of its function again, which a "
                "compiled program cannot do, nor a function that vjp returned where its leaves are "
                "asked for; draw them from a key with pax_torch.random, or pass them as an argument."
            )
        return func(*args, **(kwargs or {}))
