"""The layers of pax_jax against those of dm-haiku on the same weights, forward and backward."""

import haiku as hk
import jax
import jax.numpy as jnp
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import pax_jax as pax
from tests.jax.layer_peers import close, compare, haiku, linear, made, normal, present, quick

SIZES = st.sampled_from([1, 3, 4])
BATCHES = st.sampled_from([(), (2,), (2, 3)])
examples = settings(deadline=None, max_examples=6)


@examples
@given(batch=BATCHES, in_dim=SIZES, out_dim=SIZES, with_bias=st.booleans())
def test_linear(batch, in_dim, out_dim, with_bias):
    layer = made(lambda: pax.Linear(in_dim, out_dim, with_bias))
    peer = haiku(lambda: hk.Linear(out_dim, with_bias))
    compare(layer, lambda p: {"linear": linear(p)}, peer, normal(1, *batch, in_dim))


@examples
@given(batch=BATCHES, vocabulary=SIZES, size=SIZES)
def test_embed(batch, vocabulary, size):
    layer = made(lambda: pax.Embed(vocabulary, size))
    peer = haiku(lambda: hk.Embed(vocabulary, size))
    ids = jnp.arange(6).reshape(2, 3)[tuple(slice(n) for n in batch)][:2] % vocabulary
    compare(layer, lambda p: {"embed": {"embeddings": p.weight}}, peer, ids, differentiable=0)


@examples
@given(
    shape=st.sampled_from([(2, 4), (2, 3, 4), (2, 3, 5, 4)]),
    axis=st.sampled_from([-1, 1, (1,), (0, -1), slice(1, None), slice(0, 2)]),
    scale=st.booleans(),
    offset=st.booleans(),
    eps=st.sampled_from([1e-5, 1e-2]),
)
def test_layer_norm(shape, axis, scale, offset, eps):
    layer = made(lambda: pax.LayerNorm(4, axis, scale, offset, eps))
    peer = haiku(lambda: hk.LayerNorm(axis, scale, offset, eps, param_axis=-1))

    def convert(p):
        return {"layer_norm": present(scale=p.scale, offset=p.offset)}

    compare(layer, convert if scale or offset else lambda p: {}, peer, normal(1, *shape))


@examples
@given(
    shape=st.sampled_from([(2, 4), (2, 3, 4)]),
    axis=st.sampled_from([-1, (0, -1), slice(1, None)]),
    scale=st.booleans(),
)
def test_rms_norm(shape, axis, scale):
    layer = made(lambda: pax.RMSNorm(4, axis, scale))
    peer = haiku(lambda: hk.RMSNorm(axis, 1e-5, create_scale=scale, param_axis=-1))

    def convert(p):
        return {"rms_norm": {"scale": p.scale}} if scale else {}

    compare(layer, convert, peer, normal(1, *shape))


def per_channel(layer, ndim, data_format):
    """Scale and offset in the shape that haiku's group norms give them."""
    shape = (-1,) if data_format in ("channels_last", "N...C") else (-1, *(1,) * (ndim - 2))
    return {
        name: array.reshape(shape)
        for name, array in present(scale=layer.scale, offset=layer.offset).items()
    }


@examples
@given(
    ndim=st.sampled_from([2, 3, 4]),
    groups=st.sampled_from([1, 2, 4]),
    axis=st.sampled_from([slice(1, None), slice(2, None), (1,)]),
    scale=st.booleans(),
    offset=st.booleans(),
    data_format=st.sampled_from(["channels_last", "N...C", "channels_first", "NC..."]),
)
def test_group_norm(ndim, groups, axis, scale, offset, data_format):
    layer = made(lambda: pax.GroupNorm(groups, 4, axis, scale, offset, data_format=data_format))
    peer = haiku(lambda: hk.GroupNorm(groups, axis, scale, offset, data_format=data_format))
    shape = {2: (2, 4), 3: (2, 4, 4), 4: (2, 4, 3, 4)}[ndim]

    def convert(p):
        return {"group_norm": per_channel(p, ndim, data_format)}

    compare(layer, convert if scale or offset else lambda p: {}, peer, normal(1, *shape))


