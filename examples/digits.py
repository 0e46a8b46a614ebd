"""Train a classifier of handwritten digits: a convolutional net with batch normalization and dropout.

python examples/digits.py [--steps N] [--seed N] [--batch N]
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import digits_data
import frame
import opax
import pax_jax as pax


def make_net() -> pax.Sequential:
    """Make the net: images (n, 8, 8, 1) to logits (n, 10)."""
    return pax.Sequential(
        pax.Conv2D(1, 16, 3),
        pax.BatchNorm2D(16),
        jax.nn.relu,
        pax.Conv2D(16, 32, 3, stride=2),
        pax.BatchNorm2D(32),
        jax.nn.relu,
        lambda x: x.reshape(len(x), -1),
        pax.Dropout(0.3),
        pax.Linear(32 * 4 * 4, 10),
    )


def loss_fn(net: pax.Module, images: jax.Array, labels: jax.Array):
    """Return the loss, and the net with its new statistics and random key."""
    losses = optax.softmax_cross_entropy_with_integer_labels(net(images), labels)
    loss = jnp.mean(losses)
    return loss, (loss, net)


@pax.jit
def predict(net: pax.Module, images: jax.Array) -> jax.Array:
    """Return the most likely digit for each image."""
    return jnp.argmax(net(images), axis=1)


def main() -> None:
    """Train, and print the accuracy on images that were not trained on."""
    parser = frame.Parser("Train a classifier of handwritten digits.", steps=400)
    parser.add_count("--batch", 64, "images in a minibatch")
    options = parser.parse_args()
    pax.seed_rng_key(options.seed)
    train, test = digits_data.load(options.seed)
    net = make_net()
    print(net.summary())
    optimizer = opax.adam(optax.cosine_decay_schedule(0.01, options.steps))(net.parameters())
    update = pax.jit(pax.build_update_fn(loss_fn), donate_argnums=(0, 1))

    training = frame.Training("digits", options.steps)
    for _, (images, labels) in zip(
        training, train.batches(options.batch, options.seed), strict=False
    ):
        net, optimizer, loss = update(net, optimizer, images, labels)
        training.record(loss)

    accuracy = np.mean(predict(net.eval(), test.images) == test.labels)
    print(f"test accuracy: {accuracy:.1%}")


if __name__ == "__main__":
    frame.run(main)
