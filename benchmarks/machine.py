"""What a run was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

PACKAGES = (
    *("pax-tree", "pax-torch", "pax-jax", "opax", "torch2jax-bridge"),
    *("torch", "jax", "jaxlib", "numpy", "optax"),
    *("optree", "dm-tree", "equinox", "flax", "dm-haiku", "torchopt"),
)


def machine() -> dict[str, str | int | None]:
    """The processor, its cores that this process may use, and the CUDA device."""
    torch = sys.modules.get("torch")
    on_cuda = torch is not None and torch.cuda.is_available()
    return {
        "platform": platform.platform(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if on_cuda else None,
    }


def processor() -> str:
    """The processor's model as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def versions() -> dict[str, str]:
    """The version of Python, of our packages and of the peers that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
