"""Platforms, devices, threads and generators on CUDA devices; run with `-m gpu`.

All values go through PyTorch's kernels and copies alone, so that simulated devices can run them.
"""

import subprocess
import sys
import threading

import jax
import numpy as np
import pytest
import torch
from torch import nn

from torch2jax_bridge import j2t, jax2torch, t2j, torch2jax

pytestmark = pytest.mark.gpu
ONES = np.ones(64, np.float32)
several = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one device")


def cuda(index=0):
    return jax.devices("cuda")[index]


def cpu():
    return jax.devices("cpu")[0]


BOTH = """
import sys
import jax, numpy as np
from torch2jax_bridge import torch2jax
for platform in sys.argv[1:]:
    x = jax.device_put(np.ones(4, np.float32), jax.devices(platform)[0])
    for _ in range(2):
        result = jax.jit(torch2jax(lambda t: t * 2))(x)
        assert result.devices() == x.devices()
        assert np.asarray(result).tolist() == [2, 2, 2, 2]
"""


@pytest.mark.parametrize("order", ["cpu cuda cpu cuda", "cuda cpu cuda cpu"])
def test_bridge_gpu_one_process_uses_both_platforms(order):
    command = [sys.executable, "-c", BOTH, *order.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("default", [False, True], ids=["committed", "default device"])
@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_bridge_gpu_call_on_the_cpu_is_inferred_there(jit, default):
    weight = torch.full((64,), 2.0)
    function = torch2jax(lambda t: t * weight)
    with jax.default_device(cpu() if default else None):
        x = jax.device_put(ONES, cpu())
        result = (jax.jit(function) if jit else function)(x)
    assert result.devices() == {cpu()}
    np.testing.assert_array_equal(result, 2 * ONES)


def test_bridge_gpu_call_on_the_cpu_is_inferred_there_by_a_run():
    weight = torch.full((64,), 2.0)
    function = torch2jax(lambda t: t * weight * float(t[0] > 0), infer="run")
    result = function(jax.device_put(ONES, cpu()))
    np.testing.assert_array_equal(result, 2 * ONES)


def test_bridge_gpu_function_that_fails_on_both_says_so():
    with pytest.raises(TypeError, match="could not be inferred"):
        torch2jax(lambda t: t @ torch.ones(3, 3))(jax.device_put(ONES, cuda()))


class Dropped(nn.Module):
    def forward(self, x):
        return torch.nn.functional.dropout(x, 0.5, self.training)


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_bridge_gpu_key_touches_no_other_generator(where):
    device = cpu() if where == "cpu" else cuda()
    with jax.default_device(device):
        apply, params, _ = torch2jax(Dropped())
        torch.manual_seed(3)
        torch.rand(1)
        states = [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]
        seen = []

        def forward(self, x):
            seen.append([g.initial_seed() for g in torch.cuda.default_generators])
            return x.clone()

        Dropped.forward, before = forward, Dropped.forward
        try:
            key = jax.device_put(np.array([7, 9], np.uint32), device)
            key = jax.random.wrap_key_data(key, impl="threefry2x32")
            apply(params, jax.device_put(ONES, device), rng=key)[0].block_until_ready()
        finally:
            Dropped.forward = before
    after = [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]
    assert all(map(torch.equal, states, after))
    own = 7 << 32 | 9
    expected = [own if where == "cuda" and i == 0 else 3 for i in range(torch.cuda.device_count())]
    assert seen[-1] == expected


@several
def test_bridge_gpu_conversions_keep_the_current_device():
    for current in (0, 1):
        for other in (0, 1):
            x = jax.device_put(ONES, cuda(other))
            torch.cuda.set_device(current)
            tensor = j2t(x)
            assert (tensor.device.index, torch.cuda.current_device()) == (other, current)
            assert t2j(tensor * 2).devices() == {cuda(other)}
            assert torch.cuda.current_device() == current
            (result,) = jax2torch(lambda x: (torch2jax(lambda t: t * 3)(x),))(tensor)
            assert (result.device.index, torch.cuda.current_device()) == (other, current)
            np.testing.assert_array_equal(result.cpu(), 3 * ONES)
    torch.cuda.set_device(0)


@several
def test_bridge_gpu_current_device_in_a_call_is_that_of_the_call():
    seen = []

    def function(x):
        made = torch.full((64,), 2.0, device="cuda")
        seen.append((x.device.index, made.device.index, torch.cuda.current_device()))
        return x * made

    for index in (1, 0, 1):
        x = jax.device_put(ONES, cuda(index))
        call = jax.jit(torch2jax(function, output_shapes=x))
        np.testing.assert_array_equal(call(x), 2 * ONES)
        assert seen.pop() == (index, index, index)
    # What JAX leaves behind is JAX's affair; naming the device sets it right.
    torch.cuda.set_device(0)
    assert torch.ones(1, device="cuda").device.index == 0


def step(params, x, cotangent):
    """One step of x -> tanh(x w + b) by given gradients, all of it in PyTorch's kernels."""
    _, pull = jax.vjp(layer, params, x)
    grads, _ = pull(cotangent)
    return descend(params, grads)


layer = torch2jax(lambda params, x: torch.tanh(x * params["w"] + params["b"]))
descend = torch2jax(lambda params, grads: {k: params[k] + grads[k] * -0.5 for k in params})


def step_in_numpy(params, x, cotangent):
    moved = cotangent * (1 - np.tanh(x * params["w"] + params["b"]) ** 2)
    return {"w": params["w"] - 0.5 * moved * x, "b": params["b"] - 0.5 * moved}


def train(device, seed, steps=6):
    random = np.random.default_rng(seed)
    w, b, x, cotangent = random.standard_normal((4, 512)).astype(np.float32)
    params = {"w": w, "b": b}
    ours = jax.device_put((params, x, cotangent), device)
    state, call = ours[0], jax.jit(step)
    for _ in range(steps):
        state = call(state, *ours[1:])
        params = step_in_numpy(params, x, cotangent)
    for name, want in params.items():
        np.testing.assert_allclose(state[name], want, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("side", [False, True], ids=["default stream", "another stream"])
def test_bridge_gpu_captured_tensor_is_read_when_it_is_made(side, seed, delays):
    delays(seed)
    x = jax.device_put(ONES, cuda())
    with torch.cuda.stream(torch.cuda.Stream() if side else torch.cuda.default_stream()):
        weight = torch.zeros(64, device="cuda")
        call = jax.jit(torch2jax(lambda t: t * weight, output_shapes=x))
        for value in range(5, 30, 5):
            torch.cuda._sleep(10**6)
            for _ in range(5):
                weight.add_(1)
            np.testing.assert_array_equal(call(x), value * ONES)
            torch.cuda.current_stream().synchronize()


@pytest.mark.parametrize("seed", range(10))
def test_bridge_gpu_training_step_by_value(seed, delays):
    delays(seed)
    train(cuda(), seed)


@several
@pytest.mark.parametrize("seed", range(10))
def test_bridge_gpu_threads_on_two_devices(seed, delays):
    delays(seed)
    failures = []

    def run(number):
        try:
            train(cuda(number % 2), 10 * seed + number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_bridge_gpu_threads_convert_at_once(delays):
    delays(11)
    failures = []
    x = jax.device_put(ONES, cuda())

    def run(factor):
        try:
            stream = torch.cuda.Stream()
            with torch.cuda.stream(stream):
                for _ in range(20):
                    result = j2t(t2j(j2t(x) * factor)) + 1
                    np.testing.assert_array_equal(result.cpu(), factor * ONES + 1)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(factor,)) for factor in range(2, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
