"""Numbers where half precision, rounding or an extreme argument would make them wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax

FAR = (1e4 + np.random.RandomState(0).randn(32, 4, 4, 8)).astype("float32")


def normalized(x, axes):
    x = x.astype("float64")
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(var + 1e-5)


NORMS = {
    "BatchNorm1D": (lambda: pax.BatchNorm1D(8), (32, 8), (0,)),
    "BatchNorm1D of lines": (lambda: pax.BatchNorm1D(8), (32, 16, 8), (0, 1)),
    "BatchNorm2D": (lambda: pax.BatchNorm2D(8), (32, 4, 4, 8), (0, 1, 2)),
    "BatchNorm2D first": (lambda: pax.BatchNorm2D(4, data_format="NCHW"), (32, 4, 4, 8), (0, 2, 3)),
    "BatchNorm3D": (lambda: pax.BatchNorm3D(8), (4, 8, 4, 4, 8), (0, 1, 2, 3)),
    "LayerNorm": (lambda: pax.LayerNorm(128), (32, 128), (1,)),
    "GroupNorm": (lambda: pax.GroupNorm(1, 8), (32, 16, 8), (1, 2)),
    "InstanceNorm": (lambda: pax.InstanceNorm(8), (32, 16, 8), (1,)),
}


@pytest.mark.parametrize("name", NORMS)
def test_a_mean_far_from_zero_takes_nothing_from_the_variance(name):
    make, shape, axes = NORMS[name]
    x = FAR.ravel()[: np.prod(shape)].reshape(shape)
    layer = make()
    for _ in range(2):  # a batch with and one without averages before it
        y = layer(jnp.asarray(x))
        np.testing.assert_allclose(y, normalized(x, axes), rtol=2e-3, atol=2e-3)
    if hasattr(layer, "ema_var"):
        np.testing.assert_allclose(layer.ema_mean, x.astype("f8").mean(axes), rtol=1e-6)
        np.testing.assert_allclose(layer.ema_var, x.astype("f8").var(axes), rtol=1e-4)


def test_replicas_with_means_far_apart_share_one_variance():
    x = FAR[:, 0, 0].reshape(4, 8, 8) + np.arange(4, dtype="f4")[:, None, None]
    layer = pax.BatchNorm1D(8, cross_replica_axis="i")
    run = jax.vmap(lambda x: layer % x, axis_name="i", out_axes=(None, 0))
    layer, y = run(jnp.asarray(x))
    whole = x.reshape(32, 8)
    np.testing.assert_allclose(y.reshape(32, 8), normalized(whole, 0), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(layer.ema_var, whole.astype("f8").var(0), rtol=1e-4)


def test_the_derivatives_of_batch_norm_far_from_zero_are_those_near_it():
    near = np.random.RandomState(1).randn(16, 3).astype("float32")
    weights = np.random.RandomState(2).randn(16, 3).astype("float32")
    norm = pax.BatchNorm1D(3)

    def loss(x):
        return jnp.sum((norm % x)[1] * weights)

    gradient = jax.grad(loss)(jnp.asarray(near))
    np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(near + 256)), gradient, atol=1e-3)
    np.testing.assert_allclose(gradient.sum(0), 0.0, atol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("size", [7, 14, 32, 300])
def test_a_mean_of_a_window_of_half_precision_is_rounded_once(dtype, size):
    x = jnp.asarray(np.random.RandomState(0).rand(1, size, size, 1) + 10, dtype)
    right = np.asarray(x, np.float64).mean()
    y = pax.avg_pool(x, size, 1, "VALID")
    assert y.dtype == dtype
    assert y.item() == np.asarray(right, dtype).item()
    ones = pax.avg_pool(jnp.ones_like(x), size, 1, "SAME")
    assert bool((ones == 1).all())


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int32, bool])
def test_a_mean_of_integers_is_refused(dtype):
    with pytest.raises(TypeError, match="avg_pool expects an array of floating dtype"):
        pax.avg_pool(jnp.full((1, 2, 2, 1), 1, dtype), 2, 2, "VALID")


@pytest.mark.parametrize("pool", [pax.avg_pool, pax.max_pool], ids=["avg", "max"])
def test_sizes_of_a_window_are_those_of_the_spatial_axes(pool):
    x = jnp.asarray(np.random.RandomState(0).randn(2, 8, 6, 4), jnp.float32)
    right = pool(x, 2, 2, "VALID")
    for sizes in ((2, 2), (2, 2, 1), (1, 2, 2, 1), [2, 2]):
        np.testing.assert_array_equal(pool(x, sizes, sizes, "VALID"), right)
    first = jnp.moveaxis(x, -1, 1)
    for sizes in ((2, 2), (1, 2, 2), (1, 1, 2, 2)):
        y = pool(first, sizes, sizes, "VALID", channel_axis=1)
        np.testing.assert_array_equal(jnp.moveaxis(y, 1, -1), right)
    assert pool(x, (2, 2, 2), 2, "VALID", channel_axis=None).shape == (2, 4, 3, 2)
    with pytest.raises(ValueError, match=r"window_shape=\(2,\) has 1 sizes for an input"):
        pool(x, (2,), 2, "VALID")


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32], ids=str)
def test_a_long_average_of_half_precision_moves_on(dtype):
    @jax.jit
    def run(ema):
        def step(ema, _):
            y = ema({"a": jnp.ones((), dtype)})
            return ema, y

        return jax.lax.scan(step, ema, None, 3000)

    ema, y = run(pax.EMA({"a": jnp.zeros((), dtype)}, 0.999))
    assert y["a"].dtype == dtype
    assert ema.averages["a"].dtype == jnp.float32
    np.testing.assert_allclose(ema.averages["a"], 1 - 0.999**3000, rtol=1e-4)


def test_an_average_of_reals_takes_no_complex_values():
    with pytest.raises(TypeError, match="would lose its imaginary part"):
        pax.EMA(jnp.zeros(()), 0.5)(jnp.ones((), jnp.complex64))


def language_model():
    return pax.nets.LanguageModel(12, dim=8, num_heads=2, num_layers=1, rng_key=jax.random.key(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature is at least 0, got -1.0"),
        ({"temperature": float("nan")}, "temperature is at least 0, got nan"),
        ({"top_k": 0}, "top_k is from 1 to vocab_size=12, got 0"),
        ({"top_k": 13}, "top_k is from 1 to vocab_size=12, got 13"),
        ({"top_p": 0.0}, "top_p is above 0 and at most 1, got 0.0"),
        ({"top_p": 1.5}, "top_p is above 0 and at most 1, got 1.5"),
        ({"temperature": 0.5, "rng_key": None}, "Without rng_key the likeliest token is taken"),
        ({"top_k": 3, "rng_key": None}, "Without rng_key"),
        ({"top_p": 0.5, "rng_key": None}, "Without rng_key"),
    ],
)
def test_generate_refuses_options_that_are_wrong_or_have_no_effect(options, message):
    options = {"rng_key": jax.random.key(0), **options}
    with pytest.raises(ValueError, match=message):
        language_model().generate(jnp.zeros((1, 2), int), 2, **options)


def test_generate_samples_among_the_likeliest():
    net, prompt = language_model(), jnp.tile(jnp.array([[3, 1, 4]]), (2000, 1))
    logits = np.asarray(net(prompt[:1])[0, -1], np.float64)
    order = np.argsort(-logits)

    @jax.jit
    def draw(net, temperature, top_p):
        key = jax.random.key(1)

        def generate(**options):
            return net.generate(prompt, 1, rng_key=key, **options)[:, 0]

        return {
            "cold": generate(temperature=temperature * 0),
            "warm": generate(temperature=temperature),
            "top_k": generate(top_k=3),
            "top_p": generate(top_p=top_p),
            "one": generate(top_p=1e-6),
            "all": generate(top_k=12, top_p=1.0),
            "plain": generate(),
        }

    drawn = {name: np.asarray(ids) for name, ids in draw(net, 2.0, 0.5).items()}
    greedy = net.generate(prompt[:1], 1)[0, 0]
    assert set(drawn["cold"]) == set(drawn["one"]) == {int(greedy)} == {order[0]}
    assert set(drawn["top_k"]) == set(order[:3])
    chances = np.exp(logits[order] - logits.max())
    chances /= chances.sum()
    inside = np.flatnonzero(np.cumsum(chances) - chances < 0.5)
    assert set(drawn["top_p"]) == set(order[inside])
    assert (drawn["all"] == drawn["plain"]).all()
    tempered = np.exp(logits / 2) / np.exp(logits / 2).sum()
    shares = np.bincount(drawn["warm"], minlength=12) / 2000
    np.testing.assert_allclose(shares, tempered, atol=0.05)
    assert (net.generate(prompt[:1], 1, temperature=0.0, rng_key=jax.random.key(0)) == greedy).all()


NETS = {
    "Transformer": lambda **options: pax.nets.Transformer(8, 2, 1, **options),
    "LanguageModel": lambda **options: pax.nets.LanguageModel(8, 8, 2, 1, **options),
    "VisionTransformer": lambda **options: pax.nets.VisionTransformer(8, 4, 3, 8, 2, 1, **options),
    "ResNet": lambda **options: pax.nets.ResNet18(1, 3, **options),
}
INPUTS = {
    "Transformer": (2, 3, 8),
    "LanguageModel": (2, 3),
    "VisionTransformer": (2, 8, 8, 3),
    "ResNet": (2, 1, 8, 8),
}


@pytest.mark.parametrize("name", NETS)
def test_networks_take_an_activation_and_the_eps_of_their_norms(name):
    seen = []

    def activation(x):
        seen.append(x.shape)
        return jnp.sin(x)

    def run(key):
        pax.seed_rng_key(0)
        net = NETS[name](activation=activation, norm_eps=0.25, rng_key=key)
        norms = []
        net.apply(lambda m: norms.append(m.eps) or m if hasattr(m, "eps") else m)
        dtype = jnp.int32 if name == "LanguageModel" else jnp.float32
        net(jnp.ones(INPUTS[name], dtype))
        return norms

    norms = []
    jax.eval_shape(lambda key: norms.extend(run(key)), jax.random.key(0))
    assert set(norms) == {0.25}
    assert seen
    with pytest.raises(TypeError, match="Expected a function, got 3"):
        NETS[name](activation=3)
    with pytest.raises(TypeError, match="the module Linear"):
        NETS[name](activation=jax.vmap(pax.Linear(1, 1)))


def test_two_values_of_eps_are_refused():
    with pytest.raises(ValueError, match=r"Both norm_eps=0\.1 and bn_config's eps=0\.2"):
        pax.nets.ResNet18(1, 3, bn_config={"eps": 0.2}, norm_eps=0.1)
