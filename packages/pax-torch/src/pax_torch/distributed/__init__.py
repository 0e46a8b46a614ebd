"""Sums and means of trees over the processes of `torch.distributed`."""

from pax_torch.distributed._reduce import pmean, psum

__all__ = ["pmean", "psum"]
