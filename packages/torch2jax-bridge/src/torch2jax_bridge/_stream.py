"""PyTorch on XLA's CUDA stream."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def stream_scope(pointer: int, ordinal: int, cuda: Any = torch.cuda) -> Iterator[None]:
    """Make a stream of XLA's PyTorch's current one, on its device, for the `with` block.

    Nothing is synchronised: work that PyTorch enqueues in the block is ordered with XLA's work by
    the stream itself, and memory that PyTorch frees in the block is reused in stream order.

    Args:
        pointer: the address of the `cudaStream_t`.
        ordinal: the local ordinal of the stream's device, the same in XLA and PyTorch.
        cuda: the module to use; tests pass a stand-in for `torch.cuda`.
    """
    with cuda.device(ordinal), cuda.stream(cuda.ExternalStream(pointer, device=ordinal)):
        yield