@examples
@given(
    ndim=st.sampled_from([3, 4]),
    affine=st.booleans(),
    data_format=st.sampled_from(["channels_last", "channels_first"]),
)
def test_instance_norm(ndim, affine, data_format):
    layer = made(lambda: pax.InstanceNorm(4, affine, affine, data_format=data_format))
    peer = haiku(lambda: hk.InstanceNorm(affine, affine, data_format=data_format))
    shape = {3: (2, 4, 4), 4: (2, 4, 3, 4)}[ndim]

    def convert(params):
        shape = (
            (1,) * (ndim - 1) + (4,)
            if data_format == "channels_last"
            else (1, 4) + (1,) * (ndim - 2)
        )
        return {
            "instance_norm": {n: getattr(params, n).reshape(shape) for n in ("scale", "offset")}
        }

    compare(layer, convert if affine else lambda p: {}, peer, normal(1, *shape))


@examples
@given(batch=st.sampled_from([(), (2,)]), input_dim=SIZES, hidden_dim=SIZES)
def test_lstm(batch, input_dim, hidden_dim):
    layer = made(lambda: pax.LSTM(input_dim, hidden_dim, forget_gate_bias=1.0))
    core = haiku(lambda: hk.LSTM(hidden_dim))

    def peer(params, state, x):
        y, (hidden, cell) = core(params, x, hk.LSTMState(*state))
        return pax.LSTMState(hidden, cell), y

    state = pax.LSTMState(normal(1, *batch, hidden_dim), normal(2, *batch, hidden_dim))
    x = normal(3, *batch, input_dim)
    compare(layer, lambda p: {"lstm/linear": linear(p.fc)}, peer, state, x)
    assert jax.tree.map(jnp.shape, layer.initial_state(*batch)) == jax.tree.map(jnp.shape, state)


@examples
@given(batch=st.sampled_from([(), (2,)]), input_dim=SIZES, hidden_dim=SIZES)
def test_gru(batch, input_dim, hidden_dim):
    layer = made(lambda: pax.GRU(input_dim, hidden_dim))
    core = haiku(lambda: hk.GRU(hidden_dim))

    def convert(params):
        both = jnp.concatenate([params.xh_zr_fc.weight, params.xh_h_fc.weight], axis=1)
        bias = jnp.concatenate([params.xh_zr_fc.bias, params.xh_h_fc.bias])
        return {"gru": {"w_i": both[:input_dim], "w_h": both[input_dim:], "b": bias}}

    def peer(params, state, x):
        y, hidden = core(params, x, state.hidden)
        return pax.GRUState(hidden), y

    state = pax.GRUState(normal(1, *batch, hidden_dim))
    compare(layer, convert, peer, state, normal(2, *batch, input_dim))
    assert layer.initial_state(*batch).hidden.shape == state.hidden.shape


@examples
@given(batch=st.sampled_from([(), (2,)]), input_dim=SIZES, hidden_dim=SIZES, double=st.booleans())
def test_vanilla_rnn(batch, input_dim, hidden_dim, double):
    layer = made(lambda: pax.VanillaRNN(input_dim, hidden_dim, double_bias=double))
    core = haiku(lambda: hk.VanillaRNN(hidden_dim, double))

    def peer(params, state, x):
        y, hidden = core(params, x, state.hidden)
        return pax.VanillaRNNState(hidden), y

    def convert(p):
        return {
            "vanilla_rnn/linear": linear(p.input_fc),
            "vanilla_rnn/linear_1": linear(p.hidden_fc),
        }

    state = pax.VanillaRNNState(normal(1, *batch, hidden_dim))
    compare(layer, convert, peer, state, normal(2, *batch, input_dim))


