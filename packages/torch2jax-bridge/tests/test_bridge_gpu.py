"""On a CUDA device; run with `-m gpu`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from torch2jax_bridge import j2t, original_exception, t2j, torch2jax

pytestmark = pytest.mark.gpu
Failure = (jax.errors.JaxRuntimeError, ValueError)


@pytest.fixture(autouse=True)
def device():
    device = jax.devices("cuda")[0]
    with jax.default_device(device):
        yield device


def close(got, want, tolerance=1e-4):
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def product(xp, x, y):
    return (x * xp.sin(y)).sum()


def vector(xp, x, y):
    return xp.tanh(x) * y + x * x * xp.exp(-y)


TRANSFORMS = {
    "call": lambda f, x, y: f(x, y),
    "jit": lambda f, x, y: jax.jit(f)(x, y),
    "jvp": lambda f, x, y: jax.jvp(f, (x, y), (y, x)),
    "grad": lambda f, x, y: jax.grad(lambda x, y: f(x, y).sum(), (0, 1))(x, y),
    "jit_grad": lambda f, x, y: jax.jit(jax.grad(lambda x, y: f(x, y).sum(), (0, 1)))(x, y),
    "hessian": lambda f, x, y: jax.hessian(lambda x, y: f(x, y).sum())(x, y),
    "vmap": lambda f, x, y: jax.vmap(f, (0, None))(jnp.stack([x, y, x + y]), y),
    "vmap_grad": lambda f, x, y: jax.vmap(jax.grad(lambda x, y: f(x, y).sum()), (0, None))(
        jnp.stack([x, y, x + y]), y
    ),
    "scan": lambda f, x, y: jax.lax.scan(lambda c, s: (c + f(c, s), c), x, jnp.stack([x, y])),
    "grad_scan": lambda f, x, y: jax.jit(
        jax.grad(
            lambda x: jax.lax.scan(lambda c, s: (c + f(c, s), 0), x, jnp.stack([y] * 5))[0].sum()
        )
    )(x),
    "checkpoint": lambda f, x, y: jax.jit(jax.grad(jax.checkpoint(lambda x: f(x, y).sum())))(x),
    "cond": lambda f, x, y: jax.jit(
        lambda x, y: jax.lax.cond(x[0] > 0, f, lambda x, y: f(y, x), x, y)
    )(x, y),
    "while": lambda f, x, y: jax.lax.fori_loop(0, 3, lambda _, c: 0.5 * c + f(c, y), x),
}


@pytest.mark.parametrize("function", [product, vector], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_bridge_gpu_transform_equals_jax(name, function):
    x, y = jnp.linspace(0.1, 1.0, 7), jnp.linspace(-1.0, 0.5, 7)
    transform = TRANSFORMS[name]
    for _ in range(2):
        got = transform(torch2jax(lambda x, y: function(torch, x, y)), x, y)
        close(got, transform(lambda x, y: function(jnp, x, y), x, y))


def test_bridge_gpu_runs_on_xlas_stream_and_restores_the_own():
    seen = []

    def function(x, y):
        seen.append((x.device.type, torch.cuda.current_stream().cuda_stream))
        return torch.sin(x) * y

    x = jnp.linspace(0.0, 1.0, 1000)
    mine = torch.cuda.Stream()
    with torch.cuda.stream(mine):
        got = jax.jit(torch2jax(function, output_shapes=x))(x, x)
        close(got, np.sin(x) * np.asarray(x))
        assert torch.cuda.current_stream() == mine
    assert {kind for kind, _ in seen} == {"cuda"}
    assert all(stream not in (0, mine.cuda_stream) for _, stream in seen)


def test_bridge_gpu_chain_is_ordered_by_the_stream():
    @jax.jit
    def chain(x):
        for _ in range(20):
            x = torch2jax(lambda t: t @ t / t.shape[0])(x) + 1 - 1
        return x

    x = jnp.ones((1024, 1024))
    for _ in range(5):
        close(chain(x), x)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_bridge_gpu_never_waits_for_the_device():
    step, state, x = training_step(net())
    state, _ = step(state, x)
    jax.block_until_ready(state)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            state, value = step(state, x)
        jax.block_until_ready(value)
    finally:
        torch.cuda.set_sync_debug_mode(before)


def test_bridge_gpu_host_does_not_wait():
    slow = torch2jax(lambda x: torch.cuda._sleep(int(2e9)) or x + 1, output_shapes=jnp.ones(4))
    call = jax.jit(slow)
    jax.block_until_ready(call(jnp.ones(4)))
    event = torch.cuda.Event()
    out = call(jnp.ones(4))
    event.record()
    assert not out.is_ready()  # the host is here while the device still sleeps
    close(out, 2 * np.ones(4))


def test_bridge_gpu_result_on_the_cpu_is_an_error():
    x = jnp.ones(3)
    with pytest.raises(Failure, match="Result 0 is on cpu"):
        jax.block_until_ready(torch2jax(lambda t: t.cpu(), output_shapes=x)(x))


def test_bridge_gpu_exception_is_reachable():
    def function(x):
        raise LookupError("nothing there")

    with pytest.raises(Failure) as info:
        jax.block_until_ready(jax.jit(torch2jax(function, output_shapes=jnp.ones(3)))(jnp.ones(3)))
    assert isinstance(original_exception(info.value), LookupError)


def test_bridge_gpu_kept_argument_is_an_error():
    kept = []
    x = jnp.ones(3)
    with pytest.raises(Failure, match="kept a tensor"):
        jax.block_until_ready(torch2jax(lambda t: kept.append(t) or t + 1, output_shapes=x)(x))


@pytest.mark.parametrize("size", [10, 1000, 20_000_000])
def test_bridge_gpu_sizes(size):
    call = jax.jit(torch2jax(lambda t: t + 1))
    for i in range(3):
        values = np.arange(i, size + i, dtype=np.float32)
        close(call(jax.device_put(values)), values + 1)


def test_bridge_gpu_aliases_and_out():
    x, y = jnp.linspace(0.0, 1.0, 1000), jnp.ones(1000)
    values = np.linspace(0.0, 1.0, 1000)
    close(torch2jax(torch.add, out=True)(x, y), values + 1)
    changed = torch2jax(lambda a, b: a.mul_(2).add_(b), input_output_aliases={0: 0})(x, y)
    close(changed, 2 * values + 1)
    close(x, values)


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 4)
    ).cuda()


def training_step(module):
    apply, params, buffers = torch2jax(module)
    x = jnp.sin(jnp.arange(16.0 * 3 * 8 * 8)).reshape(16, 3, 8, 8)

    @jax.jit
    def step(state, x):
        params, buffers = state

        def loss(params):
            out, new = apply(params, x, buffers=buffers)
            return ((out - 1) ** 2).mean(), new

        (value, new), grads = jax.value_and_grad(loss, has_aux=True)(params)
        return (jax.tree.map(lambda p, g: p - 0.05 * g, params, grads), new), value

    return step, (params, buffers), x


def test_bridge_gpu_module_trains_to_the_same_losses():
    module = net()
    step, state, x = training_step(module)
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    for _ in range(10):
        state, value = step(state, x)
        optimizer.zero_grad()
        loss = ((module(j2t(x)) - 1) ** 2).mean()
        loss.backward()
        optimizer.step()
        close(value, loss.detach().cpu().numpy(), 2e-3)


def test_bridge_gpu_training_step_runs_the_forward_pass_once():
    runs = []

    class Counted(nn.LayerNorm):
        def forward(self, x):
            runs.append(isinstance(x, torch._subclasses.FakeTensor))
            return torch.tanh(x * self.weight)

    apply, params, _ = torch2jax(Counted(8).cuda())
    step = jax.jit(jax.value_and_grad(lambda p, x: (apply(p, x)[0] ** 2).sum()))
    for i in range(3):
        jax.block_until_ready(step(params, jnp.ones((4, 8)) * i))
    assert runs == [False, False, False]


def test_bridge_gpu_dropout_by_key():
    apply, params, _ = torch2jax(nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5)).cuda())
    x = jnp.ones((4, 8))
    first = apply(params, x, rng=jax.random.key(0))[0]
    close(apply(params, x, rng=jax.random.key(0))[0], first)
    assert not np.array_equal(apply(params, x, rng=jax.random.key(1))[0], first)


def test_bridge_gpu_conversion_shares_memory():
    x = jnp.arange(10.0)
    assert j2t(x).data_ptr() == x.unsafe_buffer_pointer()
    tensor = torch.arange(10.0, device="cuda")
    assert t2j(tensor).unsafe_buffer_pointer() == tensor.data_ptr()


def test_bridge_gpu_pinned_memory():
    tensor = torch.arange(10.0).pin_memory()
    array = t2j(tensor)
    assert array.device.platform == "cpu"
    close(array, np.arange(10.0))
    assert j2t(array).device.type == "cpu"


def test_bridge_gpu_every_device():
    for device in jax.devices("cuda"):
        seen = []
        x = jax.device_put(jnp.arange(4.0), device)
        call = torch2jax(lambda t, s=seen: s.append(t.device.index) or t * 2, output_shapes=x)
        out = jax.jit(call)(x)
        close(out, 2 * np.arange(4.0))
        assert seen == [device.local_hardware_id]
        assert out.devices() == {device}
