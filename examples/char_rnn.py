"""Train a recurrent language model on the characters of a text, and let it write.

    python examples/char_rnn.py [--steps N] [--seed N] [--text FILE] [--hidden N] [--write N] ...

Without `--text` it learns to write Python: the text is the source of the module `argparse`.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import frame
import opax
import pax_jax as pax


class CharRNN(pax.Module):
    """Characters in, logits of the next characters out."""

    def __init__(self, characters: int, hidden: int):
        super().__init__()
        self.embed = pax.Embed(characters, hidden)
        self.cell = pax.LSTM(hidden, hidden)
        self.logits = pax.Linear(hidden, characters)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Map tokens (batch, time) to logits (batch, time, characters)."""
        start = self.cell.initial_state(len(tokens))
        _, hidden = pax.scan(self.cell, start, self.embed(tokens), time_major=False)
        return self.logits(hidden)

    def write(self, first: jax.Array, length: int, rng_key: jax.Array) -> jax.Array:
        """Draw `length` characters, each from what the model expects after those before it."""

        def step(carry, key):
            state, token = carry
            state, hidden = self.cell(state, self.embed(token))
            token = jax.random.categorical(key, self.logits(hidden)).astype(token.dtype)
            return (state, token), token

        start = self.cell.initial_state(), first
        return jax.lax.scan(step, start, jax.random.split(rng_key, length))[1]


def loss_fn(net: CharRNN, tokens: jax.Array):
    """Return the loss of predicting each character from those before it."""
    logits = net(tokens[:, :-1])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
    loss = jnp.mean(losses)
    return loss, (loss, net)


def read_text(options: argparse.Namespace, parser: frame.Parser) -> str:
    """Read the text; one line says what is wrong with it."""
    try:
        text = options.text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        parser.error(f"argument --text: cannot read {str(options.text)!r} ({reason})")
    if len(text) <= options.length:
        parser.error(f"argument --text: {len(text)} characters are not more than --length")
    return text


def main() -> None:
    """Train, and print what the model writes."""
    parser = frame.Parser("Train a recurrent language model of characters.", steps=300)
    parser.add_argument("--text", type=Path, default=Path(argparse.__file__), metavar="FILE")
    parser.add_count("--hidden", 128, "size of the recurrent state")
    parser.add_count("--length", 64, "characters in a training sequence")
    parser.add_count("--batch", 32, "sequences in a minibatch")
    parser.add_count("--write", 300, "characters to write in the end")
    options = parser.parse_args()
    text = read_text(options, parser)
    characters = sorted(set(text))
    tokens = np.searchsorted(characters, list(text)).astype(np.int32)
    pax.seed_rng_key(options.seed)
    net = CharRNN(len(characters), options.hidden)
    optimizer = opax.chain(opax.clip_by_global_norm(1.0), opax.adam(5e-3))(net.parameters())
    update = pax.jit(pax.build_update_fn(loss_fn), donate_argnums=(0, 1))

    draw = np.random.default_rng(options.seed)
    training = frame.Training("char rnn", options.steps)
    for _ in training:
        starts = draw.integers(0, len(tokens) - options.length, options.batch)
        batch = np.stack([tokens[start : start + options.length + 1] for start in starts])
        net, optimizer, loss = update(net, optimizer, batch)
        training.record(loss)

    first = jnp.asarray(tokens[0])
    written = pax.jit(CharRNN.write, static_argnums=2)(
        net, first, options.write, jax.random.key(options.seed)
    )
    print("".join(characters[token] for token in np.asarray(written)))


if __name__ == "__main__":
    frame.run(main)
