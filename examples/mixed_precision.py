"""Train in half precision with a scaled loss, and in full precision, and compare the two.

    python examples/mixed_precision.py [--steps N] [--seed N] [--batch N]

Small gradients vanish in half precision. The loss is therefore multiplied by a scale before it is
differentiated, and the gradients are divided by it (https://arxiv.org/abs/1710.03740). The scale
grows until gradients overflow; such a step is left out, and the scale is halved.
"""

import jax
import jax.numpy as jnp
import jmp
import numpy as np
import optax

import digits_data
import frame
import opax
import pax_jax as pax
from pax_jax.experimental import apply_scaled_gradients, default_mp_policy


def make_net() -> pax.Sequential:
    """Make the net: images (n, 8, 8, 1) to logits (n, 10)."""
    return pax.Sequential(
        lambda x: x.reshape(len(x), -1),
        pax.Linear(64, 128),
        pax.BatchNorm1D(128),
        jax.nn.relu,
        pax.Linear(128, 10),
    )


@jax.jit
def train_step(net, optimizer, loss_scale, images, labels):
    """Return the loss, and net, optimizer and loss scale after one step."""

    def loss_fn(net):
        losses = optax.softmax_cross_entropy_with_integer_labels(net(images), labels)
        loss = jnp.mean(losses)
        return loss_scale.scale(loss), (loss, net)

    grads, (loss, net) = pax.grad(loss_fn, has_aux=True)(net)
    return loss, *apply_scaled_gradients(net, optimizer, loss_scale, grads)


def train(name, net, loss_scale, data, options):
    """Train a net and return it with the last loss scale."""
    optimizer = opax.adam(3e-3)(net.parameters())
    training = frame.Training(name, options.steps)
    for _, batch in zip(training, data.batches(options.batch, options.seed), strict=False):
        loss, net, optimizer, loss_scale = train_step(net, optimizer, loss_scale, *batch)
        training.record(loss)
    return net, loss_scale


def main() -> None:
    """Train twice, and print both accuracies."""
    parser = frame.Parser("Train in half and in full precision, and compare.", steps=300)
    parser.add_count("--batch", 64, "images in a minibatch")
    options = parser.parse_args()
    data, test = digits_data.load(options.seed)
    for name in ("full precision", "half precision"):
        pax.seed_rng_key(options.seed)
        net, loss_scale = make_net(), jmp.NoOpLossScale()
        if name == "half precision":
            net = net.apply(default_mp_policy)
            loss_scale = jmp.DynamicLossScale(jnp.asarray(2.0**15))
            print(net.summary())
        net, loss_scale = train(name, net, loss_scale, data, options)
        accuracy = np.mean(jnp.argmax(net.eval()(test.images), axis=1) == test.labels)
        scale = f", loss scale {loss_scale.loss_scale:.0f}"
        print(f"{name}: test accuracy {accuracy:.1%}{scale if name[0] == 'h' else ''}")


if __name__ == "__main__":
    frame.run(main)
