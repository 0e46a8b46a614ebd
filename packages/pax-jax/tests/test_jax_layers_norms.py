"""Normalization under JAX's transformations, over replicas, and its errors."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def close(actual, expected, tolerance=1e-5):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_batch_norm_under_vmap_is_one_norm_for_each_model():
    xs = normal(0, 3, 5, 2)
    norm = pax.BatchNorm1D(2)
    norms, ys = quick(jax.vmap(lambda x: norm % x))(xs)
    expected = [norm % x for x in xs]
    close(ys, jnp.stack([y for _, y in expected]))
    close(norms, jax.tree.map(lambda *leaves: jnp.stack(leaves), *(n for n, _ in expected)))


def test_batch_norm_in_a_scan_is_a_loop():
    xs = normal(0, 4, 5, 2)
    norm = pax.BatchNorm1D(2)
    scanned, ys = quick(lambda norm, xs: jax.lax.scan(lambda n, x: n % x, norm, xs))(norm, xs)
    outputs = [norm(x) for x in xs]
    close(ys, jnp.stack(outputs))
    close(scanned, norm)


def test_batch_norm_over_a_vmapped_axis_is_that_of_the_whole_batch():
    x = normal(0, 6, 2)
    apart = pax.BatchNorm1D(2, cross_replica_axis="replicas")
    whole = pax.BatchNorm1D(2)

    def loss(norm, x):
        norm, y = norm % x
        return jnp.sin(y), norm

    def replicas(params, x):
        run = jax.vmap(lambda x: loss(apart.update(params), x), axis_name="replicas")
        y, norms = run(x.reshape(3, 2, 2))
        return y.sum(), (y.reshape(6, 2), norms)

    def together(params, x):
        y, norm = loss(whole.update(params), x)
        return y.sum(), (y, norm)

    def evaluate(function, norm):
        return quick(jax.grad(function, (0, 1), has_aux=True))(norm.parameters(), x)

    grads, (y, norms) = evaluate(replicas, apart)
    expected, (expected_y, norm) = evaluate(together, whole)
    close(y, expected_y)
    close(jax.tree.leaves(grads), jax.tree.leaves(expected))
    for replica in range(3):
        close(norms.ema_mean[replica], norm.ema_mean)
        close(norms.ema_var[replica], norm.ema_var)


def test_batch_norm_in_shard_map_gives_replicated_averages():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec
    norm = pax.BatchNorm1D(2, cross_replica_axis="data")
    x = normal(0, 6, 2)
    run = jax.shard_map(
        lambda norm, x: norm % x,
        mesh=mesh,
        in_specs=(spec(), spec("data")),
        out_specs=(spec(), spec("data")),  # refused unless the averages are equal on all shards
    )
    new, y = quick(run)(norm, x)
    expected = pax.BatchNorm1D(2)
    close(y, expected(x))
    close(jax.tree.leaves(new), jax.tree.leaves(expected))


def test_batch_norm_of_a_large_mean_is_exact_once_it_knows_the_mean():
    x = 1000.0 + normal(0, 64, 1)
    norm = pax.BatchNorm1D(1, create_scale=False, create_offset=False)
    norm(x)
    y = norm(x + 0.25)
    expected = (x - x.mean()) / x.std()
    close(y, expected, 1e-3)
    assert bool((norm.ema_var >= 0.0).all())


def test_batch_norm_with_decay_one_keeps_its_averages():
    norm = pax.BatchNorm1D(2, decay_rate=1.0)
    before = norm.copy()
    norm(normal(0, 5, 2))
    assert norm == before


def test_a_frozen_batch_norm_still_moves_its_averages():
    norm = pax.BatchNorm1D(2).freeze()
    assert jax.tree.leaves(norm.parameters()) == []
    norm(normal(0, 5, 2))
    assert float(norm.ema_weight) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: pax.BatchNorm1D(2, data_format="NHWC"),
            "data_format is 'NWC' or 'NCW', got 'NHWC'",
        ),
        (lambda: pax.BatchNorm3D(2, data_format="NHWC"), "data_format is 'NDHWC' or 'NCDHW'"),
        (lambda: pax.BatchNorm2D(2, decay_rate=1.5), "decay_rate is from 0 to 1, got 1.5"),
        (lambda: pax.EMA(jnp.ones(2), 1.5), "decay_rate is from 0 to 1, got 1.5"),
        (lambda: pax.GroupNorm(3, 4), "groups=3 does not divide num_channels=4"),
        (lambda: pax.GroupNorm(2, 4, data_format="NHWC"), "data_format is 'channels_last'"),
        (
            lambda: pax.LayerNorm(4, axis="C"),
            "axis is an int, a sequence of ints or a slice, got 'C'",
        ),
        (
            lambda: pax.LayerNorm(4, create_scale=False, scale_init=jax.nn.initializers.ones),
            "scale_init is given with create_scale=False",
        ),
        (lambda: pax.LayerNorm(4)(jnp.ones((2, 3))), r"expects an input \(..., 4\), got \(2, 3\)"),
        (lambda: pax.RMSNorm(4)(jnp.ones(())), r"expects an input \(..., 4\), got \(\)"),
        (
            lambda: pax.GroupNorm(2, 4, data_format="channels_first")(jnp.ones((2, 3, 4))),
            r"expects an input channels_first with 4 channels, got \(2, 3, 4\)",
        ),
    ],
)
def test_wrong_arguments_raise(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        (
            lambda: pax.BatchNorm1D(3),
            "BatchNorm1D(num_channels=3, create_scale=True, create_offset=True, decay_rate=0.9, "
            "eps=1e-05, data_format=NWC)",
        ),
        (
            lambda: pax.GroupNorm(2, 4, name="norm"),
            "(norm) GroupNorm(groups=2, num_channels=4, create_scale=True, create_offset=True, "
            "data_format=channels_last)",
        ),
        (lambda: pax.RMSNorm(2), "RMSNorm(num_channels=2, axis=(-1,), create_scale=True)"),
    ],
)
def test_summary_lines(layer, line):
    assert layer().summary(arrays=False) == line


def test_initializers_of_norms_get_key_shape_and_dtype():
    init = pax.initializers.random_normal(stddev=0.0, mean=3.0)
    norm = pax.LayerNorm(2, scale_init=init, offset_init=pax.initializers.random_uniform(1.0, 2.0))
    assert norm.scale.tolist() == [3.0, 3.0]
    assert all(1.0 <= value <= 2.0 for value in norm.offset.tolist())


def test_ema_keeps_the_last_of_integers_and_the_structure():
    ema = pax.EMA({"w": jnp.zeros(2), "n": jnp.array(0)}, 0.5, allow_int=True)
    for n in (1, 2):
        average = ema({"w": jnp.ones(2), "n": jnp.array(n)})
    assert int(average["n"]) == 2
    assert average["w"].tolist() == [0.75, 0.75]
    assert jax.tree.leaves(ema.parameters()) == []


@pytest.mark.parametrize("mean", [0.0, 1000.0])
def test_layer_norm_has_the_derivatives_of_its_formula_to_the_third_order(mean):
    x, direction = mean + normal(0, 6), normal(1, 6)
    norm = pax.LayerNorm(6, create_scale=False, create_offset=False)

    def formula(x):
        centered = x - jnp.mean(x)
        return centered / jnp.sqrt(jnp.mean(centered**2) + norm.eps)

    def third(f):
        return quick(jax.jacfwd(jax.hessian(lambda x: jnp.sum(jnp.sin(f(x)) * direction))))(x)

    np.testing.assert_allclose(norm(x), formula(x), atol=2e-6 * (1 + mean / 20))
    expected = third(formula)
    np.testing.assert_allclose(third(norm), expected, atol=1e-4 * float(jnp.abs(expected).max()))
