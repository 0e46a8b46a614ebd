"""Train on some digits, then freeze all but a new last layer, and train that on the other digits.

python examples/fine_tuning.py [--steps N] [--seed N] [--batch N]
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
    """Make the net: images (n, 8, 8, 1) to logits (n, 5)."""
    return pax.Sequential(
        pax.Conv2D(1, 16, 3),
        jax.nn.relu,
        pax.Conv2D(16, 32, 3, stride=2),
        jax.nn.relu,
        lambda x: x.reshape(len(x), -1),
        pax.Linear(32 * 4 * 4, 5),
    )


def loss_fn(net: pax.Module, images: jax.Array, labels: jax.Array):
    """Return the loss and the net."""
    losses = optax.softmax_cross_entropy_with_integer_labels(net(images), labels)
    loss = jnp.mean(losses)
    return loss, (loss, net)


update = pax.jit(pax.build_update_fn(loss_fn))


def train(name, net, data, steps, options):
    """Train the parameters of a net that are not frozen."""
    size = sum(leaf.size for leaf in jax.tree.leaves(net.parameters()))
    print(f"{name}: {size:,} trained parameters")
    optimizer = opax.adam(3e-3)(net.parameters())
    training = frame.Training(name, steps)
    for _, (images, labels) in zip(
        training, data.batches(options.batch, options.seed), strict=False
    ):
        net, optimizer, loss = update(net, optimizer, images, labels)
        training.record(loss)
    return net


def accuracy(net: pax.Module, data: digits_data.Digits) -> float:
    """Return how many images are recognised, 0 to 1."""
    return float(np.mean(jnp.argmax(net.eval()(data.images), axis=1) == data.labels))


def main() -> None:
    """Train on 0 to 4, fine-tune on 5 to 9, and print both accuracies."""
    parser = frame.Parser("Fine-tune the last layer of a trained net.", steps=200)
    parser.add_count("--batch", 64, "images in a minibatch")
    options = parser.parse_args()
    pax.seed_rng_key(options.seed)
    data, test = digits_data.load(options.seed)
    low, high = range(5), range(5, 10)

    net = train("digits 0-4", make_net(), data.only(*low), options.steps, options)
    print(f"digits 0-4: test accuracy {accuracy(net, test.only(*low)):.1%}")

    body = net.freeze()  # a copy whose parameters are not trained
    before = jax.tree.map(np.array, body.state_dict())
    body.modules[-1] = pax.Linear(32 * 4 * 4, 5)  # a new last layer, which is
    tuned = train("digits 5-9", body, data.only(*high), options.steps, options)
    print(f"digits 5-9: test accuracy {accuracy(tuned, test.only(*high)):.1%}")

    after = tuned.state_dict()
    kept = [name for name, array in before.items() if np.array_equal(array, after[name])]
    print(f"unchanged: {', '.join(kept)}")


if __name__ == "__main__":
    frame.run(main)
