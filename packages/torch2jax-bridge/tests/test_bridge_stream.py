"""The CUDA side that is Python, with a stand-in for torch.cuda."""

from contextlib import contextmanager

import pytest

from torch2jax_bridge._stream import stream_scope


class FakeCuda:
    """Records what is entered and left; has nothing that would synchronise."""

    def __init__(self):
        self.events = []

    def ExternalStream(self, pointer, device):
        return ("stream", pointer, device)

    @contextmanager
    def device(self, ordinal):
        self.events.append(("enter device", ordinal))
        try:
            yield
        finally:
            self.events.append(("exit device", ordinal))

    @contextmanager
    def stream(self, stream):
        self.events.append(("enter", *stream))
        try:
            yield
        finally:
            self.events.append(("exit", *stream))


EXPECTED = [
    ("enter device", 3),
    ("enter", "stream", 0xABC, 3),
    ("exit", "stream", 0xABC, 3),
    ("exit device", 3),
]


def test_bridge_stream_is_current_on_its_device_and_restored():
    cuda = FakeCuda()
    with stream_scope(0xABC, 3, cuda):
        assert cuda.events == EXPECTED[:2]
    assert cuda.events == EXPECTED


def test_bridge_stream_is_restored_after_an_exception():
    cuda = FakeCuda()
    with pytest.raises(ValueError, match="inside"), stream_scope(0xABC, 3, cuda):
        raise ValueError("inside")
    assert cuda.events == EXPECTED
