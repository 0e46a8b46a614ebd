"""Who may use memory of the other library on a CUDA device, and until when; run with `-m gpu`.

All values go through PyTorch's kernels and copies alone, so that simulated devices can run them.
"""

import gc
import time

import jax
import numpy as np
import pytest
import torch

from torch2jax_bridge import j2t, jax2torch, t2j, torch2jax

pytestmark = pytest.mark.gpu
SIZE = 1 << 16
ROUNDS = 5

copy = torch2jax(lambda t: t.clone())
program = jax.jit(copy)
through_jax = jax2torch(lambda x: copy(x))


@jax.jit
def slow(x):
    for _ in range(4):
        x = copy(x)
    return x


def array(value):
    return jax.device_put(np.full(SIZE, value, np.float32), jax.devices("cuda")[0])


@pytest.fixture(scope="module", autouse=True)
def compiled():
    ones = array(1)
    for _ in range(3):
        jax.block_until_ready((program(ones), slow(ones)))
        through_jax(torch.ones(SIZE, device="cuda"))


def thirteen_times(x):
    """Read a tensor eleven times."""
    z = x * 3
    for _ in range(10):
        z = z + x
    return z


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", ["j2t", "j2t copied", "jax2torch"])
def test_bridge_gpu_memory_of_jax_is_read_after_the_tensor_died(name, seed, delays):
    delays(seed)
    ones, fives, tensor = array(1), array(5), torch.ones(SIZE, device="cuda")
    make = {
        "j2t": lambda: j2t(program(ones)),
        "j2t copied": lambda: j2t(program(ones), copy=True),
        "jax2torch": lambda: through_jax(tensor),
    }[name]
    for _ in range(ROUNDS):
        torch.cuda._sleep(10**6)  # even a copy is made later
        result = thirteen_times(make())  # the tensor is dead when this returns
        others = [program(fives) for _ in range(2)]  # nothing of them depends on PyTorch
        np.testing.assert_array_equal(result.cpu(), np.full(SIZE, 13))
        del others


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("copied", [None, True], ids=["shared", "copied"])
def test_bridge_gpu_memory_of_torch_is_read_after_the_array_died(copied, seed, delays):
    delays(seed)
    fives = torch.full((SIZE,), 5.0, device="cuda")
    for _ in range(ROUNDS):
        result = slow(t2j(fives.clone(), copy=copied))  # the array is dead when this returns
        others = [torch.full((SIZE,), 7.0, device="cuda") for _ in range(4)]
        np.testing.assert_array_equal(result, np.full(SIZE, 5))
        del others


def test_bridge_gpu_memory_of_another_stream_is_read_after_the_tensor_died():
    ones, fives, side = array(1), array(5), torch.cuda.Stream()
    for _ in range(ROUNDS):
        with torch.cuda.stream(side):
            result = thirteen_times(j2t(program(ones)))
            values = result.cpu
        others = [program(fives) for _ in range(2)]
        side.synchronize()
        np.testing.assert_array_equal(values(), np.full(SIZE, 13))
        del others


def test_bridge_gpu_memory_goes_back_when_it_is_read():
    gc.collect()
    device = jax.devices("cuda")[0]
    torch.cuda.synchronize()
    before = in_use(device)
    for _ in range(100):
        thirteen_times(j2t(program(array(1))))
    torch.cuda.synchronize()
    for _ in range(200):
        gc.collect()
        if in_use(device) <= before + 4 * SIZE * 4:
            return
        program(array(1)).block_until_ready()  # JAX frees what was handed back
        time.sleep(0.01)
    raise AssertionError(f"{in_use(device) - before} bytes more are in use")


def in_use(device):
    return device.memory_stats()["bytes_in_use"]


def test_bridge_gpu_memory_of_torch_goes_back_when_it_is_read():
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(20):
        slow(t2j(torch.ones(SIZE, device="cuda"))).block_until_ready()
    gc.collect()
    time.sleep(0.1)
    assert torch.cuda.memory_allocated() <= before + 4 * SIZE * 4


def test_bridge_gpu_tensor_dies_on_another_thread():
    import threading

    ones, fives = array(1), array(5)
    for _ in range(ROUNDS):
        held = [j2t(program(ones))]
        result = thirteen_times(held[0])
        thread = threading.Thread(target=held.clear)
        thread.start()
        thread.join()
        others = [program(fives) for _ in range(2)]
        np.testing.assert_array_equal(result.cpu(), np.full(SIZE, 13))
        del others
