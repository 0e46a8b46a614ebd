"""Every layer in every precision: the dtype of its outputs, and their values beside float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
TOLERANCE = {"float16": 0.02, "bfloat16": 0.15, "float32": 2e-5, "float64": 1e-6}

# A layer, and the shape of its input.
LAYERS = {
    "Linear": (lambda: pax.Linear(4, 3), (2, 4)),
    "Conv1D": (lambda: pax.Conv1D(4, 2, 3), (2, 5, 4)),
    "Conv2D": (lambda: pax.Conv2D(4, 2, 3, data_format="NCHW"), (2, 4, 3, 3)),
    "Conv3D": (lambda: pax.Conv3D(4, 2, 2), (1, 3, 3, 3, 4)),
    "Conv1DTranspose": (lambda: pax.Conv1DTranspose(4, 2, 3, 2), (2, 3, 4)),
    "Conv2DTranspose": (lambda: pax.Conv2DTranspose(4, 2, 3, 2), (1, 3, 3, 4)),
    "Conv3DTranspose": (lambda: pax.Conv3DTranspose(4, 2, 2), (1, 2, 2, 2, 4)),
    "BatchNorm1D": (lambda: pax.BatchNorm1D(4), (5, 4)),
    "BatchNorm2D": (lambda: pax.BatchNorm2D(4).eval(), (2, 3, 3, 4)),
    "BatchNorm3D": (lambda: pax.BatchNorm3D(4), (2, 2, 2, 2, 4)),
    "LayerNorm": (lambda: pax.LayerNorm(4), (2, 4)),
    "RMSNorm": (lambda: pax.RMSNorm(4), (2, 4)),
    "GroupNorm": (lambda: pax.GroupNorm(2, 4), (2, 3, 4)),
    "InstanceNorm": (lambda: pax.InstanceNorm(4), (2, 3, 4)),
    "MultiHeadAttention": (lambda: pax.MultiHeadAttention(2, 2, rotary_base=10.0), (2, 3, 4)),
    "LSTM": (lambda: Unrolled(pax.LSTM(4, 3)), (2, 4)),
    "GRU": (lambda: Unrolled(pax.GRU(4, 3)), (2, 4)),
    "VanillaRNN": (lambda: Unrolled(pax.VanillaRNN(4, 3)), (2, 4)),
    "Sequential": (lambda: pax.Sequential(pax.Linear(4, 2), jax.nn.relu, pax.Identity()), (2, 4)),
    "EMA": (lambda: pax.EMA(jnp.zeros((2, 4)), 0.5, debias=True), (2, 4)),
}


class Unrolled(pax.Module):
    """Two steps of a recurrent cell."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def __call__(self, x):
        state, _ = self.cell(self.cell.initial_state(x.shape[0]), x)
        return self.cell(state, x)[1]


def made(make, dtype):
    """The layer with random parameters of a dtype, made without compiling its initializers."""

    def traced():
        pax.seed_rng_key(0)
        return make()

    draw = np.random.default_rng(0)

    def new(leaf):
        values = np.abs(0.5 * draw.standard_normal(leaf.shape)) + 0.1
        return jnp.asarray(values, leaf.dtype if dtype is None else dtype)

    return jax.tree.map(new, jax.eval_shape(traced))


def precise_layer(layer):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), layer)


def evaluate(layer, x):
    """The changed layer, the output, and the gradients, here and in float64."""

    def loss(layer, x):
        net, y = layer % x
        return y.astype(jnp.float64).sum(), (net, y)

    run = jax.value_and_grad(loss, (0, 1), has_aux=True)
    (_, (net, y)), grads = run(layer, x)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (layer, x))
    _, (_, expected) = loss(*wide)
    return net, y, grads, expected


def dtypes(tree):
    return [leaf.dtype for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("name", LAYERS)
def test_dtypes_of_outputs_states_and_gradients(name):
    make, shape = LAYERS[name]
    # JAX's own derivative of half-precision attention mixes dtypes.
    promotion = "standard" if name == "MultiHeadAttention" else "strict"
    with jax.enable_x64(True), jax.numpy_dtype_promotion(promotion):
        layers = {dtype: made(make, dtype) for dtype in TOLERANCE}
        draw = np.random.default_rng(1).standard_normal(shape)
        inputs = {dtype: jnp.asarray(draw, dtype) for dtype in TOLERANCE}
        run = quick(lambda layers, xs: {d: evaluate(layers[d], xs[d]) for d in TOLERANCE})
        for dtype, (net, y, grads, expected) in run(layers, inputs).items():
            layer, x = layers[dtype], inputs[dtype]
            assert y.dtype == x.dtype
            assert dtypes(net) == dtypes(layer)
            assert dtypes(grads) == dtypes((layer, x))
            expected = np.asarray(expected)
            tolerance = TOLERANCE[dtype] * max(1.0, np.abs(expected).max())
            np.testing.assert_allclose(np.asarray(y, np.float64), expected, 0, tolerance)


@pytest.mark.parametrize(
    "name", ["BatchNorm1D", "BatchNorm2D", "LayerNorm", "RMSNorm", "GroupNorm", "InstanceNorm"]
)
def test_norms_of_half_precision_inputs_keep_float32_parameters(name):
    make, shape = LAYERS[name]
    layer = made(make, None)
    net, y = jax.eval_shape(lambda layer, x: layer % x, layer, jnp.ones(shape, jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(net)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", ["Linear", "Conv2D", "Conv2DTranspose", "MultiHeadAttention"])
def test_mixed_dtypes_follow_the_promotion_rules(name):
    make, shape = LAYERS[name]
    layer, x = made(make, None), jnp.ones(shape, jnp.bfloat16)
    # A class of its own, which has a public name only from JAX 0.10.1 on.
    with pytest.raises(ValueError, match=r"bfloat16.*implicit dtype promotion"):
        layer(x)
    with jax.numpy_dtype_promotion("standard"):
        assert jax.eval_shape(lambda x: layer(x), x).dtype == jnp.float32


@pytest.mark.parametrize(
    ("make", "x", "message"),
    [
        (
            lambda: pax.LayerNorm(4),
            jnp.ones((2, 4), int),
            "expects a floating dtype, got an array of int",
        ),
        (lambda: pax.Embed(3, 2), jnp.ones(2), "expects integers, got an array of float32"),
        (
            lambda: pax.Dropout(0.5),
            jnp.ones(2, int),
            "expects an array of floating dtype, got one of int",
        ),
        (
            lambda: pax.EMA(jnp.ones(2), 0.5),
            jnp.ones(2, int),
            r"EMA averages floating-point arrays, and value is of int",
        ),
        (lambda: pax.EMA({"a": jnp.ones(2, int)}, 0.5), None, r"value\['a'\] is of int"),
    ],
    ids=["LayerNorm", "Embed", "Dropout", "EMA", "EMA initially"],
)
def test_a_wrong_dtype_raises(make, x, message):
    with pytest.raises(TypeError, match=message):
        make()(x)
