"""Modules of dm-haiku inside pax_jax: outputs, states and gradients are those of haiku itself."""

import pickle
import sys

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax

pytestmark = pytest.mark.usefixtures("quick_compilation")


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def tokens(*shape):
    return jnp.asarray(np.random.default_rng(0).integers(0, 7, shape), jnp.int32)


def mlp_with_dropout(x):
    return hk.Linear(2)(hk.dropout(hk.next_rng_key(), 0.5, jax.nn.relu(hk.Linear(16)(x))))


IMAGE, LINE, ROWS, VOLUME = draw(2, 8, 8, 3), draw(2, 9, 3), draw(5, 4), draw(1, 5, 5, 5, 2)
NORM = {"create_scale": True, "create_offset": True}
TRAIN = {"pass_is_training": True}
RNG = {"use_rng": True}
LSTM_STATE = hk.LSTMState(draw(5, 6, seed=1), draw(5, 6, seed=2))
CASES = {
    "linear": (hk.Linear, (3,), {}, (ROWS,), {}),
    "linear-no-bias": (hk.Linear, (3,), {"with_bias": False}, (ROWS,), {}),
    "linear-initializer": (hk.Linear, (3,), {"w_init": hk.initializers.Constant(0.5)}, (ROWS,), {}),
    "bias": (hk.Bias, (), {}, (ROWS,), {}),
    "mlp": (hk.nets.MLP, ([8, 3],), {}, (ROWS,), {}),
    "conv1d": (hk.Conv1D, (4, 3), {"stride": 2}, (LINE,), {}),
    "conv2d": (hk.Conv2D, (4, 3), {"rate": 2, "padding": "VALID"}, (IMAGE,), {}),
    "conv2d-nchw": (hk.Conv2D, (4, 3), {"data_format": "NCHW"}, (draw(2, 3, 8, 8),), {}),
    "conv2d-groups": (hk.Conv2D, (6, 3), {"feature_group_count": 3}, (IMAGE,), {}),
    "conv3d": (hk.Conv3D, (4, 3), {}, (VOLUME,), {}),
    "conv1d-transpose": (hk.Conv1DTranspose, (4, 3), {"stride": 2}, (LINE,), {}),
    "conv2d-transpose": (hk.Conv2DTranspose, (4, 3), {"stride": 2}, (IMAGE,), {}),
    "depthwise": (hk.DepthwiseConv2D, (2, 3), {}, (IMAGE,), {}),
    "separable": (hk.SeparableDepthwiseConv2D, (2, 3), {}, (IMAGE,), {}),
    "embed": (hk.Embed, (7, 3), {}, (tokens(2, 5),), {}),
    "layer-norm": (hk.LayerNorm, (-1, True, True), {}, (ROWS,), {}),
    "rms-norm": (hk.RMSNorm, (-1,), {}, (ROWS,), {}),
    "group-norm": (hk.GroupNorm, (3,), {}, (IMAGE,), {}),
    "instance-norm": (hk.InstanceNorm, (True, True), {}, (IMAGE,), {}),
    "batch-norm": (hk.BatchNorm, (), {**NORM, "decay_rate": 0.9}, (IMAGE,), TRAIN),
    "spectral-norm": (lambda: SpectralLinear(3), (), {}, (ROWS,), {}),
    "ema": (hk.ExponentialMovingAverage, (0.9,), {}, (ROWS,), {}),
    "lstm": (hk.LSTM, (6,), {}, (ROWS, LSTM_STATE), {}),
    "gru": (hk.GRU, (6,), {}, (ROWS, draw(5, 6)), {}),
    "vanilla-rnn": (hk.VanillaRNN, (6,), {}, (ROWS, draw(5, 6)), {}),
    "attention": (
        hk.MultiHeadAttention,
        (2, 4),
        {"w_init": hk.initializers.VarianceScaling(1.0)},
        (draw(2, 5, 8), draw(2, 7, 8), draw(2, 7, 8)),
        {},
    ),
    "dropout-in-a-function": (lambda: mlp_with_dropout, (), {}, (ROWS,), RNG),
    "nested-modules": (
        hk.nets.MobileNetV1,
        ((2,), (4,), 5),
        {},
        (draw(2, 8, 8, 3),),
        TRAIN,
    ),
    "vector-quantizer": (hk.nets.VectorQuantizer, (4, 6, 0.25), {}, (ROWS, True), {}),
}


CHANGING = {"batch-norm", "spectral-norm", "ema", "dropout-in-a-function", "nested-modules"}


