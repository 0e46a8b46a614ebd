"""The layers of pax_jax against those of flax on the same weights, forward and backward."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen
from hypothesis import given, settings
from hypothesis import strategies as st

import pax_jax as pax
from tests.jax.layer_peers import close, compare, made, normal, present, quick

examples = settings(deadline=None, max_examples=4)
SIZES = st.sampled_from([1, 3, 4])


def flax(module, method=None, **kwargs):
    """The function of parameters and inputs of a flax module without state."""
    return lambda params, *inputs: module.apply(
        {"params": params}, *inputs, method=method, **kwargs
    )


def dense(layer):
    return present(kernel=layer.weight, bias=layer.bias)


@examples
@given(in_dim=SIZES, out_dim=SIZES, with_bias=st.booleans())
def test_linear(in_dim, out_dim, with_bias):
    layer = made(lambda: pax.Linear(in_dim, out_dim, with_bias))
    compare(layer, dense, flax(linen.Dense(out_dim, with_bias)), normal(1, 2, in_dim))


def test_embed_looks_up_and_attends():
    layer = made(lambda: pax.Embed(5, 3))
    module = linen.Embed(5, 3)
    ids = jnp.array([[0, 4, 1]])
    compare(layer, lambda p: {"embedding": p.weight}, flax(module), ids, differentiable=0)
    attend = flax(module, method="attend")({"embedding": layer.weight}, normal(1, 2, 3))
    close(layer.attend(normal(1, 2, 3)), attend)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@examples
@given(
    size=st.sampled_from([1, 3]),
    stride=st.sampled_from([1, 2]),
    rate=st.sampled_from([1, 2]),
    padding=st.sampled_from(["SAME", ((1, 2),), ((0, 3),)]),
    groups=st.sampled_from([1, 2]),
    with_bias=st.booleans(),
)
def test_convolutions(ndim, size, stride, rate, padding, groups, with_bias):
    pads = padding if isinstance(padding, str) else padding * ndim
    ours = {1: pax.Conv1D, 2: pax.Conv2D, 3: pax.Conv3D}[ndim]
    layer = made(
        lambda: ours(4, 2, size, stride, rate, pads, with_bias, feature_group_count=groups)
    )
    module = linen.Conv(
        2,
        (size,) * ndim,
        (stride,) * ndim,
        pads,
        kernel_dilation=rate,
        feature_group_count=groups,
        use_bias=with_bias,
    )
    compare(layer, dense, flax(module), normal(1, 2, *(5, 6, 4)[:ndim], 4))


@pytest.mark.parametrize("ndim", [1, 2, 3])
@examples
@given(
    size=st.sampled_from([1, 2, 3]),
    stride=st.sampled_from([1, 2, 3]),
    rate=st.sampled_from([1, 2]),
    padding=st.sampled_from(["SAME", "VALID", ((1, 2),)]),
    with_bias=st.booleans(),
)
def test_transposed_convolutions(ndim, size, stride, rate, padding, with_bias):
    pads = padding if isinstance(padding, str) else padding * ndim
    ours = {1: pax.Conv1DTranspose, 2: pax.Conv2DTranspose, 3: pax.Conv3DTranspose}[ndim]
    layer = made(lambda: ours(3, 2, size, stride, rate, pads, with_bias))
    module = linen.ConvTranspose(
        2, (size,) * ndim, (stride,) * ndim, pads, (rate,) * ndim, use_bias=with_bias
    )

    def convert(params):
        return present(kernel=jnp.swapaxes(params.weight, -1, -2), bias=params.bias)

    compare(layer, convert, flax(module), normal(1, 2, *(5, 4, 3)[:ndim], 3))


@examples
@given(axis=st.sampled_from([-1, (1, 2), (0, 2)]), scale=st.booleans(), offset=st.booleans())
def test_layer_norm(axis, scale, offset):
    layer = made(lambda: pax.LayerNorm(4, axis, scale, offset))
    module = linen.LayerNorm(
        1e-5, use_scale=scale, use_bias=offset, reduction_axes=axis, feature_axes=-1
    )
    convert = lambda p: present(scale=p.scale, bias=p.offset)  # noqa: E731
    compare(layer, convert, flax(module), normal(1, 2, 3, 4), tolerance=1e-4)


def test_rms_norm():
    layer = made(lambda: pax.RMSNorm(4))
    compare(layer, lambda p: {"scale": p.scale}, flax(linen.RMSNorm(1e-5)), normal(1, 2, 4))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_norm(groups):
    layer = made(lambda: pax.GroupNorm(groups, 4))
    module = linen.GroupNorm(groups, epsilon=1e-5)
    convert = lambda p: {"scale": p.scale, "bias": p.offset}  # noqa: E731
    compare(layer, convert, flax(module), normal(1, 2, 3, 5, 4), tolerance=1e-4)


def test_instance_norm():
    layer = made(lambda: pax.InstanceNorm(4))
    convert = lambda p: {"scale": p.scale, "bias": p.offset}  # noqa: E731
    module = linen.InstanceNorm(epsilon=1e-5)
    compare(layer, convert, flax(module), normal(1, 2, 3, 5, 4), tolerance=1e-4)


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm(affine):
    """Flax's averages weigh their first value in: ours do once they have seen many batches."""
    layer = made(lambda: pax.BatchNorm2D(3, affine, affine, 0.9))
    layer.ema_var = jnp.square(layer.ema_var) + 0.5
    layer.ema_weight = jnp.ones(())
    module = linen.BatchNorm(momentum=0.9, use_bias=affine, use_scale=affine)
    x = normal(1, 4, 3, 2, 3)

    @quick
    def both(layer):
        params = present(scale=layer.scale, bias=layer.offset)
        variables = {
            "params": params,
            "batch_stats": {"mean": layer.ema_mean, "var": layer.ema_var},
        }
        expected = module.apply(variables, x, use_running_average=True)
        trained, changed = module.apply(
            variables, x, use_running_average=False, mutable=["batch_stats"]
        )
        quiet = layer.eval()(x)
        net, y = layer % x
        stats = changed["batch_stats"]
        return (quiet, y, net.ema_mean, net.ema_var), (
            expected,
            trained,
            stats["mean"],
            stats["var"],
        )

    close(*both(layer), 1e-4)


