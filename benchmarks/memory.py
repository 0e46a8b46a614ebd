"""How much memory PyTorch's tensors take at most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_megabytes(program: Callable[[], Any]) -> float:
    """The most memory that what a program makes takes at one time, in units of 2**20 bytes."""
    with _Watch() as watch:
        program()
    return watch.peak / 2**20


class _Watch(TorchDispatchMode):
    """Sees every storage that an operation returns, and whether it still lives."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._sizes: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {_key(x) for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and _key(leaf) not in given:
                storage = leaf.untyped_storage()
                self._sizes[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._sizes = {k: v for k, v in self._sizes.items() if not v[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._sizes.values()))
        return result


def _key(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
