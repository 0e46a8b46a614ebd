"""The PyTorch network inside JAX: its parameters are JAX arrays, its step is jitted by JAX.

`torch2jax` makes a JAX function of the torch module. JAX differentiates through it (PyTorch's
autograd computes that part of the derivative), and an `opax` optimizer updates the parameters.
"""

import jax
import jax.numpy as jnp
import optax
from rich.console import Console

import opax
from data import Digits, minibatches
from net import make_net
from torch2jax_bridge import torch2jax
from training_log import Result, TrainingLog


def train(digits: Digits, epochs: int, seed: int, console: Console) -> Result:
    """Train on the training images and return what the network says of the test images."""
    apply, params, buffers = torch2jax(make_net(seed))

    def loss_fn(params, buffers, images, labels):
        logits, buffers = apply(params, images, buffers=buffers, is_training=True)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return jnp.mean(losses), buffers

    @jax.jit
    def train_step(params, buffers, optimizer, images, labels):
        loss_and_grad = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, buffers), grads = loss_and_grad(params, buffers, images, labels)
        params, optimizer = opax.apply_gradients(params, optimizer, grads)
        return loss, params, buffers, optimizer

    steps = digits.steps(epochs)
    optimizer = opax.adam(optax.cosine_decay_schedule(0.01, steps))(params)

    log = TrainingLog(console, "torch2jax_bridge + opax", steps)
    for images, labels in log.watch(minibatches(digits, epochs, seed)):
        # Torch convolutions take images of the shape (n, 1, 8, 8): the channel comes first.
        loss, params, buffers, optimizer = train_step(
            params, buffers, optimizer, images[:, None], labels
        )
        log.record(loss)

    test_images = jnp.asarray(digits.test_images[:, None])
    logits, _ = apply(params, test_images, buffers=buffers, is_training=False)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    return log.result(parameters, jnp.argmax(logits, axis=1), digits.test_labels)
