"""The layers against NumPy formulas and JAX's own primitives."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pax_jax as pax


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=tolerance, atol=tolerance)


@settings(deadline=None, max_examples=20)
@given(
    batch=st.lists(st.integers(1, 3), max_size=2),
    in_dim=st.integers(1, 5),
    out_dim=st.integers(1, 5),
    with_bias=st.booleans(),
)
def test_linear_is_a_matrix_product(batch, in_dim, out_dim, with_bias):
    layer = pax.Linear(in_dim, out_dim, with_bias, b_init=jax.nn.initializers.normal())
    x = normal(0, *batch, in_dim)
    expected = x @ np.asarray(layer.weight)
    close(layer(x), expected + np.asarray(layer.bias) if with_bias else expected)


@pytest.mark.parametrize(
    ("make", "std"),
    [
        (lambda: pax.Linear(400, 300).weight, 400**-0.5),
        (lambda: pax.Conv2D(40, 300, 3).weight, (9 * 40) ** -0.5),
        (lambda: pax.Conv2D(40, 300, 3, feature_group_count=4).weight, (9 * 10) ** -0.5),
    ],
    ids=["linear", "conv", "grouped"],
)
def test_weights_start_with_variance_one_over_fan_in(make, std):
    close(make().std(), std, 0.02 * std)


def test_initializers_get_key_shape_and_dtype():
    calls = []

    def init(key, shape, dtype):
        calls.append((key.shape, shape, dtype))
        return jnp.ones(shape, dtype)

    layer = pax.Linear(2, 3, w_init=init, b_init=init)
    assert calls == [((), (2, 3), jnp.float32), ((), (3,), jnp.float32)]
    assert float(layer.bias.sum()) == 3.0


def conv_by_hand(x, weight, stride, rate):
    """The definition, for padding VALID, channels last, one group."""
    height, width = weight.shape[:2]
    span = [(size - 1) * r for size, r in zip((height, width), rate, strict=True)]
    out = [(x.shape[1 + i] - span[i] - 1) // stride[i] + 1 for i in range(2)]
    y = np.zeros((x.shape[0], *out, weight.shape[3]), np.float64)
    for i, j in itertools.product(range(out[0]), range(out[1])):
        rows = slice(i * stride[0], i * stride[0] + span[0] + 1, rate[0])
        columns = slice(j * stride[1], j * stride[1] + span[1] + 1, rate[1])
        y[:, i, j] = np.tensordot(x[:, rows, columns], weight, axes=3)
    return y


@pytest.mark.parametrize("stride", [(1, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("rate", [(1, 1), (2, 1)], ids=str)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 2)], ids=str)
def test_conv2d_is_its_definition(stride, rate, kernel):
    layer = pax.Conv2D(3, 4, kernel, stride, rate, "VALID", with_bias=False)
    x = normal(1, 2, 8, 9, 3)
    close(layer(x), conv_by_hand(x, np.asarray(layer.weight), stride, rate))


@pytest.mark.parametrize("padding", [2, ((1, 2), 0), (1, (0, 3))], ids=str)
def test_conv2d_padding_by_amounts_is_padding_with_zeros(padding):
    layer = pax.Conv2D(1, 2, 3, padding=padding)
    bare = layer.replace(padding="VALID")
    amounts = [padding] * 2 if isinstance(padding, int) else padding
    pairs = [(a, a) if isinstance(a, int) else a for a in amounts]
    x = normal(2, 1, 5, 6, 1)
    close(layer(x), bare(np.pad(x, [(0, 0), *pairs, (0, 0)])))


def test_conv2d_same_keeps_the_size_divided_by_the_stride():
    assert pax.Conv2D(1, 2, 3, stride=2)(jnp.ones((1, 7, 8, 1))).shape == (1, 4, 4, 2)


def test_conv2d_channels_first_is_the_transpose():
    first = pax.Conv2D(2, 3, 3, data_format="NCHW")
    last = first.replace(data_format="NHWC")
    x = normal(3, 2, 5, 6, 2)
    close(first(x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1), last(x))


def test_conv2d_groups_are_convolutions_of_their_own():
    layer = pax.Conv2D(4, 6, 3, feature_group_count=2, with_bias=False)
    x = normal(4, 1, 5, 5, 4)
    parts = []
    for group in range(2):
        part = pax.Conv2D(2, 3, 3, with_bias=False)
        part.weight = layer.weight[..., 3 * group : 3 * group + 3]
        parts.append(part(x[..., 2 * group : 2 * group + 2]))
    close(layer(x), np.concatenate(parts, axis=-1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_shape": (3, 3, 3)}, "kernel_shape is a positive int or 2 of them"),
        ({"kernel_shape": 3, "stride": 0}, "stride is a positive int"),
        ({"kernel_shape": 3, "padding": "FULL"}, "padding is"),
        ({"kernel_shape": 3, "padding": (1, 1, 1)}, "padding has an amount for each of 2 axes"),
        ({"kernel_shape": 3, "data_format": "NWC"}, "data_format is 'NHWC' or 'NCHW', got 'NWC'"),
        ({"kernel_shape": 3, "feature_group_count": 3}, "feature_group_count=3 does not divide"),
    ],
    ids=str,
)
def test_conv2d_refuses_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        pax.Conv2D(4, 4, **arguments)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (pax.Linear(3, 1), (2, 4), r"Linear\(.*\) expects an input \(\.\.\., 3\), got \(2, 4\)"),
        (pax.Linear(3, 1), (), r"got \(\)"),
        (pax.Conv2D(3, 1, 3), (2, 4, 4, 1), "expects an input NHWC with 3 channels"),
        (pax.Conv2D(3, 1, 3), (4, 4, 3), "expects an input NHWC with 3 channels"),
        (pax.BatchNorm2D(3), (4, 4, 3), "expects an input NHWC with 3 channels"),
        (pax.BatchNorm1D(3), (4, 2), "expects an input NWC with 3 channels"),
    ],
    ids=str,
)
def test_an_input_of_the_wrong_shape_raises(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer(jnp.ones(shape))


NORMS = {
    "NC": (pax.BatchNorm1D, "NWC", (6, 3), (0,)),
    "NWC": (pax.BatchNorm1D, "NWC", (4, 5, 3), (0, 1)),
    "NCW": (pax.BatchNorm1D, "NCW", (4, 3, 5), (0, 2)),
    "NHWC": (pax.BatchNorm2D, "NHWC", (4, 5, 2, 3), (0, 1, 2)),
    "NCHW": (pax.BatchNorm2D, "NCHW", (4, 3, 5, 2), (0, 2, 3)),
}


@pytest.mark.parametrize(("cls", "data_format", "shape", "axes"), NORMS.values(), ids=NORMS)
@pytest.mark.parametrize("scaled", [True, False], ids=["scaled", "plain"])
def test_batch_norm_normalizes_the_batch(cls, data_format, shape, axes, scaled):
    norm = cls(3, scaled, scaled, data_format=data_format, eps=1e-3)
    x = normal(5, *shape)
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    expected = (x - mean) / np.sqrt(var + 1e-3)
    if scaled:
        norm.scale, norm.offset = jnp.array([1.0, 2.0, 3.0]), jnp.array([0.0, 1.0, 2.0])
        expected = expected * np.asarray(norm.scale).reshape(mean.shape)
        expected = expected + np.asarray(norm.offset).reshape(mean.shape)
    close(norm(x), expected)


def test_batch_norm_averages_are_free_of_their_first_value():
    norm = pax.BatchNorm1D(2, decay_rate=0.8)
    batches = [normal(seed, 7, 2) for seed in range(4)]
    for batch in batches:
        norm(batch)
    weights = 0.8 ** np.arange(4)[::-1]
    close(norm.ema_mean, np.average([b.mean(0) for b in batches], axis=0, weights=weights))
    close(norm.ema_var, np.average([b.var(0) for b in batches], axis=0, weights=weights))
    x = normal(9, 5, 2)
    before = norm.eval()
    expected = (x - np.asarray(norm.ema_mean)) / np.sqrt(np.asarray(norm.ema_var) + 1e-5)
    close(before(x), expected)
    assert before == norm.eval()


def test_batch_norm_evaluated_before_training_is_the_identity():
    x = normal(6, 4, 2)
    close(pax.BatchNorm1D(2, eps=0.0).eval()(x), x)


def test_batch_norm_keeps_half_precision_and_computes_in_float32():
    norm = pax.BatchNorm1D(1)
    x = (1000 + normal(7, 64, 1)).astype(jnp.float16)
    y = norm(x)
    assert y.dtype == jnp.float16
    assert norm.ema_mean.dtype == jnp.float32
    close(norm.ema_mean, x.astype(np.float64).mean(0), 1e-6)


def test_dropout_keeps_the_mean_and_uses_up_its_key():
    dropout = pax.Dropout(0.25)
    first, second = dropout(jnp.ones(10_000)), dropout(jnp.ones(10_000))
    close(first.mean(), 1.0, 0.03)
    close((first == 0).mean(), 0.25, 0.03)
    assert bool((first != second).any())


@pytest.mark.parametrize("dropout", [pax.Dropout(0.5).eval(), pax.Dropout(0.0)], ids=["eval", "0"])
def test_dropout_off_is_the_identity(dropout):
    x = jnp.ones(3)
    assert dropout(x) is x


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_dropout_refuses_other_rates(rate):
    with pytest.raises(ValueError, match="dropout_rate is at least 0 and less than 1"):
        pax.Dropout(rate)


def windows(x, size, stride, padding):
    """Yield (i, j, the window clipped to the image) of a pooling over NHWC."""
    for axis_sizes in [x.shape[1:3]]:
        before = [0, 0]
        out = [(n - size) // stride + 1 for n in axis_sizes]
        if padding == "SAME":
            out = [-(-n // stride) for n in axis_sizes]
            missing = [
                max((o - 1) * stride + size - n, 0) for o, n in zip(out, axis_sizes, strict=True)
            ]
            before = [m // 2 for m in missing]
        for i, j in itertools.product(range(out[0]), range(out[1])):
            top, left = i * stride - before[0], j * stride - before[1]
            yield i, j, x[:, max(top, 0) : top + size, max(left, 0) : left + size]


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (3, 1)])
@pytest.mark.parametrize(
    ("pool", "reduce"), [(pax.max_pool, np.max), (pax.avg_pool, np.mean)], ids=["max", "avg"]
)
def test_pooling_is_its_definition(pool, reduce, size, stride, padding):
    x = normal(8, 2, 7, 6, 3)
    y = np.asarray(pool(x, size, stride, padding))
    count = 0
    for i, j, window in windows(x, size, stride, padding):
        close(y[:, i, j], reduce(window, axis=(1, 2)))
        count += 1
    assert count == y.shape[1] * y.shape[2]


def test_pooling_channels_first_and_by_axis():
    x = normal(9, 2, 3, 6, 4)
    last = pax.max_pool(x.transpose(0, 2, 3, 1), (2, 2, 1), (2, 2, 1), "VALID")
    close(pax.max_pool(x, 2, 2, "VALID", channel_axis=1).transpose(0, 2, 3, 1), last)


def test_max_pool_of_integers():
    x = jnp.arange(-4, 0, dtype=jnp.int32).reshape(1, 4, 1)
    assert pax.max_pool(x, 3, 3, "SAME").ravel().tolist() == [-3, -1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, 2, "FULL"), "padding is"),
        (((1,) * 5, 1, "SAME"), r"window_shape=\(1, 1, 1, 1, 1\) has"),
    ],
)
def test_pooling_refuses_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        pax.max_pool(jnp.ones((1, 4, 4, 1)), *arguments)


def test_sequential_items():
    net = pax.Sequential(pax.Linear(1, 2), jax.nn.relu, pax.Linear(2, 3))
    assert len(net.modules) == 3
    assert [type(m).__name__ for m in net.modules[1:]] == ["Lambda", "Linear"]
    net.modules[-1] = jnp.tanh
    assert repr(net.modules) == f"[{net[0]!r}, Lambda(relu), Lambda(tanh)]"
    with pytest.raises(IndexError):
        net.modules[3] = jnp.tanh
    with pytest.raises(TypeError, match="Lambda expects a function that holds no arrays, got 3"):
        net.modules[0] = 3
    with pytest.raises(TypeError, match="Sequential calls its items, and Module has no __call__"):
        pax.Sequential(pax.Module())


def test_lambda_refuses_modules_and_arrays():
    for func in (pax.Linear(1, 1), pax.Linear(1, 1).__call__):
        with pytest.raises(TypeError, match="holds"):
            pax.Lambda(func)


def test_sequential_items_are_added_to_a_sequence():
    net = pax.Sequential(pax.Linear(2, 2), jax.nn.relu)
    more = (pax.Linear(2, 3),)
    longer = net.replace(modules=net.modules + more)
    assert longer(jnp.ones((1, 2))).shape == (1, 3)
    assert net.modules + list(more) == (*net.modules, *more)
    assert more + net.modules == (*more, *net.modules)
    assert net.modules + longer.modules == (*net, *longer)


def test_sequential_slices_and_set():
    net = pax.Sequential(pax.Linear(1, 2), jax.nn.relu, pax.Linear(2, 3))
    assert net[-1] is net.modules[2]
    assert [type(module).__name__ for module in net] == ["Linear", "Lambda", "Linear"]
    tail = net[1:]
    assert isinstance(tail, pax.Sequential)
    assert tail[1] is net[2]
    other = net.set(1, jnp.tanh)
    assert repr(other[1]) == "Lambda(tanh)"
    assert repr(net[1]) == "Lambda(relu)"
    net[0] = pax.Linear(4, 2)
    assert net[0].in_dim == 4
    net.modules[1:] = [jnp.abs]
    assert len(net) == 2
    with pytest.raises(IndexError):
        net.set(5, jnp.tanh)


def test_pooling_by_amounts_is_pooling_of_the_padded():
    x = jnp.abs(normal(8, 2, 5, 6, 3))
    padded = jnp.pad(x, [(0, 0), (1, 0), (2, 1), (0, 0)])
    amounts = ((1, 0), (2, 1))
    close(pax.max_pool(x, 3, 2, amounts), pax.max_pool(padded, 3, 2, "VALID"))
    first = pax.max_pool(x.transpose(0, 3, 1, 2), 3, 2, amounts, channel_axis=1)
    close(first.transpose(0, 2, 3, 1), pax.max_pool(x, 3, 2, amounts))


@pytest.mark.parametrize(
    "name", sorted(set(pax.initializers.__all__) & set(dir(jax.nn.initializers)))
)
def test_initializers_are_those_of_jax(name):
    assert getattr(pax.initializers, name) is getattr(jax.nn.initializers, name)


def test_recurrent_cells_refuse_other_shapes():
    lstm = pax.LSTM(3, 2)
    with pytest.raises(
        ValueError, match=r"expects an input \(\.\.\., 3\) and a state \(\.\.\., 2\)"
    ):
        lstm(lstm.initial_state(4), jnp.ones((4, 2)))
    with pytest.raises(ValueError, match=r"got \(5, 3\) and \(4, 2\)"):
        lstm(lstm.initial_state(4), jnp.ones((5, 3)))


def test_a_recurrent_cell_runs_in_a_scan():
    gru = pax.GRU(2, 3)
    xs = normal(0, 4, 5, 2)
    state, ys = pax.scan(gru, gru.initial_state(5), xs)
    expected = gru.initial_state(5)
    for x, y in zip(xs, ys, strict=True):
        expected, output = gru(expected, x)
        close(y, output)
    close(state.hidden, expected.hidden)
