"""PyTorch's temporary memory in programs that XLA records and replays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def in_private_pool(call: Callable[..., Any], cuda: Any = torch.cuda) -> Callable[..., Any]:
    """Return the function, whose temporary CUDA memory stays its own for as long as the function lives.

    XLA records what the function enqueues and enqueues the record again, without calling it: the
    addresses in the record must not go to anybody else. On a CPU nothing is recorded.

    Args:
        call: the function of flat tensors.
        cuda: the module to use; tests pass a stand-in for `torch.cuda`.
    """
    pools: dict[int, Any] = {}

    def run(*tensors: torch.Tensor) -> Any:
        device = next((t.device for t in tensors if t.device.type == "cuda"), None)
        if device is None:
            return call(*tensors)
        if device.index not in pools:
            with cuda.device(device.index):
                pools[device.index] = cuda.MemPool()
        with cuda.use_mem_pool(pools[device.index], device.index):
            return call(*tensors)

    return run
