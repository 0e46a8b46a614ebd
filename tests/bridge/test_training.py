"""Networks of PyTorch that train inside of jax.jit, with optax, to the losses that PyTorch reaches."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch import nn

from torch2jax_bridge import torch2jax

STEPS = 4


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.around = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.around = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        return torch.relu_(self.body(x) + self.around(x))


def resnet18():
    widths = [64, 64, 128, 256, 512]
    stages = [
        nn.Sequential(Block(inputs, outputs, 1 if i == 0 else 2), Block(outputs, outputs, 1))
        for i, (inputs, outputs) in enumerate(pairwise(widths))
    ]
    stem = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)
    return nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1), *stages, *head)


class Encoder(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.embed = nn.Embedding(50, 32)
        self.register_buffer("positions", torch.sin(torch.arange(12.0)[:, None] * torch.arange(32)))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=dropout, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, tokens):
        x = self.layers(self.embed(tokens) + self.positions)
        return self.head(x.mean(1))


def images(step):
    draw = np.random.default_rng(step)
    return draw.normal(size=(4, 3, 32, 32)), draw.integers(0, 10, 4)


def sentences(step):
    draw = np.random.default_rng(step)
    return draw.integers(0, 50, (6, 12)), draw.integers(0, 10, 6)


CASES = {
    "resnet18-sgd": (
        resnet18,
        images,
        lambda p: torch.optim.SGD(p, 0.02, momentum=0.9),
        optax.sgd(0.02, momentum=0.9),
    ),
    "encoder-adam": (
        lambda: Encoder(0.0),
        sentences,
        lambda p: torch.optim.Adam(p, 1e-3),
        optax.adam(1e-3),
    ),
}


def train_in_torch(module, batches, optimizer):
    losses = []
    for step in range(STEPS):
        x, labels = map(torch.tensor, batches(step))
        loss = nn.functional.cross_entropy(module(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def train_in_jax(module, batches, optimizer, keys=None):
    apply, params, buffers = torch2jax(module)

    @jax.jit
    def step(params, buffers, state, x, labels, key):
        def loss(params):
            logits, new = apply(params, x, buffers=buffers, rng=key)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean(), new

        (value, new), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), new, state, value

    state, losses = optimizer.init(params), []
    for i in range(STEPS):
        x, labels = map(jnp.asarray, batches(i))
        key = None if keys is None else keys[i]
        params, buffers, state, value = step(params, buffers, state, x, labels, key)
        losses.append(float(value))
    return losses, params, buffers


@pytest.mark.parametrize("case", CASES)
def test_bridge_network_trains_to_the_losses_of_torch(case):
    make, batches, in_torch, in_jax = CASES[case]
    with jax.enable_x64(True):
        torch.manual_seed(0)
        module = make().double()
        losses, params, buffers = train_in_jax(module, batches, in_jax)
        expected = train_in_torch(module, batches, in_torch(module.parameters()))
        np.testing.assert_allclose(losses, expected, rtol=1e-8)
        assert len(set(losses)) == STEPS
        for name, value in module.state_dict().items():
            ours = {**params, **buffers}[name]
            np.testing.assert_allclose(ours, value.numpy(), rtol=1e-6, atol=1e-9)


def test_bridge_gradients_of_a_whole_network_in_forward_and_reverse_mode():
    with jax.enable_x64(True):
        torch.manual_seed(0)
        module = Encoder(0.0).double()
        apply, params, buffers = torch2jax(module)
        tokens, labels = sentences(0)

        def loss(params):
            logits = apply(params, jnp.asarray(tokens), buffers=buffers)[0]
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        grads = jax.jit(jax.grad(loss))(params)
        nn.functional.cross_entropy(module(torch.tensor(tokens)), torch.tensor(labels)).backward()
        for name, parameter in module.named_parameters():
            np.testing.assert_allclose(grads[name], parameter.grad, rtol=1e-7, atol=1e-10)
        with nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH):  # has a forward derivative
            _, slope = jax.jvp(loss, (params,), (grads,))
        np.testing.assert_allclose(slope, sum((g**2).sum() for g in grads.values()), rtol=1e-7)


def test_bridge_dropout_by_key_trains_the_same_twice_and_eagerly():
    keys = jax.random.split(jax.random.key(3), STEPS)
    torch.manual_seed(0)
    module = Encoder(0.3)
    first, *_ = train_in_jax(module, sentences, optax.sgd(0.1), keys)
    again, *_ = train_in_jax(module, sentences, optax.sgd(0.1), keys)
    other, *_ = train_in_jax(module, sentences, optax.sgd(0.1), keys[::-1])
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
