"""Masks and labels by path, frozen leaves, accumulation, averages, privacy, steps that are left out."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import opax
import pax_jax as pax


def make_net():
    keys = jax.random.split(jax.random.key(0), 2)
    return pax.Sequential(
        pax.Linear(2, 3, rng_key=keys[0]), jnp.tanh, pax.Linear(3, 1, rng_key=keys[1])
    )


def ones(tree):
    return jax.tree.map(jnp.ones_like, tree)


def changed(transformation, model=None):
    """The paths of the parameters that one step changes."""
    model = make_net() if model is None else model
    optimizer = transformation(model)
    params = optimizer.structure.unflatten(jax.tree.leaves(pax.select_parameters(model)))
    new, _ = opax.apply_gradients(params, optimizer, ones(params))
    before, after = map(jax.tree_util.tree_leaves_with_path, (params, new))
    return {
        re.sub(r"\W+", ".", jax.tree_util.keystr(path)).strip(".")
        for (path, a), (_, b) in zip(before, after, strict=True)
        if (a != b).any()
    }


BIASES = {"modules.0.bias", "modules.2.bias"}
WEIGHTS = {"modules.0.weight", "modules.2.weight"}


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ("*.bias", BIASES),
        ("bias", BIASES),
        ("**/bias", BIASES),
        ("modules.2.*", {"modules.2.bias", "modules.2.weight"}),
        ("modules/0/*", {"modules.0.bias", "modules.0.weight"}),
        (re.compile("0/.*t$"), {"modules.0.weight"}),
        (lambda path, leaf: leaf.ndim == 2, WEIGHTS),
        (lambda path, leaf: path == "modules.0.bias", {"modules.0.bias"}),
        (["*.bias", "modules.0.weight"], {*BIASES, "modules.0.weight"}),
        (lambda params: jax.tree.map(lambda leaf: leaf.ndim == 1, params), BIASES),
    ],
    ids=["star", "name", "anywhere", "index", "slashes", "regex", "leaf", "path", "list", "optax"],
)
def test_masked_by(mask, expected):
    tx = opax.chain(opax.masked(opax.set_to_zero(), mask), opax.scale(-1.0))
    assert changed(tx) == (BIASES | WEIGHTS) - expected
    assert changed(opax.chain(opax.freeze(mask), opax.sgd(0.1))) == (BIASES | WEIGHTS) - expected


def test_a_star_pattern_matches_at_the_top_too():
    assert changed(opax.chain(opax.freeze("*.bias"), opax.sgd(0.1)), pax.Linear(2, 2)) == {"weight"}
    params = {"a": jnp.ones(2), "b": {"c": jnp.ones(2)}}
    assert changed(opax.chain(opax.freeze("b.*"), opax.sgd(0.1)), params) == {"a"}


@pytest.mark.parametrize(
    "labels",
    [
        {"*.bias": "slow", "**": "fast"},
        {re.compile("bias"): "slow", "*.weight": "fast"},
        lambda path, leaf: "slow" if leaf.ndim == 1 else "fast",
        lambda params: jax.tree.map(lambda leaf: "slow" if leaf.ndim == 1 else "fast", params),
    ],
    ids=["patterns", "regex", "predicate", "optax"],
)
def test_groups(labels):
    net = make_net()
    tx = opax.multi_transform({"slow": opax.sgd(0.5), "fast": opax.sgd(2.0)}, labels)
    optimizer = tx(net)
    updates, optimizer = opax.transform_gradients(ones(net.parameters()), optimizer, net)
    assert updates.modules[0].bias.tolist() == [-0.5] * 3
    assert (updates.modules[2].weight == -2.0).all()
    assert float(optimizer["slow"].learning_rate) == 0.5
    optimizer = optimizer.replace(**{"transforms.fast.learning_rate": 1.0})
    assert float(optimizer["fast"].learning_rate) == 1.0
    with pytest.raises(KeyError, match="has 'slow', 'fast', and not 'other'"):
        optimizer["other"]


def test_a_tree_of_labels_is_a_tree():
    params = {"a": jnp.ones(1), "b": jnp.ones(1)}
    tx = opax.partition({"x": opax.sgd(1.0), "y": opax.set_to_zero()}, {"a": "x", "b": "y"})
    assert changed(tx, params) == {"a"}


def test_a_parameter_without_label_is_named():
    tx = opax.multi_transform({"slow": opax.sgd(0.5)}, {"*.bias": "slow"})
    with pytest.raises(ValueError, match=r"modules\.0\.weight has no label: .* '\*\.bias'"):
        tx(make_net())


@pytest.mark.parametrize(
    "pattern",
    ["*.wieght", "modules", "modules/*/wieght", re.compile("wieght"), ["*.bias", "wieght"]],
)
def test_a_pattern_that_names_no_parameter(pattern):
    net = make_net()
    message = r"matches none of the 4 leaves; the nearest are '[^']*', '[^']*', '[^']*'\. opax\.opt"
    for make in (
        lambda pattern: opax.masked(opax.set_to_zero(), pattern),
        lambda pattern: opax.adamw(0.1, mask=pattern),
        lambda pattern: opax.selective_transform(opax.sgd(0.1), freeze_mask=pattern),
    ):
        with pytest.raises(ValueError, match=message):
            make(pattern)(net)
        allowed = make(opax.optional(pattern))(net)
        updates, _ = opax.transform_gradients(ones(net.parameters()), allowed, net)
        assert jax.tree.structure(updates) == jax.tree.structure(net.parameters())
    assert opax.masked(opax.sgd(0.1), lambda path, leaf: False)(net)
    assert opax.masked(opax.sgd(0.1), opax.optional(lambda path, leaf: False))(net)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"*.bais": "slow", "**": "fast"}, r"'\*\.bais' matches none of the 4 leaves"),
        ({"*.bias": "slow", "*.weight": "fast", "bais": "slow"}, "'bais' matches none"),
        ({"**": "fast", "*.bias": "slow"}, r"'\*\.bias' gives no parameter its label 'slow'"),
    ],
)
def test_a_label_that_no_parameter_gets(labels, message):
    groups = {"slow": opax.sgd(0.5), "fast": opax.sgd(2.0)}
    with pytest.raises(ValueError, match=message):
        opax.multi_transform(groups, labels)(make_net())
    assert opax.multi_transform(groups, opax.optional(labels))(make_net())
    rest = {"*.bias": "slow", "*.weight": "fast", "**": "slow"}
    assert opax.multi_transform(groups, rest)(make_net())


def test_paths_of_flax_variables_are_those_that_users_write():
    nnx = pytest.importorskip("flax.nnx")
    state = nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Param)
    for mask in ("*.kernel", "kernel", lambda path, leaf: path == "kernel"):
        optimizer = opax.masked(opax.adam(0.1), mask)(state)
        assert [leaf.shape for leaf in jax.tree.leaves(optimizer.mu)] == [(2, 3)]


def test_weight_decay_by_pattern():
    net = make_net()
    tx = opax.adamw(0.1, weight_decay=0.5, mask="*.weight")
    assert (
        changed(opax.chain(opax.set_to_zero(), opax.add_decayed_weights(0.1, "*.weight")))
        == WEIGHTS
    )
    optimizer = tx(net)
    zeros = jax.tree.map(jnp.zeros_like, net.parameters())
    assert jax.jit(opax.apply_gradients)(net, optimizer, zeros)[0].modules[0].bias.tolist() == (
        net.modules[0].bias.tolist()
    )


def test_masks_by_pattern_survive_modes_and_jit():
    net = make_net()
    optimizer = opax.masked(opax.adam(0.1), "*.weight")(net)
    step = jax.jit(opax.apply_gradients)
    for model in (net.train(), net.eval()):
        _, optimizer = step(model, optimizer, ones(model.parameters()))
    assert int(optimizer[0].count) == 2
    assert optimizer[0].mu.modules[0].bias == optax.MaskedNode()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_accumulated_gradients_keep_their_dtype(dtype):
    params = {"w": jnp.ones(3, dtype)}
    optimizer = opax.MultiSteps(opax.adamw(0.1), 3)(params)

    def body(carry, grads):
        return opax.apply_gradients(*carry, grads), None

    grads = {"w": jnp.stack([jnp.full(3, x, dtype) for x in (1.0, 2.0, 3.0)])}
    (new, after), _ = jax.lax.scan(body, (params, optimizer), grads)
    assert [x.dtype for x in jax.tree.leaves((new, after))] == [
        x.dtype for x in jax.tree.leaves((params, optimizer))
    ]
    expected, _ = opax.apply_gradients(
        params, opax.adamw(0.1)(params), {"w": jnp.full(3, 2.0, dtype)}
    )
    np.testing.assert_allclose(
        new["w"].astype(jnp.float32), expected["w"].astype(jnp.float32), rtol=1e-2
    )
    assert int(after.gradient_step) == 1
    assert float(after.learning_rate) == pytest.approx(0.1)


def test_the_average_of_the_parameters():
    params = {"w": jnp.array([1.0, 2.0])}
    optimizer = opax.chain(opax.sgd(0.1), opax.params_ema(0.9))(params)
    average = np.array([1.0, 2.0])
    for step in range(5):
        params, optimizer = opax.apply_gradients(params, optimizer, {"w": jnp.full(2, step + 1.0)})
        average = 0.9 * average + 0.1 * np.asarray(params["w"])
    np.testing.assert_allclose(optimizer[-1].params_ema["w"], average, rtol=1e-6)
    net = pax.Linear(2, 2)
    averaged = net.update(opax.params_ema(0.9)(net).params_ema)
    assert averaged == net
    with pytest.raises(ValueError, match="needs the parameters"):
        opax.transform_gradients(params, optimizer, None)
    low = opax.params_ema(0.9, accumulator_dtype=jnp.float32)({"w": jnp.ones(1, jnp.bfloat16)})
    assert low.params_ema["w"].dtype == jnp.float32


def test_steps_that_are_not_finite_are_counted():
    params = {"w": jnp.ones(2)}
    bad = {"w": jnp.array([1.0, jnp.nan])}
    optimizer = opax.MultiSteps(opax.sgd(0.1), 1, should_skip_update_fn=opax.skip_not_finite)(
        params
    )
    same, optimizer = opax.apply_gradients(params, optimizer, bad)
    assert same["w"].tolist() == [1.0, 1.0]
    assert int(optimizer.skip_state["num_not_finite"]) == int(optimizer.num_not_finite) == 1
    assert bool(optimizer.should_skip)
    optimizer = opax.apply_if_finite(opax.sgd(0.1), 5)(params)
    for grads in (bad, params, bad):
        params, optimizer = opax.apply_gradients(params, optimizer, grads)
    assert (int(optimizer.total_notfinite), bool(optimizer.last_finite)) == (2, False)
    np.testing.assert_allclose(params["w"], 0.9)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("all_finite", [True, False])
def test_nothing_changes_where_not_all_is_finite(jit, all_finite):
    net = make_net()
    optimizer = opax.adam(0.1)(net)
    step = jax.jit(opax.apply_gradients) if jit else opax.apply_gradients
    new, after = step(net, optimizer, ones(net.parameters()), jnp.array(all_finite))
    assert int(after.count) == all_finite
    assert (new == net) is (after == optimizer) is (not all_finite)


def test_step_leaves_out_what_is_not_finite():
    net = make_net()
    optimizer = opax.adam(0.1)(net)
    before = optimizer.copy()
    assert optimizer.step(ones(net.parameters()), net, all_finite=jnp.array(False)) == net
    assert optimizer == before


def test_private_gradients():
    params = {"w": jnp.zeros(3)}
    optimizer = opax.chain(
        opax.contrib.differentially_private_aggregate(1.0, 0.0, 0), opax.sgd(1.0)
    )(params)
    per_example = {"w": jnp.array([[3.0, 0.0, 4.0], [0.0, 0.5, 0.0]])}
    params, optimizer = opax.apply_gradients(params, optimizer, per_example)
    np.testing.assert_allclose(params["w"], [-0.3, -0.25, -0.4], rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adam", "lion", "adabelief"])
def test_flattened_updates_are_those_of_the_leaves(name):
    rng = np.random.default_rng(0)
    params = {
        "a": jnp.asarray(rng.standard_normal((3, 2)), jnp.float32),
        "b": [jnp.asarray(rng.standard_normal(n), jnp.bfloat16) for n in (1, 4)],
        "c": jnp.asarray(0.5, jnp.float32),
    }
    tx = getattr(opax, name)(0.1)
    plain, flat = tx(params), opax.flattened(tx)(params)
    assert len(jax.tree.leaves(flat)) < len(jax.tree.leaves(plain)) or name == "sgd"
    expected, actual = params, params
    for _ in range(3):
        expected, plain = opax.apply_gradients(expected, plain, jax.tree.map(jnp.cos, expected))
        actual, flat = opax.apply_gradients(actual, flat, jax.tree.map(jnp.cos, actual))
    assert jax.tree.map(lambda x: x.tolist(), actual) == jax.tree.map(
        lambda x: x.tolist(), expected
    )
    assert float(flat.learning_rate) == pytest.approx(0.1)


EVERYWHERE = [
    {"a": "used", "b": "used"},
    "used",
    lambda params: jax.tree.map(lambda _: "used", params),
    lambda path, leaf: "used",
    {"**": "used"},
]


@pytest.mark.parametrize("make", [opax.multi_transform, opax.partition])
@pytest.mark.parametrize("labels", EVERYWHERE)
def test_a_transformation_that_no_parameter_gets(make, labels):
    groups = {"used": opax.sgd(0.5), "unused": opax.adam(0.1)}
    params = {"a": jnp.ones(2), "b": {"c": jnp.ones(3)}}
    message = "No parameter has the label 'unused', so its transformation does nothing"
    with pytest.raises(ValueError, match=message):
        make(groups, labels)(params)
    with pytest.raises(ValueError, match=message):
        optax.chain(make(groups, labels)).init(params)
    optimizer = make(groups, opax.optional(labels))(params)
    new, _ = opax.apply_gradients(params, optimizer, params)
    assert jax.tree.all(jax.tree.map(lambda x: (x == 0.5).all(), new))
    assert "unused" in optimizer.summary(params)


def test_a_label_without_a_transformation():
    groups = {"slow": opax.sgd(0.5), 1: opax.sgd(2.0)}
    with pytest.raises(
        ValueError, match=r"label 'slwo' of a parameter has no transformation; .* 'slow', 1"
    ):
        opax.multi_transform(groups, {"a": "slow", "b": "slwo"})({"a": 1.0, "b": 1.0})