@examples
@given(input_dim=SIZES, hidden_dim=SIZES)
def test_lstm(input_dim, hidden_dim):
    layer = made(lambda: pax.LSTM(input_dim, hidden_dim))
    cell = linen.OptimizedLSTMCell(hidden_dim)

    def convert(params):
        kernel, bias = params.fc.weight, params.fc.bias
        found = {}
        for index, gate in enumerate("igfo"):
            part = slice(index * hidden_dim, (index + 1) * hidden_dim)
            found[f"i{gate}"] = {"kernel": kernel[:input_dim, part]}
            found[f"h{gate}"] = {"kernel": kernel[input_dim:, part], "bias": bias[part]}
        return found

    def peer(params, state, x):
        (cell_state, hidden), y = cell.apply({"params": params}, (state.cell, state.hidden), x)
        return pax.LSTMState(hidden, cell_state), y

    state = pax.LSTMState(normal(1, 2, hidden_dim), normal(2, 2, hidden_dim))
    compare(layer, convert, peer, state, normal(3, 2, input_dim))


def test_vanilla_rnn_with_tanh_is_the_simple_cell():
    layer = made(lambda: pax.VanillaRNN(3, 4, double_bias=False, activation=jnp.tanh))
    cell = linen.SimpleCell(4)

    def peer(params, state, x):
        hidden, y = cell.apply({"params": params}, state.hidden, x)
        return pax.VanillaRNNState(hidden), y

    def convert(params):
        return {"i": dense(params.input_fc), "h": dense(params.hidden_fc)}

    compare(layer, convert, peer, pax.VanillaRNNState(normal(1, 2, 4)), normal(2, 2, 3))


@pytest.mark.parametrize("masked", [False, True])
def test_multi_head_attention(masked):
    layer = made(lambda: pax.MultiHeadAttention(2, 3))
    module = linen.MultiHeadDotProductAttention(2)

    def convert(params):
        found = {
            name: {
                "kernel": getattr(params, name).weight.reshape(6, 2, 3),
                "bias": getattr(params, name).bias.reshape(2, 3),
            }
            for name in ("query", "key", "value")
        }
        output = params.output
        return {**found, "out": {"kernel": output.weight.reshape(2, 3, 6), "bias": output.bias}}

    def peer(params, query, key, value, mask=None):
        return module.apply({"params": params}, query, key, value, mask=mask)

    mask = (normal(4, 2, 1, 4, 5) > 0).at[..., 0].set(True)
    inputs = (normal(1, 2, 4, 6), normal(2, 2, 5, 6), normal(3, 2, 5, 6))
    compare(layer, convert, peer, *inputs, *([mask] if masked else []), differentiable=3)


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 0), (0, 1))], ids=str)
def test_pooling(padding):
    x = normal(1, 2, 5, 6, 3)
    close(pax.max_pool(x, 3, 2, padding), linen.max_pool(x, (3, 3), (2, 2), padding))
    expected = linen.avg_pool(x, (3, 3), (2, 2), padding, count_include_pad=False)
    close(pax.avg_pool(x, 3, 2, padding), expected)


def test_dropout_draws_as_flax_does():
    x, key = normal(1, 64), jax.random.key(3)
    theirs = linen.Dropout(0.3, deterministic=False)
    expected = theirs.apply({}, x, rngs={"dropout": key})
    drawn = theirs.bind({}, rngs={"dropout": key}).make_rng("dropout")
    close(pax.dropout(drawn, 0.3, x), expected)
