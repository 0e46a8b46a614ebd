"""Low-rank adapters and weights of eight bits, in every kind of linear layer."""

import pickle
import re

import jax
import jax.numpy as jnp
import pytest

import pax_jax as pax

X = jax.random.normal(jax.random.key(1), (2, 3, 8))


def transformer(scan=False):
    return pax.nets.Transformer(8, 2, 2, scan=scan, rng_key=jax.random.key(0))


def close(a, b, tolerance=1e-5):
    return jnp.abs(a - b).max() <= tolerance * jnp.abs(b).max()


def filled(net):
    """Return a net whose adapters are no zeros."""
    return net.update(jax.tree.map(lambda leaf: leaf + 0.1, net.parameters()))


@pytest.mark.parametrize("scan", [False, True], ids=["list", "stack"])
def test_only_adapters_are_trained_and_merging_gives_the_same_outputs(scan):
    net = transformer(scan)
    tuned = pax.lora(net, 4, alpha=8.0, rng_key=jax.random.key(2))
    assert (tuned(X) == net(X)).all()
    paths = [jax.tree_util.keystr(p) for p, _ in jax.tree.leaves_with_path(tuned.parameters())]
    assert len(paths) == (12 if scan else 24)
    assert all(re.search(r"lora_[ab]$", path) for path in paths)
    grads = jax.jit(pax.grad(lambda net: jnp.sum(net(X) ** 2)))(filled(tuned))
    assert all(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(grads))
    tuned = filled(tuned)
    merged = pax.merge_lora(tuned)
    assert not close(merged(X), net(X))
    assert close(jax.jit(lambda net: net(X))(tuned), merged(X))
    assert jax.tree.structure(merged.unfreeze()) == jax.tree.structure(net)
    assert pickle.loads(pickle.dumps(tuned)) == tuned
    if scan:
        layers = tuned.with_scan(False)
        assert close(layers(X), tuned(X))
        assert layers.layers[0].attention.query.lora_a.shape == (8, 4)


def test_the_projections_of_attention_are_found_by_path():
    net = pax.lora(transformer(), 2, re.compile(r"attention/(query|output)$"))
    assert len(jax.tree.leaves(net.parameters())) == 8
    assert hasattr(net.layers[1].attention.output, "lora_a")
    assert not hasattr(net.layers[1].attention.key, "lora_a")
    for pattern in ("layers/*/attention/query", "layers.*.attention.query"):
        assert len(jax.tree.leaves(pax.lora(transformer(), 2, pattern).parameters())) == 4
    assert pax.lora(pax.Linear(2, 3), 1).lora_b.shape == (1, 3)
    rnn = pax.lora(pax.GRU(2, 3), 1)
    assert rnn(rnn.initial_state(2), jnp.ones((2, 2)))[1].shape == (2, 3)


@pytest.mark.parametrize("scan", [False, True], ids=["list", "stack"])
def test_weights_of_eight_bits_are_off_by_half_a_step_at_most(scan):
    net = transformer(scan)
    small = pax.quantize_int8(net)
    (layer, before) = (net.layers[0].dense_in for net in (small, net))
    step = jnp.abs(before.weight).max(axis=0, keepdims=True) / 127
    assert (jnp.abs(layer.weight - before.weight) <= step * (0.5 + 1e-3)).all()
    assert layer.weight_int8.dtype == jnp.int8
    x = X[0]
    bound = jnp.abs(x).sum(axis=-1, keepdims=True) * step * 0.501 + 1e-5
    assert (jnp.abs(layer(x) - before(x)) <= bound).all()
    assert close(small(X), net(X), 0.05)
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(small))
    assert held < 0.5 * sum(leaf.nbytes for leaf in jax.tree.leaves(net))
    tuned = filled(pax.lora(small, 2))
    assert close(pax.merge_lora(tuned)(X), tuned(X))
    assert pickle.loads(pickle.dumps(small)) == small
    zero = pax.quantize_int8(pax.Linear(2, 2).map(jnp.zeros_like))
    assert (zero.weight == 0).all()


class OwnCall(pax.Linear):
    def __call__(self, x):
        return jnp.tanh(super().__call__(x))


class Tied(pax.Module):
    decode = pax.Shared("encode.weight")

    def __init__(self):
        super().__init__()
        self.encode, self.head = pax.Linear(2, 2), pax.Linear(2, 2)


def test_a_layer_beside_one_that_cannot_have_an_adapter_has_one():
    assert pax.lora(Tied(), 1, "head").head.lora_a.shape == (2, 1)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            lambda: pax.lora(transformer(), 2, "**/querry"),
            r"matches none of the 12 .*attention/quer",
        ),
        (lambda: pax.quantize_int8(transformer(), "dense"), r"'dense' matches none of the 12"),
        (lambda: pax.lora(transformer(), 0), "a rank of at least 1, got 0"),
        (lambda: pax.lora(pax.Dropout(0.5), 1), "Dropout has no linear layers"),
        (
            lambda: pax.lora(pax.lora(transformer(), 1), 1),
            r"layers/0/attention/query has an adapter",
        ),
        (lambda: pax.merge_lora(transformer()), "no layer of Transformer has an adapter"),
        (lambda: pax.quantize_int8(pax.lora(transformer(), 1)), "has an adapter already"),
        (
            lambda: pax.quantize_int8(pax.quantize_int8(transformer())),
            "has a weight of eight bits already",
        ),
        (
            lambda: pax.lora(pax.Sequential(OwnCall(2, 2)), 1),
            "OwnCall, whose own __call__ may do more",
        ),
        (lambda: pax.lora(Tied(), 1), "The weight of encode is used by Tied.decode too"),
        (lambda: pax.lora(pax.quantize_int8(Tied()), 1), "is used by Tied.decode too"),
    ],
)
def test_what_is_refused(run, message):
    with pytest.raises(ValueError, match=message):
        run()
