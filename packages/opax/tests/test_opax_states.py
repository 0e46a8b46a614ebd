"""States and gradients of any dtype: what optax makes of them, in the precision they began with."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import opax


def counting(start, increment):
    return optax.GradientTransformation(
        lambda params: {"n": start()}, lambda u, s, params=None: (u, {"n": increment(s["n"])})
    )


@pytest.mark.parametrize(
    ("start", "increment"),
    [
        (lambda: jnp.array(0), lambda n: 0.9 * n + 0.1),
        (lambda: 0, lambda n: n + jnp.array(1)),
        (lambda: 0, lambda n: n + 1),
        (lambda: 0.0, lambda n: n + jnp.float32(0.5)),
        (lambda: jnp.array(False), lambda n: ~n),
        (lambda: jnp.array(1.0), lambda n: n * 1j),
        (lambda: np.float32(1.0), lambda n: n / 3),
    ],
    ids=["int to float", "number", "int", "float", "bool", "complex", "numpy"],
)
def test_states_of_any_kind(start, increment):
    tx, params = counting(start, increment), jnp.ones(2)
    expected, optimizer = tx.init(params), opax.from_optax(tx)(params)
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(3):
            _, expected = tx.update(params, expected)
            _, optimizer = opax.transform_gradients(params, optimizer, params)
    assert np.array_equal(optimizer.state["n"], expected["n"])
    assert jnp.result_type(optimizer.state["n"]) == jnp.result_type(expected["n"])


@pytest.mark.parametrize("make", ["sgd", "adam", "adamw", "lion", "rmsprop", "adafactor"])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_gradients_of_another_precision(make, dtype):
    params = {"w": jnp.linspace(1.0, 2.0, 4)}
    grads = {"w": jnp.linspace(0.5, -1.0, 4, dtype=dtype)}
    tx, optimizer = getattr(optax, make)(0.1), getattr(opax, make)(0.1)(params)
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = tx.update(grads, tx.init(params), params)
        expected = optax.apply_updates(params, updates)
    actual, after = opax.apply_gradients(params, optimizer, grads)
    np.testing.assert_allclose(actual["w"], expected["w"], rtol=1e-6)
    assert [x.dtype for x in jax.tree.leaves(after)] == [
        x.dtype for x in jax.tree.leaves(optimizer)
    ]


PARAMS = {"w": jnp.ones(3), "b": jnp.ones(())}
EXAMPLES = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), PARAMS)


@pytest.mark.parametrize(
    "make",
    [
        lambda: opax.adamw(0.1),
        lambda: opax.sgd(0.1),
        lambda: opax.chain(opax.clip(1.0), opax.adam(0.1)),
        lambda: opax.inject_hyperparams(opax.adam)(0.1),
        lambda: opax.from_optax(optax.adam(0.1)),
        lambda: opax.MultiSteps(opax.sgd(0.1), 2),
    ],
)
def test_gradients_of_examples_are_refused(make):
    with pytest.raises(
        ValueError, match=r"at \['b'\] has the shape \(2,\), .* the parameter \(\): they"
    ):
        opax.apply_gradients(PARAMS, make()(PARAMS), EXAMPLES)


@pytest.mark.parametrize("library", [opax, optax])
def test_gradients_of_examples_are_taken_for_privacy(library):
    aggregate = library.contrib.differentially_private_aggregate(9.0, 0.0, 0)
    for tx in (aggregate, library.chain(aggregate, library.sgd(0.1))):
        new, _ = opax.apply_gradients(PARAMS, opax.from_optax(tx)(PARAMS), EXAMPLES)
        assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, PARAMS)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_averages_of_low_precision_are_kept_in_high(dtype):
    params = {"w": jnp.ones(2, dtype)}
    optimizer = opax.params_ema(0.999)(params)
    for _ in range(100):
        _, optimizer = opax.transform_gradients({"w": jnp.ones(2, dtype)}, optimizer, params)
    assert optimizer.params_ema["w"].dtype == jnp.float32
    np.testing.assert_allclose(optimizer.params_ema["w"], 2 - 0.999**100, rtol=1e-4)
