"""The CUDA side that is Python, with a stand-in for torch.cuda."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from torch2jax_bridge._runtime.thread_state import StreamSwitch, current_run
from torch2jax_bridge._torch2jax.lowering import in_private_pool


class FakeCuda:
    """Streams and devices as torch.cuda has them; nothing in it synchronises."""

    def __init__(self, devices=4):
        self.device = 0
        self.streams = [("default", i) for i in range(devices)]
        self.made = []

    def ExternalStream(self, pointer, device):
        self.made.append((pointer, device))
        return (pointer, device)

    def current_device(self):
        return self.device

    def set_device(self, device):
        self.device = device

    def current_stream(self, device):
        return self.streams[device]

    def set_stream(self, stream):
        self.device = stream[1]
        self.streams[stream[1]] = stream

    def state(self):
        return self.device, list(self.streams)


@pytest.mark.parametrize("ordinal", [0, 3])
@pytest.mark.parametrize("current", [0, 1])
def test_bridge_stream_is_current_on_its_device_and_restored(ordinal, current):
    cuda = FakeCuda()
    cuda.set_device(current)
    cuda.set_stream(("mine", current))
    before = cuda.state()
    switch = StreamSwitch(cuda)
    found = switch.enter(0xABC, ordinal, 5)
    assert cuda.device == ordinal
    assert cuda.current_stream(ordinal) == (0xABC, ordinal)
    assert current_run() == (5, 0xABC)
    switch.leave(found)
    assert cuda.state() == before
    assert current_run() is None


def test_bridge_stream_object_is_made_once():
    cuda = FakeCuda()
    switch = StreamSwitch(cuda)
    for pointer, ordinal in [(1, 0), (2, 0), (1, 0), (1, 1), (2, 0)]:
        switch.leave(switch.enter(pointer, ordinal, 1))
    assert cuda.made == [(1, 0), (2, 0), (1, 1)]


class FakePools:
    """The part of torch.cuda that pools need."""

    def __init__(self):
        self.current = None
        self.used = []

    @contextmanager
    def device(self, index):
        self.current = index
        yield

    def MemPool(self):
        return f"pool of device {self.current}"

    @contextmanager
    def use_mem_pool(self, pool, index):
        self.used.append((pool, index))
        yield
        self.used.append("left")


def tensor(kind, index=None):
    return SimpleNamespace(device=SimpleNamespace(type=kind, index=index))


def test_bridge_recorded_function_has_a_pool_for_each_device():
    cuda = FakePools()
    call = in_private_pool(lambda *tensors: len(tensors), cuda)
    assert call(tensor("cpu"), tensor("cuda", 1)) == 2
    assert call(tensor("cuda", 0)) == 1
    assert call(tensor("cuda", 1)) == 1
    assert call(tensor("cpu")) == 1
    first, second = ("pool of device 1", 1), ("pool of device 0", 0)
    assert cuda.used == [first, "left", second, "left", first, "left"]
