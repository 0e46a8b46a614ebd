"""Modules as pure functions: the same losses as in PyTorch, and the module left alone."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from torch2jax_bridge import j2t, t2j, torch2jax, tree_j2t


def convnet():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2),
        nn.BatchNorm2d(8, momentum=0.3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 3 * 3, 4),
    )


def batches(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.normal(size=(16, 3, 8, 8)).astype(np.float32), rng.integers(0, 4, 16)


def train_in_torch(module, steps, rate):
    losses = []
    for images, labels in batches(steps):
        loss = nn.functional.cross_entropy(module(torch.tensor(images)), torch.tensor(labels))
        module.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter -= rate * parameter.grad
        losses.append(loss.item())
    return losses


def train_in_jax(module, steps, rate):
    apply, params, buffers = torch2jax(module)

    @jax.jit
    def step(params, buffers, images, labels):
        def loss(params):
            logits, new = apply(params, images, buffers=buffers, is_training=True)
            chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)
            return -chosen.mean(), new

        (value, new), grads = jax.value_and_grad(loss, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - rate * g, params, grads), new, value

    losses = []
    for images, labels in batches(steps):
        params, buffers, value = step(params, buffers, images, labels)
        losses.append(float(value))
    return losses, params, buffers


def test_bridge_convnet_trains_to_the_same_losses():
    module = convnet()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    losses, params, buffers = train_in_jax(module, 8, 0.1)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    expected = train_in_torch(module, 8, 0.1)
    np.testing.assert_allclose(losses, expected, rtol=2e-4)
    assert losses[-1] != losses[0]
    for name, value in module.state_dict().items():
        ours = {**params, **buffers}[name]
        np.testing.assert_allclose(ours, value.numpy(), rtol=2e-3, atol=2e-4)


def test_bridge_module_modes():
    module = convnet()
    apply, params, buffers = torch2jax(module)
    images = next(batches(1))[0]
    trained, after = apply(params, images, buffers=buffers)
    assert int(after["1.num_batches_tracked"]) == 1
    assert int(buffers["1.num_batches_tracked"]) == 0
    evaluated, same = apply(params, images, buffers=buffers, is_training=False)
    for name in buffers:
        np.testing.assert_array_equal(same[name], buffers[name])
    np.testing.assert_allclose(
        evaluated, module.eval()(torch.tensor(images)).detach(), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(
        trained, module.train()(torch.tensor(images)).detach(), rtol=1e-5, atol=1e-5
    )


def test_bridge_module_forward_runs_once_in_a_training_step():
    calls = []

    class Counted(nn.Linear):
        def forward(self, x):
            calls.append(isinstance(x, torch._subclasses.FakeTensor))
            return super().forward(x)

    apply, params, _ = torch2jax(Counted(3, 2))
    step = jax.jit(jax.value_and_grad(lambda p, x: (apply(p, x)[0] ** 2).sum()))
    for i in range(3):
        jax.block_until_ready(step(params, jnp.ones((4, 3)) * i))
    assert calls == [False, False, False]


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.scale = torch.tensor(2.0)

    def forward(self, index, *, temperature=1.0, extra=None):
        self.count = self.count + index.numel()
        out = self.head(self.embed(index)) * self.scale / temperature
        return {"logits": out if extra is None else out + extra["bias"]}


def test_bridge_module_with_tied_weights_trees_and_reassigned_buffers():
    module = Tied()
    apply, params, buffers = torch2jax(module)
    assert set(params) == {"embed.weight"}
    index = jnp.array([1, 4])

    def loss(params):
        extra = {"bias": jnp.ones(5)}
        out, new = apply(params, index, buffers=buffers, temperature=2.0, extra=extra)
        return (out["logits"] ** 2).sum(), new

    grads, new = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert int(new["count"]) == 2
    assert int(module.count) == 0
    out = module(j2t(index).long(), temperature=2.0, extra={"bias": torch.ones(5)})
    (out["logits"] ** 2).sum().backward()
    np.testing.assert_allclose(grads["embed.weight"], module.embed.weight.grad, rtol=1e-5)


def test_bridge_module_forward_mode_and_vmap():
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    apply, params, _ = torch2jax(module)
    x = jnp.linspace(-1.0, 1.0, 15).reshape(5, 3)

    def one(x):
        return apply(params, x)[0]

    got = jax.vmap(jax.jacfwd(one))(x)
    want = torch.func.vmap(torch.func.jacrev(module))(j2t(x)).detach()
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    members = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), params)
    outs = jax.vmap(lambda p: apply(p, x)[0])(members)
    np.testing.assert_allclose(outs[0], one(x), rtol=1e-5)


def test_bridge_dropout_in_a_training_step():
    apply, params, _ = torch2jax(nn.Sequential(nn.Linear(1, 1000, bias=False), nn.Dropout(0.5)))
    params = {"0.weight": jnp.ones((1000, 1))}
    step = jax.jit(jax.value_and_grad(lambda p: (apply(p, jnp.ones((1, 1)))[0]).sum()))
    value, grads = step(params)
    assert float(grads["0.weight"].sum()) == float(value)
    assert 800 < float(value) < 1200


def test_bridge_module_parameters_are_copies():
    module = nn.Linear(2, 2)
    _, params, _ = torch2jax(module)
    before = np.array(params["weight"])
    with torch.no_grad():
        module.weight.zero_()
    np.testing.assert_array_equal(params["weight"], before)


def test_bridge_module_parameters_in_its_own_memory():
    module = nn.Linear(64, 64)
    apply, params, _ = torch2jax(module, share_memory=True)
    assert params["weight"].unsafe_buffer_pointer() == module.weight.data_ptr()
    x = jnp.ones((2, 64))
    update = jax.jit(lambda p: jax.tree.map(lambda leaf: leaf + 1, p), donate_argnums=0)
    before = module.weight.detach().clone()
    new = update(params)  # JAX may not have the memory, which is PyTorch's
    assert torch.equal(module.weight, before)
    np.testing.assert_allclose(
        apply(new, x)[0][0, 0], 64 + 1 + module(j2t(x))[0, 0].item(), rtol=1e-5
    )


def test_bridge_module_with_missing_parameter():
    apply, params, _ = torch2jax(nn.Linear(2, 2))
    del params["bias"]
    with pytest.raises(TypeError, match=r"Linear was not given .*missing \['bias'\], unknown none"):
        apply(params, jnp.ones(2))


def test_bridge_module_examples():
    apply, params, buffers = torch2jax(convnet(), torch.ones(2, 3, 8, 8))
    assert apply(params, jnp.ones((2, 3, 8, 8)), buffers=buffers)[0].shape == (2, 4)
    with pytest.raises(TypeError, match="could not be inferred"):
        torch2jax(convnet(), torch.ones(2, 5, 8, 8))


def test_bridge_closed_over_module():
    module = convnet().eval()
    x = torch.randn(2, 3, 8, 8)
    wrapped = jax.jit(torch2jax(lambda x: module(x)))
    np.testing.assert_allclose(wrapped(t2j(x)), module(x).detach(), rtol=1e-5, atol=1e-5)
    assert tree_j2t(wrapped(t2j(x))).requires_grad is False


class Recurrent(nn.Module):
    """A module that keeps references to its parameters elsewhere too."""

    def __init__(self):
        super().__init__()
        self.cells = nn.LSTM(3, 4, batch_first=True)
        self.norm = nn.utils.parametrizations.weight_norm(nn.Linear(4, 2))

    def forward(self, x):
        return self.norm(self.cells(x)[0])


def test_bridge_module_whose_parameters_are_more_than_attributes():
    torch.manual_seed(0)
    module = Recurrent()
    apply, params, _ = torch2jax(module)
    x = jnp.linspace(-1.0, 1.0, 30).reshape(2, 5, 3)
    np.testing.assert_allclose(apply(params, x)[0], module(j2t(x)).detach(), atol=1e-6)
    grads = jax.jit(jax.grad(lambda p: (apply(p, x)[0] ** 2).sum()))(params)
    (module(j2t(x)) ** 2).sum().backward()
    for name, parameter in module.named_parameters():
        np.testing.assert_allclose(grads[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_bridge_module_called_by_several_threads_at_once():
    module = convnet()
    apply, params, buffers = torch2jax(module)
    step = jax.jit(lambda p, b, x: apply(p, x, buffers=b))
    scaled = [jax.tree.map(lambda p, i=i: p * (1 + i), params) for i in range(6)]
    images = next(batches(1))[0]
    alone = [step(p, buffers, images) for p in scaled]

    def work(i):
        return all(
            np.array_equal(step(scaled[i], buffers, images)[0], alone[i][0]) for _ in range(10)
        )

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(6)))
