"""Schedules that are replaced and drawn, and learning rates that are tried one after the other."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import opax

PARAMS = {"w": jnp.ones(2)}
FALLING = opax.schedule.linear_schedule(1.0, 0.0, 4)
RISING = opax.schedule.linear_schedule(0.0, 4.0, 4)


@pytest.mark.parametrize(
    "tx",
    [
        opax.sgd,
        lambda rate: opax.chain(opax.clip(9.0), opax.sgd(rate)),
        lambda rate: opax.inject_hyperparams(opax.sgd)(rate),
        lambda rate: opax.inject_hyperparams(opax.sgd)(learning_rate=rate, momentum=0.0),
        lambda rate: opax.chain(opax.clip(9.0), opax.inject_hyperparams(opax.sgd)(rate)),
        lambda rate: opax.scale_by_schedule(lambda count: -rate(count)),
    ],
)
def test_a_schedule_is_replaced_in_mid_run(tx):
    optimizer, expected = tx(FALLING)(PARAMS), tx(RISING)(PARAMS)
    for _ in range(2):
        _, optimizer = opax.transform_gradients(PARAMS, optimizer, PARAMS)
        _, expected = opax.transform_gradients(PARAMS, expected, PARAMS)
    name = "learning_rate" if "learning_rate" in dir(optimizer) else "step_size_fn"
    new = RISING if name == "learning_rate" else lambda count: -RISING(count)
    replaced = optimizer.replace(**{name: new})
    assert abs(float(getattr(replaced, name))) == 2.0
    updates, replaced = opax.transform_gradients(PARAMS, replaced, PARAMS)
    wanted, expected = opax.transform_gradients(PARAMS, expected, PARAMS)
    np.testing.assert_array_equal(updates["w"], wanted["w"])
    assert abs(float(getattr(replaced, name))) == 3.0
    with pytest.raises(AttributeError, match="follows a schedule"):
        optimizer.replace(**{name: 0.1})


def test_a_number_does_not_become_a_schedule():
    for tx in (opax.sgd(0.1), opax.inject_hyperparams(opax.sgd)(0.1)):
        with pytest.raises(AttributeError, match=r"is a number, and linear_schedule.* is none"):
            tx(PARAMS).replace(learning_rate=FALLING)
        with pytest.raises(AttributeError, match="is a number, and None is none"):
            tx(PARAMS).replace(learning_rate=None)


def test_a_schedule_is_shown_in_a_notebook():
    shown = FALLING._repr_html_()
    assert "linear_schedule(init_value=1.0" in shown
    assert "<td>1</td><td>0.75</td><td>0</td>" in shown


def step(params, optimizer):
    loss, grads = jax.value_and_grad(lambda p: jnp.sum(p["w"] ** 2))(params)
    return loss, *opax.apply_gradients(params, optimizer, grads)


@pytest.mark.parametrize("make", [opax.sgd, optax.sgd])
def test_learning_rates_are_tried_from_step_to_step(make):
    if make is optax.sgd:
        with pytest.raises(AttributeError, match="learning_rate"):
            opax.learning_rate_range_test(step, PARAMS, opax.from_optax(optax.sgd(0.1))(PARAMS))
        return
    compiled = jax.jit(step)
    found = opax.learning_rate_range_test(compiled, PARAMS, opax.sgd(9.0)(PARAMS), [0.25, 0.5, 2.0])
    np.testing.assert_allclose(found.losses, [2.0, 0.5, 0.0])
    assert compiled._cache_size() == 1
    rising = opax.learning_rate_range_test(
        compiled, PARAMS, opax.sgd(9.0)(PARAMS), [0.1, 2.0, 2.0, 2.0]
    )
    np.testing.assert_allclose(
        rising.rates, [0.1, 2.0, 2.0]
    )  # ends at four times the smallest loss
    endless = opax.learning_rate_range_test(
        compiled, PARAMS, opax.sgd(9.0)(PARAMS), [jnp.nan, 1.0, 1.0]
    )
    assert len(endless.rates) == 2


def test_drawing_needs_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        ImportError, match=r"Schedule.plot needs matplotlib, .* `pip install opax\[matplotlib\]`"
    ):
        FALLING.plot(3)
