"""Freed memory that stays with the process while a suite runs."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Of <malloc.h>.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
MIB = 1 << 20


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep glibc from returning memory to the system; elsewhere, do nothing.

    A training step frees its gradients. Whether glibc then gives the pages back, to fault them in
    at the next step, depends on what else lies on the heap: on what ran before, and not on the
    program that is timed. For a ResNet-18 that is up to a tenth of a step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        yield
        return
    mallopt(M_TRIM_THRESHOLD, 2048 * MIB - 1)
    mallopt(M_MMAP_MAX, 0)
    try:
        yield
    finally:
        # Where glibc's own adaptation ends in a process that has freed a large tensor.
        mallopt(M_MMAP_MAX, 65536)
        mallopt(M_MMAP_THRESHOLD, 32 * MIB)
        mallopt(M_TRIM_THRESHOLD, 64 * MIB)
