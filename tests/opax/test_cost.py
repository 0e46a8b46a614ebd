"""The compiler says that a step of opax costs what the same step of optax costs."""

import jax
import jax.numpy as jnp
import optax
import pytest

import opax
from benchmarks.suites.optimizers import COSTS, compiled_steps, cost

METRICS = ("flops", "bytes accessed")


@pytest.mark.parametrize("name", COSTS)
def test_a_step_costs_what_it_costs_in_optax(name):
    ours, theirs = compiled_steps(name)
    assert [cost(ours, metric) for metric in METRICS] == [cost(theirs, m) for m in METRICS]


@pytest.mark.parametrize("name", COSTS)
def test_a_step_with_constant_hyperparameters_costs_what_it_costs_in_optax(name):
    tx = COSTS[name](1e-3)
    params = {"w": jnp.eye(16), "b": jnp.ones(16)}
    optimizer = opax.from_optax(tx)(params)

    def theirs(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    ours = jax.jit(opax.apply_gradients).lower(params, optimizer, params).compile
    theirs = jax.jit(theirs).lower(params, tx.init(params), params).compile
    assert [cost(ours, metric) for metric in METRICS] == [cost(theirs, m) for m in METRICS]
