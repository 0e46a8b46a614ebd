"""configure_memory, with a stand-in for torch.cuda."""

import os

import pytest

from torch2jax_bridge import configure_memory
from torch2jax_bridge._runtime import memory as _memory


class FakeCuda:
    def __init__(self, count):
        self.count = count
        self.fractions = {}

    def is_available(self):
        return self.count > 0

    def device_count(self):
        return self.count

    def set_per_process_memory_fraction(self, fraction, device):
        self.fractions[device] = fraction


@pytest.fixture
def fresh(monkeypatch):
    """A process in which JAX has not started."""
    monkeypatch.setattr(_memory, "has_started", lambda: False)
    for name in (_memory.FRACTION, _memory.PREALLOCATE):
        monkeypatch.setenv(name, "before")  # so that it is restored
    monkeypatch.setenv(_memory.OLD_FRACTION, "0.1")


@pytest.mark.parametrize(
    ("args", "options", "jax", "torch", "preallocate"),
    [
        ((), {}, "0.5", 0.5, "false"),
        ((0.75,), {"preallocate": True}, "0.75", 0.25, "true"),
        ((0.25, 0.5), {}, "0.25", 0.5, "false"),
    ],
    ids=["default", "jax", "both"],
)
def test_bridge_configure_memory(fresh, args, options, jax, torch, preallocate):
    cuda = FakeCuda(2)
    configure_memory(*args, **options, cuda=cuda)
    assert os.environ[_memory.FRACTION] == jax
    assert os.environ[_memory.PREALLOCATE] == preallocate
    assert _memory.OLD_FRACTION not in os.environ
    assert cuda.fractions == {0: torch, 1: torch}


def test_bridge_configure_memory_without_a_gpu(fresh):
    cuda = FakeCuda(0)
    configure_memory(cuda=cuda)
    assert cuda.fractions == {}


@pytest.mark.parametrize("fractions", [(0.0,), (1.0,), (1.5,), (0.5, 0.6), (0.5, 0.0), (-1, 0.5)])
def test_bridge_configure_memory_wrong_fractions(fresh, fractions):
    with pytest.raises(ValueError, match="expected fractions between 0 and 1"):
        configure_memory(*fractions, cuda=FakeCuda(1))


def test_bridge_configure_memory_too_late(monkeypatch):
    monkeypatch.setattr(_memory, "has_started", lambda: True)
    with pytest.raises(RuntimeError, match="call configure_memory before anything of JAX"):
        configure_memory(cuda=FakeCuda(1))
