"""A Transformer that learns to reverse its rows: what `fsdp_jax.py` and `table.py` train."""

import jax
import optax

import opax
import pax_jax as pax


def make(width: int, heads: int):
    """Return the net, the same in all processes, and its optimizer."""
    net = pax.nets.Transformer(width, heads, 1, rng_key=jax.random.key(0))
    return net, opax.adamw(0.01)(net.parameters())


def step(net, optimizer, x):
    """Return the loss, and the net and the optimizer after a step: written for one device, as for many."""

    def loss_fn(params):
        return optax.squared_error(net.update(params)(x), x[:, ::-1]).mean()

    loss, grads = jax.value_and_grad(loss_fn)(net.parameters())
    net = optimizer.step(grads, net)
    return loss, net, optimizer