class SpectralLinear(hk.Module):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def __call__(self, x):
        w = hk.get_parameter("w", (x.shape[-1], self.size), init=hk.initializers.RandomNormal())
        return x @ hk.SpectralNorm()(w)


def floats(tree):
    return [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]


def assert_close(ours, theirs, tolerance=1e-5):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, tolerance, tolerance), ours, theirs)


def total(out):
    return sum(jnp.sum(jnp.sin(leaf)) for leaf in floats(out))


def our_run(build, steps):
    """Make the module and take some steps: its variables before and after each, in one program."""

    def run(key, *inputs):
        module = build(key).hk_init(*inputs)
        results = [(module.params, module.state)]
        for _ in range(steps):

            def loss(params, module):
                module = module.update(params)
                out = module(*inputs)
                return total(out), (floats(out), module)

            evaluate = jax.value_and_grad(loss, has_aux=True)
            (_, (out, module)), grads = evaluate(module.parameters(), module)
            assert jax.tree.leaves((grads.state, grads.rng_key)) == []
            results.append((out, module.state, grads.params))
        return results

    return jax.jit(run)


def their_run(forward, steps):
    def run(key, *inputs):
        params, state = forward.init(jax.random.fold_in(key, 0x696E6974), *inputs)
        results = [(params, state)]
        for _ in range(steps):
            key, now = jax.random.split(key)  # as a converted module takes keys from its own

            def loss(params, state=state, now=now):
                out, new = forward.apply(params, state, now, *inputs)
                return total(out), (floats(out), new)

            (_, (out, state)), grads = jax.value_and_grad(loss, has_aux=True)(params)
            results.append((out, state, grads))
        return results

    return jax.jit(run)


@pytest.mark.parametrize("case", CASES)
def test_haiku_module_has_the_outputs_states_and_gradients_of_haiku(case):
    cls, args, kwargs, inputs, options = CASES[case]
    training = {"is_training": True} if options.get("pass_is_training") else {}
    forward = hk.transform_with_state(lambda *inputs: cls(*args, **kwargs)(*inputs, **training))
    key = jax.random.key(3)
    steps = 2 if case in CHANGING else 1
    ours = our_run(lambda key: pax.from_haiku(cls, **options, rng_key=key)(*args, **kwargs), steps)
    results = ours(key, *inputs)
    expected = their_run(forward, steps)(key, *inputs)
    assert_close(results, expected, 1e-4)
    assert (len(jax.tree.leaves(results[0][1])) > 0 or "use_rng" in options) == (case in CHANGING)


LAYERS = {
    "linear": (
        lambda: pax.haiku.linear(4, 3, b_init=hk.initializers.Constant(1.0)),
        lambda x: hk.Linear(3)(x),
        ROWS,
    ),
    "layer_norm": (
        lambda: pax.haiku.layer_norm(4),
        lambda x: hk.LayerNorm(-1, True, True)(x),
        ROWS,
    ),
    "layer_norm-axis-1": (
        lambda: pax.haiku.layer_norm(8, 1),
        lambda x: hk.LayerNorm(1, True, True, param_axis=1)(x),
        IMAGE,
    ),
    "batch_norm_2d": (
        lambda: pax.haiku.batch_norm_2d(3),
        lambda x: hk.BatchNorm(True, True, 0.99)(x, is_training=True),
        IMAGE,
    ),
    "batch_norm_2d-axis-1": (
        lambda: pax.haiku.batch_norm_2d(8, 1, 0.5),
        lambda x: hk.BatchNorm(True, True, 0.5, data_format="channels_first")(x, is_training=True),
        IMAGE,
    ),
    "embed": (lambda: pax.haiku.embed(7, 3), lambda x: hk.Embed(7, 3)(x), tokens(2, 5)),
    "conv_1d": (lambda: pax.haiku.conv_1d(3, 4, 3), lambda x: hk.Conv1D(4, 3)(x), LINE),
    "conv_1d-ncw": (
        lambda: pax.haiku.conv_1d(9, 4, 3, data_format="NCW"),
        lambda x: hk.Conv1D(4, 3, data_format="NCW")(x),
        LINE,
    ),
    "conv_2d": (
        lambda: pax.haiku.conv_2d(3, 6, (3, 2), 2, padding="VALID", feature_group_count=3),
        lambda x: hk.Conv2D(6, (3, 2), 2, padding="VALID", feature_group_count=3)(x),
        IMAGE,
    ),
    "conv_1d_transpose": (
        lambda: pax.haiku.conv_1d_transpose(3, 4, 3, 2),
        lambda x: hk.Conv1DTranspose(4, 3, 2)(x),
        LINE,
    ),
    "conv_2d_transpose": (
        lambda: pax.haiku.conv_2d_transpose(3, 4, 3, 2, with_bias=False),
        lambda x: hk.Conv2DTranspose(4, 3, 2, with_bias=False)(x),
        IMAGE,
    ),
    "avg_pool": (
        lambda: pax.haiku.avg_pool(3, 2, "SAME"),
        lambda x: hk.avg_pool(x, (1, 3, 3, 1), (1, 2, 2, 1), "SAME"),
        IMAGE,
    ),
    "max_pool": (
        lambda: pax.haiku.max_pool((3, 3, 1), (2, 2, 1), "VALID"),
        lambda x: hk.max_pool(x, (3, 3, 1), (2, 2, 1), "VALID"),
        IMAGE,
    ),
}


