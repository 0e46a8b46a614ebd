"""A pytest plugin for tests on simulated GPUs: which of them can run, and what went wrong unseen.

Kernels of XLA's, of cuBLAS and of cuDNN do nothing here, and PyTorch's only do what `runtime/kernels.cc`
emulates: a test can run if what it compares went through those kernels and through copies alone.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

XLA = "compares with kernels of XLA's, which do nothing"
LIBRARIES = "multiplies matrices or convolves, by libraries that do nothing"
KERNELS = "needs kernels of PyTorch's that are not emulated"

# A part of a test's name, and why it cannot run.
CANNOT = {
    "test_bridge_gpu_transform_equals_jax": XLA,
    "test_bridge_gpu_chain_is_ordered_by_the_stream": LIBRARIES,
    "test_bridge_gpu_never_waits_for_the_device": LIBRARIES,
    "test_bridge_gpu_module_trains_to_the_same_losses": LIBRARIES,
    "test_bridge_gpu_dropout_by_key": LIBRARIES,
    "test_jax2torch_gpu_values_gradients_and_transforms": XLA,
    "test_jax2torch_gpu_streams_are_ordered": XLA,
    "test_jax2torch_gpu_many_steps_write_in_place": XLA,
    "test_jax2torch_gpu_large_integers": KERNELS,
    "test_torch_optim_gpu.py": KERNELS,
    "test_arithmetic_vs_torch.py": KERNELS,
}

simulated = ctypes.CDLL(None)
simulated.simulated_gpu_calls.restype = ctypes.c_long
simulated.simulated_gpu_skipped.restype = ctypes.c_long
simulated.simulated_gpu_misuses.restype = ctypes.c_long


def calls(name: str) -> int:
    """Return how often this thread has called an entry point of the driver."""
    return simulated.simulated_gpu_calls(name.encode())


def skipped(part: str) -> int:
    """Return how many kernels with a part in their name were launched, and have done nothing."""
    return simulated.simulated_gpu_skipped(part.encode())


def set_seed(seed: int) -> None:
    """Begin another sequence of random delays."""
    simulated.simulated_gpu_set_seed(seed)


def pytest_configure(config: pytest.Config) -> None:
    """Let tests make arrays with JAX whose values are right: NumPy makes them."""
    for name in ("arange", "linspace", "ones", "zeros"):
        setattr(jnp, name, by_numpy(getattr(np, name)))


def by_numpy(make: Callable[..., Any]) -> Callable[..., jax.Array]:
    """Return a function that puts what NumPy's makes on the default device, with JAX's dtypes."""

    def made(*args: Any, **kwargs: Any) -> jax.Array:
        array = make(*args, **kwargs)
        return jax.device_put(array.astype(jax.dtypes.canonicalize_dtype(array.dtype)))

    return made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what cannot run, with the reason."""
    for item in items:
        reason = next((why for part, why in CANNOT.items() if part in item.nodeid), None)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=f"{reason} on a simulated GPU"))


@pytest.fixture(autouse=True)
def nothing_misused() -> Iterator[None]:
    """Fail a test in which a stream, an event or memory was misused."""
    before = simulated.simulated_gpu_misuses()
    yield
    assert simulated.simulated_gpu_misuses() == before, "the driver was misused; see the output"


def pytest_report_header() -> str:
    """Say what is simulated."""
    devices, delay, seed = (
        os.environ[f"SIMULATED_GPU_{name}"] for name in ("DEVICES", "DELAY_US", "SEED")
    )
    return f"simulated GPUs: {devices}, each operation delayed by up to {delay} us, seed {seed}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what could not run, and why."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", ()):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} not run: {reason.removeprefix('Skipped: ')}")