@settings(deadline=None, max_examples=8)
@given(
    batch=st.sampled_from([(), (2,), (2, 3)]),
    heads=st.sampled_from([1, 2]),
    masked=st.sampled_from([None, "one", "heads"]),
    with_bias=st.booleans(),
    model_size=st.sampled_from([None, 6]),
)
def test_multi_head_attention(batch, heads, masked, with_bias, model_size):
    size = 4 * heads if model_size is None else model_size
    layer = made(
        lambda: pax.MultiHeadAttention(
            heads, 4, with_bias=with_bias, model_size=model_size, input_dims=(3, 5, 5)
        )
    )
    init = hk.initializers.RandomNormal()
    core = haiku(
        lambda: hk.MultiHeadAttention(heads, 4, w_init=init, with_bias=with_bias, model_size=size)
    )
    query, key, value = normal(1, *batch, 3, 3), normal(2, *batch, 4, 5), normal(3, *batch, 4, 5)
    mask = None
    if masked:
        mask = normal(4, *(1,) * len(batch), heads if masked == "heads" else 1, 3, 4) > -0.5
        mask = mask.at[..., 0].set(True)
    names = ["query", "key", "value", "output"]

    def convert(p):
        return {
            f"multi_head_attention/{'linear' if name == 'output' else name}": linear(
                getattr(p, name)
            )
            for name in names
        }

    inputs = (query, key, value) if mask is None else (query, key, value, mask)
    compare(layer, convert, core, *inputs, differentiable=3)


@settings(deadline=None, max_examples=6)
@given(decay=st.sampled_from([0.0, 0.5, 0.9]), debias=st.booleans())
def test_ema(decay, debias):
    ema = pax.EMA({"a": jnp.zeros(3)}, decay, debias)
    peer = hk.without_apply_rng(
        hk.transform_with_state(
            lambda x: hk.ExponentialMovingAverage(decay, zero_debias=debias, name="ema")(x)
        )
    )
    _, state = peer.init(None, jnp.zeros(3))
    state = jax.tree.map(jnp.zeros_like, state)
    for seed in range(3):
        x = normal(seed, 3)
        expected, state = peer.apply({}, state, x)
        with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
            close(ema({"a": x}), {"a": expected}, 1e-6)


FORMATS = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}
CONVOLUTIONS = {1: pax.Conv1D, 2: pax.Conv2D, 3: pax.Conv3D}
TRANSPOSED = {1: pax.Conv1DTranspose, 2: pax.Conv2DTranspose, 3: pax.Conv3DTranspose}


def images(ndim, channels, first):
    shape = (5, 6, 4)[:ndim]
    return normal(1, *((2, channels, *shape) if first else (2, *shape, channels)))


def kernel(layer, ndim, first):
    """Weight and bias in haiku's shapes."""
    if layer.bias is None:
        return {"w": layer.weight}
    return {"w": layer.weight, "b": layer.bias.reshape(-1, *(1,) * (ndim if first else 0))}


@pytest.mark.parametrize("ndim", [1, 2, 3])
@settings(deadline=None, max_examples=5)
@given(
    size=st.sampled_from([1, 3]),
    stride=st.sampled_from([1, 2]),
    rate=st.sampled_from([1, 2]),
    padding=st.sampled_from(["SAME", "VALID", (1, 2)]),
    groups=st.sampled_from([1, 2]),
    first=st.booleans(),
    with_bias=st.booleans(),
)
def test_convolutions(ndim, size, stride, rate, padding, groups, first, with_bias):
    assume(padding != "VALID" or rate * (size - 1) < 4)  # else no window fits
    stride = 1 if rate > 1 else stride
    pairs = padding if isinstance(padding, str) else [padding] * ndim
    options = {
        "kernel_shape": size,
        "stride": stride,
        "rate": rate,
        "padding": pairs,
        "with_bias": with_bias,
        "data_format": FORMATS[ndim][first],
        "feature_group_count": groups,
    }
    layer = made(lambda: CONVOLUTIONS[ndim](4, 2, **options))
    theirs = {1: hk.Conv1D, 2: hk.Conv2D, 3: hk.Conv3D}[ndim]

    def convert(params):
        return {f"conv{ndim}_d": kernel(params, ndim, first)}

    peer = haiku(lambda: theirs(2, **options))
    compare(layer, convert, peer, images(ndim, 4, first))