@pytest.mark.parametrize("case", LAYERS)
def test_haiku_layer_without_an_example_of_its_inputs(case):
    make, forward, x = LAYERS[case]
    layer = make()
    state = getattr(layer, "state", {})
    theirs, new = hk.transform_with_state(forward).apply(
        getattr(layer, "params", {}), state, None, x
    )
    assert_close(layer(x), theirs)
    assert_close(getattr(layer, "state", {}), new)


@pytest.mark.parametrize(
    ("name", "reverse", "time_major", "all_states"),
    [
        ("lstm", False, True, False),
        ("lstm", True, False, True),
        ("gru", True, True, True),
        ("gru", False, False, False),
    ],
)
def test_haiku_dynamic_unroll(name, reverse, time_major, all_states):
    core = getattr(pax.haiku, name)(6)
    sequence = draw(4, 4, 6)
    given = {"time_major": time_major, "reverse": reverse, "return_all_states": all_states}

    def unroll(x):
        core = {"lstm": hk.LSTM, "gru": hk.GRU}[name](6)
        return hk.dynamic_unroll(core, x, core.initial_state(4), **given)

    theirs = hk.transform(unroll).apply(core.params, None, sequence)
    ours = pax.haiku.dynamic_unroll(core, sequence, core.initial_state(4), **given)
    assert_close(ours, theirs)


def test_haiku_dynamic_unroll_keeps_what_the_core_changes():
    class Noisy(pax.Module):
        def __init__(self):
            super().__init__()
            self.cell = pax.Linear(3, 3)
            self.dropouts = [pax.Dropout(0.5)]
            self.calls = jnp.zeros((), jnp.int32)

        def __call__(self, x, state):
            self.calls = self.calls + 1
            state = self.dropouts[0](jnp.tanh(self.cell(x) + state))
            return state, state

    core, start = Noisy(), jnp.zeros((2, 3))
    expected = core.copy()
    states = [start]
    for x in draw(5, 2, 3):
        states.append(expected(x, states[-1])[1])
    outputs, last = pax.haiku.dynamic_unroll(core, draw(5, 2, 3), start)
    assert_close(outputs, jnp.stack(states[1:]))
    assert_close(last, states[-1])
    assert core.calls == 5
    assert core.dropouts[0].rng_key == expected.dropouts[0].rng_key

    before = core.dropouts[0].rng_key
    pax.haiku.dynamic_unroll(core.eval(), draw(5, 2, 3), start)
    assert core.dropouts[0].rng_key == before


def test_haiku_dynamic_unroll_of_a_captured_core_that_does_not_change():
    core = pax.haiku.lstm(6)
    unroll = jax.jit(lambda x: pax.haiku.dynamic_unroll(core, x, core.initial_state(2))[0])
    assert unroll(draw(3, 2, 6)).shape == (3, 2, 6)


def test_haiku_dynamic_unroll_needs_parameters():
    core = pax.from_haiku(hk.GRU)(6)
    with pytest.raises(ValueError, match=r"core = core.hk_init\(inputs, state\)"):
        pax.haiku.dynamic_unroll(core, draw(3, 2, 6), core.initial_state(2))


class Net(pax.Module):
    def __init__(self):
        super().__init__()
        self.calls = jnp.zeros((), jnp.int32)
        self.norm = pax.BatchNorm1D(4)
        self.layers = [pax.from_haiku(hk.Linear)(8), pax.from_haiku(hk.Linear)(2)]
        self.hk_norm = pax.from_haiku(hk.BatchNorm, pass_is_training=True)(True, True, 0.9)

    def __call__(self, x):
        self.calls = self.calls + 1
        x = self.hk_norm(self.layers[0](self.norm(x)))
        return self.layers[1](jax.nn.relu(x))


