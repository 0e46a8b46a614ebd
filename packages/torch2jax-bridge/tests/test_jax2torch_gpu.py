"""`jax2torch` on a CUDA device; run with `-m gpu`."""

import jax
import jax.numpy as jnp
import pytest
import torch

from torch2jax_bridge import JaxModule, jax2torch

pytestmark = pytest.mark.gpu

f = jax2torch(lambda x, y: {"sum": jnp.sum(x * jnp.sin(y)), "x": x})


def test_jax2torch_gpu_values_gradients_and_transforms():
    x, y = torch.rand(2, 1000, device="cuda", requires_grad=True)
    out = f(x, y)
    assert out["sum"].device == x.device
    assert out["x"].data_ptr() != x.data_ptr()
    got = torch.autograd.grad(out["sum"], (x, y))
    want = torch.autograd.grad((x * torch.sin(y)).sum(), (x, y))
    torch.testing.assert_close(got, want)
    first = x.detach()[:5]
    hessian = torch.func.hessian(lambda y: f(first, y)["sum"])(first)
    torch.testing.assert_close(hessian, torch.diag(-first * torch.sin(first)))
    rows = torch.func.vmap(lambda x: f(x, x)["sum"])(torch.ones(3, 2, device="cuda"))
    torch.testing.assert_close(rows, torch.sin(torch.ones(3, device="cuda")) * 2)


def test_jax2torch_gpu_streams_are_ordered():
    double = jax2torch(lambda x: x * 2)
    for stream in (torch.cuda.current_stream(), torch.cuda.Stream()):
        with torch.cuda.stream(stream):
            x = torch.zeros(1 << 24, device="cuda")
            for _ in range(20):
                x = double(x.add_(1))
            assert (x == 2**21 - 2).all()


def test_jax2torch_gpu_many_steps_write_in_place():
    module = JaxModule(lambda w, x: jnp.tanh(x @ w), jnp.eye(64)).cuda()
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    reference = torch.eye(64, device="cuda").requires_grad_()
    x = torch.rand(32, 64, device="cuda")
    for _ in range(20):
        optimizer.zero_grad()
        module(x).square().sum().backward()
        optimizer.step()
        (grad,) = torch.autograd.grad(torch.tanh(x @ reference).square().sum(), reference)
        reference = (reference - 0.1 * grad).detach().requires_grad_()
    torch.testing.assert_close(module.params.detach(), reference.detach(), rtol=1e-2, atol=1e-2)


def test_jax2torch_gpu_large_integers_are_an_error_and_the_device_lives():
    identity = jax2torch(lambda x: x)
    for dtype in (torch.int64, torch.uint64):
        with pytest.raises(OverflowError, match="values beyond"):
            identity(torch.full((3,), 2**40, device="cuda").to(dtype))
    assert identity(torch.full((3,), 7, device="cuda")).tolist() == [7, 7, 7]


def test_jax2torch_gpu_tensors_of_two_devices_are_refused():
    with pytest.raises(ValueError, match=r"args\[0\] is on cuda:0, args\[1\] on cpu"):
        f(torch.ones(1, device="cuda"), torch.ones(1))


def test_jax2torch_gpu_tensors_of_the_cpu_stay_there():
    assert jax.default_backend() == "gpu"
    assert f(torch.ones(3), torch.ones(3))["sum"].device.type == "cpu"
