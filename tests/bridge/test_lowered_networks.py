"""Networks that the benchmarks measure, as programs of XLA: whole, and equal to PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from benchmarks.torch_models import GPT2Block, resnet18, small_conv_net
from tests.bridge.operators import LITTLE_TIME
from torch2jax_bridge import torch2jax

NETWORKS = {
    "resnet18": (resnet18, (4, 3, 40, 40)),
    "gpt2-block": (lambda: GPT2Block(8, 2), (2, 5, 8)),
    "conv": (small_conv_net, (2, 3, 8, 8)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_lower_whole(name):
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    net = make()
    x = np.sin(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)
    apply, params, buffers = torch2jax(net, backend="xla", strict=True)

    def loss(params, x):
        out, after = apply(params, x, buffers=buffers)
        return jnp.mean(out**2), after

    step = jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=LITTLE_TIME)
    (value, after), grads = step(params, x)
    expected = (net(torch.from_numpy(x)) ** 2).mean()
    np.testing.assert_allclose(value, expected.detach(), rtol=1e-3)
    wanted = torch.autograd.grad(expected, list(net.parameters()))
    for (path, _), theirs in zip(net.named_parameters(), wanted, strict=True):
        scale = max(float(theirs.abs().max()), 1e-3)
        np.testing.assert_allclose(grads[path], theirs, atol=2e-3 * scale, err_msg=path)
    for path, buffer in net.named_buffers():
        np.testing.assert_allclose(after[path], buffer, rtol=1e-4, atol=1e-5, err_msg=path)
