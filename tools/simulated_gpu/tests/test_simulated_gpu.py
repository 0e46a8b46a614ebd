"""What the simulation itself promises, and what only it can count."""

import gc
from contextlib import suppress

import jax
import numpy as np
import pytest
import torch
from pytest_simulated_gpu import calls, set_seed, skipped

from torch2jax_bridge import j2t, jax2torch, t2j, torch2jax

pytestmark = pytest.mark.gpu
WAITS = ("cuStreamSynchronize", "cuEventSynchronize", "cuCtxSynchronize")

KERNELS = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "add a number": lambda x, y: x + 2.5,
    "from a number": lambda x, y: 2.5 - x,
    "times a number": lambda x, y: x * -3,
    "by a number": lambda x, y: y / 4,
    "in place": lambda x, y: x.clone().mul_(2).add_(y),
    "sin": lambda x, y: torch.sin(x),
    "cos": lambda x, y: torch.cos(x),
    "exp": lambda x, y: torch.exp(x),
    "tanh": lambda x, y: torch.tanh(x),
    "sqrt": lambda x, y: torch.sqrt(y),
    "negative": lambda x, y: -x,
    "reciprocal": lambda x, y: torch.reciprocal(y),
    "full": lambda x, y: torch.full_like(x, 4.5),
    "full of integers": lambda x, y: torch.full_like(x, 7, dtype=torch.int64),
}


@pytest.mark.parametrize("size", [1, 7, 1000, 100_003])
@pytest.mark.parametrize("name", KERNELS)
def test_emulated_kernel_equals_the_cpus(name, size):
    x, y = torch.linspace(-3, 3, size), torch.linspace(0.5, 9, size)
    before = skipped("elementwise_kernel")
    got = KERNELS[name](x.cuda(), y.cuda())
    assert skipped("elementwise_kernel") == before
    torch.testing.assert_close(got.cpu(), KERNELS[name](x, y))


def across_streams(waits):
    """Return a value that one stream makes and another reads."""
    first, second = torch.cuda.Stream(), torch.cuda.Stream()
    x, result = torch.zeros(2, 1000, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(first):
        for _ in range(20):
            x.add_(1)
    if waits:
        second.wait_stream(first)
    with torch.cuda.stream(second):
        torch.mul(x, 2, out=result)
    torch.cuda.synchronize()
    return float(result[0])


@pytest.mark.parametrize("seed", range(10))
def test_missing_dependency_is_a_wrong_number(seed):
    set_seed(seed)
    assert all(across_streams(waits=True) == 40 for _ in range(5))
    assert any(across_streams(waits=False) != 40 for _ in range(5))


def test_copies_across_devices_and_the_host():
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one device")
    values = torch.arange(1000.0)
    there = values.cuda(0).to("cuda:1", non_blocking=True) * 2
    pinned = torch.empty(1000).pin_memory()
    pinned.copy_(there, non_blocking=True)
    torch.cuda.synchronize(1)
    torch.testing.assert_close(pinned, values * 2)


def counted(names, function):
    before = [calls(name) for name in names]
    function()
    return [calls(name) - count for name, count in zip(names, before, strict=True)]


def test_conversion_records_one_event_and_the_host_does_not_wait():
    x = jax.device_put(np.ones(1000, np.float32))
    names = ("cuEventRecord", "cuEventCreate", *WAITS)

    def without():
        torch.from_dlpack(x)

    def convert():
        j2t(x)

    for _ in range(20):
        convert()
        torch.cuda.synchronize()
    gc.collect()
    plain, ours = counted(names, without), counted(names, convert)
    assert [a - b for a, b in zip(ours, plain, strict=True)] == [1, 0, 0, 0, 0]


def test_conversion_on_two_streams_records_two_events():
    x = jax.device_put(np.ones(1000, np.float32))
    held = [j2t(x)]
    with torch.cuda.stream(torch.cuda.Stream()):
        assert counted(("cuEventRecord",), held.clear) == [2]


def test_step_records_no_event_of_the_bridges_and_the_host_does_not_wait():
    x = jax.device_put(np.ones(1000, np.float32))
    layer = torch2jax(lambda w, x: torch.tanh(x * w))

    @jax.jit
    def step(w, x):
        out, pull = jax.vjp(layer, w, x)
        return torch2jax(lambda w, g: w + g * 0.5)(w, pull(out)[0])

    for _ in range(3):
        step(x, x).block_until_ready()
    assert counted(WAITS, lambda: step(x, x)) == [0, 0, 0]


def test_t2j_makes_the_host_wait_for_nothing():
    x = torch.ones(1000, device="cuda")
    t2j(x)
    assert counted(WAITS, lambda: t2j(x)) == [0, 0, 0]


def test_integers_are_not_checked_by_an_assertion_on_the_device():
    with suppress(OverflowError):  # the kernel that compares all values is not emulated
        jax2torch(lambda x: x)(torch.full((3,), 7, device="cuda"))
    assert skipped("assert_async") == 0
