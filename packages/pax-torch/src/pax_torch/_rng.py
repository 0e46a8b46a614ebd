"""The random numbers of PyTorch's own generators, to be drawn once more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils.checkpoint import get_device_states, set_device_states


class RandomState:
    """The state of the generators now, on the CPU and on the devices of the given tensors."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._cpu = torch.get_rng_state()
        self._devices, self._states = get_device_states(*tensors)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Go back to that state, and then on from where the generators were."""
        accelerator = torch.accelerator.current_accelerator()
        kind = accelerator.type if accelerator is not None and self._devices else "cuda"
        with torch.random.fork_rng(self._devices, device_type=kind):
            self.restore()
            yield

    def restore(self) -> None:
        """Go back to that state."""
        torch.set_rng_state(self._cpu)
        set_device_states(self._devices, self._states)
