"""The language model, the vision transformer and the residual networks by themselves."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def language_model(key, **options):
    return pax.nets.LanguageModel(7, 8, 2, 2, rng_key=key, **options)


def test_cached_decoding_equals_the_full_forward_and_generates_the_likeliest():
    tokens = jnp.array([[1, 2, 3, 4], [6, 5, 0, 1]])

    @quick
    def run(key, tokens):
        net = language_model(key, num_kv_heads=1, dropout_rate=0.5).eval()
        caches = net.initial_cache(2, 4)
        parts = []
        for start, stop in ((0, 2), (2, 3), (3, 4)):
            caches, logits = net.decode(caches, tokens[:, start:stop])
            parts.append(logits)
        # The same continuation without a cache, each token from a full forward.
        written = tokens
        for _ in range(3):
            token = jnp.argmax(net(written)[:, -1:], axis=-1).astype(tokens.dtype)
            written = jnp.concatenate([written, token], axis=1)
        greedy = net.generate(tokens, 3)
        cold = net.generate(tokens, 3, temperature=1e-4, rng_key=jax.random.key(1))
        warm = net.generate(tokens, 3, temperature=100.0, rng_key=jax.random.key(1))
        return net(tokens), jnp.concatenate(parts, axis=1), written[:, 4:], greedy, cold, warm

    whole, decoded, expected, greedy, cold, warm = run(jax.random.key(0), tokens)
    assert whole.shape == (2, 4, 7)
    close(decoded, whole)
    assert (greedy == expected).all()
    assert (cold == expected).all()
    assert (warm != expected).any()
    assert greedy.dtype == jnp.int32


def test_the_language_model_learns_and_trains_its_tied_embedding():
    tokens = jnp.array([[1, 2, 3, 1, 2, 3, 1, 2]])

    @quick
    def train(key, tokens):
        net = language_model(key)

        def loss_fn(params):
            logits = net.update(params)(tokens[:, :-1])
            picked = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[:, 1:, None], -1)
            return -picked.mean()

        def step(params, _):
            loss, grads = jax.value_and_grad(loss_fn)(params)
            return jax.tree.map(lambda p, g: p - 0.3 * g, params, grads), loss

        return jax.lax.scan(step, net.parameters(), length=40)[1]

    losses = train(jax.random.key(0), tokens)
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_vision_transformer_is_a_transformer_over_patches(data_format):
    axes = (0, 1, 2, 3) if data_format == "NHWC" else (0, 3, 1, 2)

    @quick
    def run(key, x):
        net = pax.nets.VisionTransformer(
            4, 2, 3, 8, 2, 1, data_format=data_format, input_channels=2, rng_key=key
        )
        # By hand: the patches of the image, row by row, flattened and mapped.
        patches = x.reshape(1, 2, 2, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(1, 4, 8)
        vectors = patches @ net.patches.weight.reshape(8, 8)
        token = net.class_token.reshape(1, 1, 8)
        y = jnp.concatenate([token, vectors], axis=1) + net.positions[None]
        return net(x.transpose(axes)), net.logits(net.transformer(y)[:, 0]), net.parameters()

    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, 4, 4, 2)), jnp.float32)
    logits, expected, params = run(jax.random.key(0), x)
    close(logits, expected)
    assert params.class_token.shape == (8,)
    assert params.positions.shape == (5, 8)
    assert params.dropout.rng_key is None


def test_rotary_products_depend_on_the_distance_only():
    draw = np.random.default_rng(0).standard_normal((2, 1, 1, 6))
    q, k = jnp.asarray(draw, jnp.float32)

    def product(i, j):
        turned = [
            pax.rotary_embedding(x[None], jnp.array([position]), base=50.0)
            for x, position in ((q[0], i), (k[0], j))
        ]
        return float(jnp.vdot(*turned))

    assert product(3, 1) == pytest.approx(product(9, 7), abs=1e-5)
    assert abs(product(3, 1) - product(3, 2)) > 1e-3


def test_rotary_is_a_complex_rotation():
    x = np.random.default_rng(0).standard_normal((2, 5, 3, 8)).astype(np.float32)
    positions = np.array([[0, 1, 2, 3, 4], [7, 8, 9, 10, 11]])
    speeds = 100.0 ** (-np.arange(4) / 4)
    turns = np.exp(1j * positions[..., None, None] * speeds)
    z = (x[..., :4] + 1j * x[..., 4:]) * turns
    expected = np.concatenate([z.real, z.imag], axis=-1)
    close(pax.rotary_embedding(jnp.asarray(x), jnp.asarray(positions), 100.0), expected)
    by_default = pax.rotary_embedding(jnp.asarray(x), base=100.0)
    close(by_default[0], expected[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pax.nets.ResNet(3, (1, 1, 1), 5), r"blocks_per_group has a value for each of 4"),
        (lambda: pax.nets.ResNet18(3, 5, padding="VALID"), "padding is 'HALF' or 'SAME'"),
        (lambda: pax.nets.ResNet18(3, 5, data_format="NWC"), "data_format is 'NHWC' or 'NCHW'"),
        (
            lambda: pax.nets.ResNet(3, (1, 1, 1, 1), 5, False, use_projection=(False,) * 4),
            "A block from 64 to 256 channels with stride 1 needs a projection",
        ),
        (
            lambda: pax.nets.ResNet(3, (1, 1, 1, 1), 5, channels_per_group=(6, 8, 8, 8)),
            "divide by 4, got 6",
        ),
        (lambda: pax.nets.VisionTransformer(9, 2, 3, 8, 2, 1), "patch_size=2 does not divide"),
        (lambda: pax.nets.LanguageModel(7, 8, 3, 1), "num_heads=3 does not divide dim=8"),
    ],
)
def test_wrong_arguments_raise(make, message):
    def traced():
        pax.seed_rng_key(0)
        return make()

    with pytest.raises(ValueError, match=message):
        jax.eval_shape(traced)


def test_wrong_inputs_raise():
    def traced(key):
        net = pax.nets.VisionTransformer(4, 2, 3, 8, 2, 1, rng_key=key)
        with pytest.raises(ValueError, match=r"images NHWC of 4 by 4, got \(1, 4, 6, 3\)"):
            net(jnp.ones((1, 4, 6, 3)))
        net = language_model(key)
        with pytest.raises(ValueError, match=r"got \(1, 0\) and num_tokens=2"):
            net.generate(jnp.zeros((1, 0), int), 2)
        with pytest.raises(ValueError, match=r"Embed\(.*\) attends to \(\.\.\., 8\), got \(2,\)"):
            net.embed.attend(jnp.ones(2))
        with pytest.raises(ValueError, match="an even size"):
            pax.rotary_embedding(jnp.ones((2, 1, 3)))
        return jnp.zeros(())

    jax.eval_shape(traced, jax.random.key(0))