@pytest.mark.parametrize("ndim", [1, 2, 3])
@settings(deadline=None, max_examples=5)
@given(
    size=st.sampled_from([1, 2, 3]),
    stride=st.sampled_from([1, 2, 3]),
    padding=st.sampled_from(["SAME", "VALID", (1, 2)]),
    first=st.booleans(),
    with_bias=st.booleans(),
)
def test_transposed_convolutions(ndim, size, stride, padding, first, with_bias):
    pairs = padding if isinstance(padding, str) else [padding] * ndim
    options = {
        "kernel_shape": size,
        "stride": stride,
        "padding": pairs,
        "with_bias": with_bias,
        "data_format": FORMATS[ndim][first],
    }
    layer = made(lambda: TRANSPOSED[ndim](3, 2, **options))
    theirs = {1: hk.Conv1DTranspose, 2: hk.Conv2DTranspose, 3: hk.Conv3DTranspose}[ndim]

    def convert(params):
        return {f"conv{ndim}_d_transpose": kernel(params, ndim, first)}

    compare(layer, convert, haiku(lambda: theirs(2, **options)), images(ndim, 3, first))


NORMS = {1: pax.BatchNorm1D, 2: pax.BatchNorm2D, 3: pax.BatchNorm3D}


@pytest.mark.parametrize("ndim", [1, 2, 3])
@settings(deadline=None, max_examples=4)
@given(
    first=st.booleans(),
    scale=st.booleans(),
    offset=st.booleans(),
    decay=st.sampled_from([0.5, 0.9]),
    eps=st.sampled_from([1e-5, 1e-2]),
)
def test_batch_norm(ndim, first, scale, offset, decay, eps):
    """Outputs and gradients of two steps of training, then of evaluation, and the averages."""
    format_ = FORMATS[ndim][first]
    layer = made(lambda: NORMS[ndim](3, scale, offset, decay, eps, format_))
    for name in ("ema_mean", "ema_var", "ema_weight"):
        setattr(layer, name, jnp.zeros_like(getattr(layer, name)))
    where = "channels_first" if first else "channels_last"
    peer = hk.without_apply_rng(
        hk.transform_with_state(
            lambda x, training: hk.BatchNorm(
                scale, offset, decay, eps, data_format=where, name="norm"
            )(x, training)
        )
    )
    wide = (1, 3, *(1,) * ndim) if first else (*(1,) * (ndim + 1), 3)

    def convert(params):
        arrays = present(scale=params.scale, offset=params.offset)
        return {"norm": {name: array.reshape(wide) for name, array in arrays.items()}}

    def steps(params, call):
        outputs = []
        for seed, training in ((1, True), (2, True), (3, False)):
            outputs.append(call(params, images(ndim, 3, first) * seed + seed, training))
        return sum(jnp.sin(y).sum() for y in outputs), outputs

    @quick
    def both(layer):
        state = {}

        def ours(params, x, training):
            net = state["net"] = state.get("net", layer).train(training).update(params)
            with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
                return net(x)

        def theirs(params, x, training):
            y, state["hk"] = peer.apply(params, state["hk"], x, training)
            return y

        zeros = jnp.zeros(wide)
        ema = {"counter": jnp.zeros((), jnp.int32), "hidden": zeros, "average": zeros}
        state["hk"] = {"norm/~/mean_ema": dict(ema), "norm/~/var_ema": dict(ema)}
        params = layer.parameters()
        (_, y), grads = jax.value_and_grad(lambda p: steps(p, ours), has_aux=True)(params)
        net = state["net"].copy()
        (_, expected), peer_grads = jax.value_and_grad(lambda p: steps(p, theirs), has_aux=True)(
            convert(params)
        )
        averages = [net.ema_mean.reshape(wide), net.ema_var.reshape(wide)]
        emas = [state["hk"][f"norm/~/{name}_ema"]["average"] for name in ("mean", "var")]
        return (y, convert(grads), averages), (expected, peer_grads, emas)

    close(*both(layer), 1e-4)
