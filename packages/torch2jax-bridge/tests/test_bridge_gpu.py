"""On a CUDA device; run with `-m gpu`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from torch2jax_bridge import j2t, t2j, torch2jax

pytestmark = pytest.mark.gpu


@pytest.fixture
def device():
    return jax.devices("cuda")[0]


def test_bridge_gpu_call_and_gradient(device):
    seen = []

    def function(x, y):
        seen.append((x.device.type, torch.cuda.current_stream().cuda_stream))
        return torch.sin(x) * y

    x = jax.device_put(jnp.linspace(0.0, 1.0, 1000), device)
    wrapped = torch2jax(function, output_shapes=x)
    np.testing.assert_allclose(jax.jit(wrapped)(x, x), jnp.sin(x) * x, rtol=1e-6)
    gradient = jax.jit(jax.grad(lambda x: wrapped(x, x).sum()))(x)
    np.testing.assert_allclose(gradient, jnp.cos(x) * x + jnp.sin(x), rtol=1e-5)
    assert {kind for kind, _ in seen} == {"cuda"}
    assert all(stream != 0 for _, stream in seen)


def test_bridge_gpu_chain_is_ordered_by_the_stream(device):
    @jax.jit
    def chain(x):
        for _ in range(20):
            x = torch2jax(lambda t: t @ t / t.shape[0])(x) + 1 - 1
        return x

    x = jax.device_put(jnp.ones((1024, 1024)), device)
    for _ in range(5):
        np.testing.assert_allclose(chain(x), x, rtol=1e-4)


def test_bridge_gpu_result_on_the_cpu_is_an_error(device):
    x = jax.device_put(jnp.ones(3), device)
    with pytest.raises(jax.errors.JaxRuntimeError, match="result 0 is on cpu"):
        jax.block_until_ready(torch2jax(lambda t: t.cpu(), output_shapes=x)(x))


def test_bridge_gpu_module_trains(device):
    apply, params, buffers = torch2jax(
        torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.BatchNorm1d(8)).cuda()
    )
    x = jax.device_put(jnp.linspace(-1.0, 1.0, 64).reshape(8, 8), device)

    @jax.jit
    def step(params, buffers):
        def loss(params):
            out, new = apply(params, x, buffers=buffers)
            return ((out - 1) ** 2).mean(), new

        (value, new), grads = jax.value_and_grad(loss, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), new, value

    params, buffers, first = step(params, buffers)
    for _ in range(10):
        params, buffers, last = step(params, buffers)
    assert last < first


def test_bridge_gpu_conversion_shares_memory(device):
    x = jax.device_put(jnp.arange(10.0), device)
    assert j2t(x).data_ptr() == x.unsafe_buffer_pointer()


def test_bridge_gpu_conversions_share_memory_on_every_device():
    for index in range(torch.cuda.device_count()):
        tensor = torch.arange(64.0, device=f"cuda:{index}")
        array = t2j(tensor, copy=False)
        assert array.unsafe_buffer_pointer() == tensor.data_ptr()
        assert array.devices() == {jax.devices("cuda")[index]}
        assert j2t(array).device == tensor.device
        assert j2t(array).data_ptr() == tensor.data_ptr()


def test_bridge_gpu_pinned_memory_is_shared_with_the_cpu(device):
    tensor = torch.arange(64.0).pin_memory()
    array = t2j(tensor, copy=False)
    assert array.unsafe_buffer_pointer() == tensor.data_ptr()
    assert array.devices() == {jax.devices("cpu")[0]}


def test_bridge_gpu_conversions_wait_for_each_other(device):
    tensor = torch.zeros(1 << 24, device="cuda")
    for _ in range(50):
        tensor.add_(1)
    array = jax.jit(lambda x: x * 2)(t2j(tensor))
    assert (j2t(array) == 100).all()
