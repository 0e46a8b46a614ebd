"""The convolutional network of PyTorch's CIFAR-10 tutorial in pax_jax, flax and equinox, with equal weights.

Each `*_epoch` returns a program that trains one epoch with SGD and momentum over the same batches, and
goes on from where the last epoch ended; its result is the last loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import numpy as np
import optax

import opax
import pax_jax

SGD = {"learning_rate": 0.01, "momentum": 0.9}
Batches = Sequence[tuple[jax.Array, jax.Array]]
Epoch = Callable[[], jax.Array]
Tree = Any


def max_pool(x: jax.Array) -> jax.Array:
    """The largest of each 2 by 2 square of images of shape (n, height, width, channels)."""
    n, height, width, channels = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


class PaxNet(pax_jax.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = pax_jax.Conv2D(3, 6, 5, padding="VALID")
        self.conv2 = pax_jax.Conv2D(6, 16, 5, padding="VALID")
        self.fc1 = pax_jax.Linear(400, 120)
        self.fc2 = pax_jax.Linear(120, 84)
        self.fc3 = pax_jax.Linear(84, 10)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = max_pool(jax.nn.relu(self.conv1(x)))
        x = max_pool(jax.nn.relu(self.conv2(x)))
        x = jax.nn.relu(self.fc1(x.reshape(x.shape[0], -1)))
        return self.fc3(jax.nn.relu(self.fc2(x)))


class FlaxNet(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = max_pool(nn.relu(nn.Conv(6, (5, 5), padding="VALID", name="conv1")(x)))
        x = max_pool(nn.relu(nn.Conv(16, (5, 5), padding="VALID", name="conv2")(x)))
        x = nn.relu(nn.Dense(120, name="fc1")(x.reshape(x.shape[0], -1)))
        return nn.Dense(10, name="fc3")(nn.relu(nn.Dense(84, name="fc2")(x)))


class EquinoxNet(eqx.Module):
    """Takes one image of shape (channels, height, width), as equinox's layers do."""

    conv1: eqx.nn.Conv2d
    conv2: eqx.nn.Conv2d
    fc1: eqx.nn.Linear
    fc2: eqx.nn.Linear
    fc3: eqx.nn.Linear

    def __call__(self, x: jax.Array) -> jax.Array:
        pool = eqx.nn.MaxPool2d(2, 2)
        x = pool(jax.nn.relu(self.conv1(x)))
        x = pool(jax.nn.relu(self.conv2(x)))
        x = jax.nn.relu(self.fc1(x.reshape(-1)))
        return self.fc3(jax.nn.relu(self.fc2(x)))


def flax_params(net: PaxNet) -> Tree:
    """The weights of `net`, under the names that flax gives them."""
    layers = {name: getattr(net, name) for name in ("conv1", "conv2", "fc1", "fc2", "fc3")}
    return {
        "params": {
            name: {"kernel": layer.weight.copy(), "bias": layer.bias.copy()}
            for name, layer in layers.items()
        }
    }


def equinox_net(net: PaxNet) -> EquinoxNet:
    """The weights of `net` with outputs first, and the pixels that `fc1` reads in channel-first order."""
    key = jax.random.key(0)
    from_last = np.arange(400).reshape(5, 5, 16).transpose(2, 0, 1).reshape(-1)

    def conv(layer: Any) -> eqx.nn.Conv2d:
        outputs, inputs = layer.weight.shape[3], layer.weight.shape[2]
        values = layer.weight.transpose(3, 2, 0, 1), layer.bias.reshape(-1, 1, 1)
        return with_weights(eqx.nn.Conv2d(inputs, outputs, 5, key=key), *values)

    def linear(layer: Any, order: Any = slice(None)) -> eqx.nn.Linear:
        inputs, outputs = layer.weight.shape
        values = layer.weight[order].T, layer.bias.copy()
        return with_weights(eqx.nn.Linear(inputs, outputs, key=key), *values)

    dense = linear(net.fc1, from_last), linear(net.fc2), linear(net.fc3)
    return EquinoxNet(conv(net.conv1), conv(net.conv2), *dense)


def with_weights(layer: Any, weight: jax.Array, bias: jax.Array) -> Any:
    return eqx.tree_at(lambda layer: (layer.weight, layer.bias), layer, (weight, bias))


def pax_epoch(net: PaxNet, batches: Batches) -> Epoch:
    optimizer = opax.sgd(**SGD)(net.parameters())

    def loss_of(params: Tree, net: PaxNet, x: jax.Array, y: jax.Array) -> jax.Array:
        return cross_entropy(net.update(params)(x), y)

    @jax.jit
    def step(net: PaxNet, optimizer: Tree, x: jax.Array, y: jax.Array) -> tuple[Tree, ...]:
        loss, grads = jax.value_and_grad(loss_of)(net.parameters(), net, x, y)
        return *opax.apply_gradients(net, optimizer, grads), loss

    return epochs(step, (net, optimizer), batches)


def flax_epoch(net: PaxNet, batches: Batches) -> Epoch:
    model, params, tx = FlaxNet(), flax_params(net), optax.sgd(**SGD)

    def loss_of(params: Tree, x: jax.Array, y: jax.Array) -> jax.Array:
        return cross_entropy(model.apply(params, x), y)

    @jax.jit
    def step(params: Tree, state: Tree, x: jax.Array, y: jax.Array) -> tuple[Tree, ...]:
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        updates, state = tx.update(grads, state)
        return optax.apply_updates(params, updates), state, loss

    return epochs(step, (params, tx.init(params)), batches)


def equinox_epoch(net: PaxNet, batches: Batches) -> Epoch:
    model, tx = equinox_net(net), optax.sgd(**SGD)
    images_first = [(x.transpose(0, 3, 1, 2), y) for x, y in batches]

    @eqx.filter_jit
    def step(model: EquinoxNet, state: Tree, x: jax.Array, y: jax.Array) -> tuple[Tree, ...]:
        loss, grads = eqx.filter_value_and_grad(lambda m: cross_entropy(jax.vmap(m)(x), y))(model)
        updates, state = tx.update(grads, state)
        return eqx.apply_updates(model, updates), state, loss

    return epochs(step, (model, tx.init(eqx.filter(model, eqx.is_array))), images_first)


def epochs(
    step: Callable[..., tuple[Tree, ...]], carry: tuple[Tree, Tree], batches: Batches
) -> Epoch:
    """One epoch for each call."""

    def epoch() -> jax.Array:
        nonlocal carry
        loss = None
        for batch in batches:
            *carry, loss = step(*carry, *batch)
        return loss

    return epoch