@pytest.mark.parametrize("enable_jit", [False, True], ids=["eager", "jit"])
def test_hk_init_makes_parameters_and_changes_nothing_else(enable_jit):
    net = Net()
    assert jax.tree.leaves(net.layers[0].parameters()) == []
    ready = net.hk_init(ROWS, enable_jit=enable_jit)
    assert net.layers[0].params is None
    assert ready.layers[0].params["linear"]["w"].shape == (4, 8)
    assert ready.calls == 0
    assert ready.norm == net.norm
    assert ready.hk_norm.state["batch_norm/~/mean_ema"]["counter"] == 0
    assert len(jax.tree.leaves(ready.parameters())) == 2 + 4 + 2
    assert (
        ready.layers[0].params["linear"]["w"].shape != ready.layers[1].params["linear"]["w"].shape
    )
    again = ready.hk_init(ROWS, enable_jit=enable_jit)
    assert again == ready
    after, _ = ready % ROWS
    assert after.calls == 1
    assert after.hk_norm.state["batch_norm/~/mean_ema"]["counter"] == 1


def test_haiku_module_makes_its_parameters_at_the_first_call():
    layer = pax.from_haiku(hk.Linear)(3)
    y = layer(ROWS)
    np.testing.assert_allclose(y, ROWS @ layer.params["linear"]["w"], rtol=1e-5)
    later = pax.from_haiku(hk.Linear)(3)
    later, _ = jax.jit(lambda layer, x: layer % x)(later, ROWS)
    assert later.params["linear"]["w"].shape == (4, 3)


def test_haiku_state_moves_in_training_mode_only():
    norm = pax.haiku.batch_norm_2d(3).eval()
    evaluate = jax.jit(lambda x: norm(x))  # would raise if it wrote to the captured module
    before = norm.state
    evaluate(IMAGE)
    norm(IMAGE)
    for array, other in zip(*map(jax.tree.leaves, (norm.state, before)), strict=True):
        assert array is other
    noisy = pax.from_haiku(lambda: mlp_with_dropout, use_rng=True)().hk_init(ROWS)
    key = noisy.rng_key
    first, second = noisy(ROWS), noisy(ROWS)
    assert not np.array_equal(first, second)
    assert noisy.rng_key != key
    still = noisy.eval()
    np.testing.assert_array_equal(still(ROWS), still(ROWS))


def test_haiku_modules_of_one_recipe_have_one_structure():
    layers = [pax.haiku.linear(4, 4) for _ in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
    y, _ = jax.lax.scan(lambda x, layer: (layer(x), None), ROWS, stacked)
    expected = layers[2](layers[1](layers[0](ROWS)))
    assert_close(y, expected)
    assert jax.tree.structure(layers[0]) != jax.tree.structure(pax.haiku.linear(4, 3))


def test_haiku_modules_are_pickled():
    net = Net().hk_init(ROWS)
    again = pickle.loads(pickle.dumps(net))
    assert again == net
    np.testing.assert_array_equal(again(ROWS), net(ROWS))


def test_haiku_module_shows_how_it_was_made():
    module = pax.from_haiku(hk.Linear)(3, with_bias=False)
    assert module.summary(arrays=False) == "from_haiku(Linear)(3, with_bias=False)"
    assert repr(module).startswith("from_haiku(Linear)(3, with_bias=False, params=None")


def test_the_lstm_of_the_early_pax_readme():
    hidden_dim = 8
    mylstm = pax.from_haiku(hk.LSTM)(hidden_size=hidden_dim)
    dummy_x = np.empty((1, hidden_dim), dtype=np.float32)
    dummy_hx = hk.LSTMState(dummy_x, dummy_x)
    mylstm = mylstm.hk_init(dummy_x, dummy_hx)
    y, state = mylstm(draw(2, 8), mylstm.initial_state(2))
    assert (y.shape, type(state)) == ((2, 8), hk.LSTMState)


def test_haiku_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "haiku", None)
    with pytest.raises(
        ImportError, match=r"from_haiku needs haiku.*`pip install pax-jax\[haiku\]`"
    ):
        pax.from_haiku(hk.Linear)
    with pytest.raises(ImportError, match=r"pax_jax\.haiku\.lstm needs haiku"):
        pax.haiku.lstm(3)
