"""The CUDA side that is Python, with a stand-in for torch.cuda."""

from typing import NamedTuple

import pytest

from torch2jax_bridge._runtime.thread_state import StreamSwitch, current_run


class FakeStream(NamedTuple):
    pointer: object
    device: int
    busy: bool = False

    def query(self):
        return not self.busy

    def wait_stream(self, stream):
        WAITED.append((self, stream))


WAITED = []


class FakeCuda:
    """Streams and devices as torch.cuda has them; nothing in it synchronises."""

    def __init__(self, devices=4):
        self.device = 0
        self.streams = [FakeStream("default", i) for i in range(devices)]
        self.made = []

    def ExternalStream(self, pointer, device):
        self.made.append((pointer, device))
        return FakeStream(pointer, device)

    def current_device(self):
        return self.device

    def set_device(self, device):
        self.device = device

    def current_stream(self, device):
        return self.streams[device]

    def set_stream(self, stream):
        self.device = stream.device
        self.streams[stream.device] = stream

    def state(self):
        return self.device, list(self.streams)


@pytest.mark.parametrize("ordinal", [0, 3])
@pytest.mark.parametrize("current", [0, 1])
def test_bridge_stream_is_current_on_its_device_and_restored(ordinal, current):
    cuda = FakeCuda()
    cuda.set_device(current)
    cuda.set_stream(FakeStream("mine", current))
    before = cuda.state()
    switch = StreamSwitch(cuda)
    found = switch.enter(0xABC, ordinal, 5)
    assert cuda.device == ordinal
    assert cuda.current_stream(ordinal) == FakeStream(0xABC, ordinal)
    assert current_run() == (5, 0xABC)
    switch.leave(found)
    assert cuda.state() == before
    assert current_run() is None


@pytest.mark.parametrize("busy", [False, True])
def test_bridge_stream_waits_for_what_pytorch_has_yet_to_do(busy):
    WAITED.clear()
    cuda, mine = FakeCuda(), FakeStream("mine", 0, busy)
    cuda.set_stream(mine)
    StreamSwitch(cuda).enter(0xABC, 0, 1)
    assert ([(FakeStream(0xABC, 0), mine)] if busy else []) == WAITED


def test_bridge_stream_object_is_made_once():
    cuda = FakeCuda()
    switch = StreamSwitch(cuda)
    for pointer, ordinal in [(1, 0), (2, 0), (1, 0), (1, 1), (2, 0)]:
        switch.leave(switch.enter(pointer, ordinal, 1))
    assert cuda.made == [(1, 0), (2, 0), (1, 1)]
