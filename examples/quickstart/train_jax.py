"""Modules and optimizers that are pytrees: both go into a jitted JAX step and come out changed."""

import jax
import jax.numpy as jnp
import optax
from rich.console import Console

import opax
import pax_jax as pax
from data import Digits, minibatches
from training_log import Result, TrainingLog


class Net(pax.Module):
    """The network of `net.py`, written as a stateful module: images (n, 8, 8) to logits (n, 10)."""

    def __init__(self):
        super().__init__()
        self.conv1 = pax.Conv2D(1, 16, 3)
        self.norm1 = pax.BatchNorm2D(16)
        self.conv2 = pax.Conv2D(16, 32, 3, stride=2)
        self.norm2 = pax.BatchNorm2D(32)
        self.logits = pax.Linear(32 * 4 * 4, 10)

    def __call__(self, images: jax.Array) -> jax.Array:
        """Compute the logits; in training mode this also updates the statistics of BatchNorm."""
        x = images[..., None]  # one channel, which comes last in JAX
        x = jax.nn.relu(self.norm1(self.conv1(x)))
        x = jax.nn.relu(self.norm2(self.conv2(x)))
        return self.logits(x.reshape(len(x), -1))


def loss_fn(params: Net, net: Net, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, Net]:
    """Return the loss, and the network with its updated statistics."""
    net = net.update(params)  # a copy that computes with `params`: that is what JAX differentiates
    losses = optax.softmax_cross_entropy_with_integer_labels(net(images), labels)
    return jnp.mean(losses), net


@jax.jit
def train_step(net: Net, optimizer, images: jax.Array, labels: jax.Array):
    """Return the loss, and network and optimizer after one step."""
    loss_and_grad = jax.value_and_grad(loss_fn, has_aux=True)
    (loss, net), grads = loss_and_grad(net.parameters(), net, images, labels)
    net, optimizer = opax.apply_gradients(net, optimizer, grads)
    return loss, net, optimizer


def train(digits: Digits, epochs: int, seed: int, console: Console) -> Result:
    """Train on the training images and return what the network says of the test images."""
    pax.seed_rng_key(seed)
    net = Net()
    steps = digits.steps(epochs)
    optimizer = opax.adam(optax.cosine_decay_schedule(0.01, steps))(net.parameters())

    log = TrainingLog(console, "pax_jax + opax", steps)
    for images, labels in log.watch(minibatches(digits, epochs, seed)):
        loss, net, optimizer = train_step(net, optimizer, images, labels)
        log.record(loss)

    logits = net.eval()(digits.test_images)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(net.parameters()))
    return log.result(parameters, jnp.argmax(logits, axis=1), digits.test_labels)
