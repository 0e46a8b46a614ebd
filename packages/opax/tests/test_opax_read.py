"""What optax's own functions say of a state is said of an optimizer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import opax
import pax_jax

PARAMS = {"w": jnp.ones(2)}


@pytest.mark.parametrize(
    "wrap", [lambda o, tx: tx, lambda o, tx: o.chain(o.clip_by_global_norm(1.0), tx)]
)
def test_parameters_to_evaluate_are_those_of_optax(wrap):
    ours = wrap(opax, opax.contrib.schedule_free_sgd(0.5, b1=0.8))(PARAMS)
    tx = wrap(optax, optax.contrib.schedule_free_sgd(0.5, b1=0.8))
    state, trained, params = tx.init(PARAMS), PARAMS, PARAMS
    for _ in range(3):
        with jax.numpy_dtype_promotion("standard"):
            updates, state = tx.update(params, state, params)
            params = optax.apply_updates(params, updates)
        trained, ours = opax.apply_gradients(trained, ours, trained)
    inner = state[1] if len(state) == 2 else state
    with jax.numpy_dtype_promotion("standard"):
        expected = optax.contrib.schedule_free_eval_params(inner, params)
    found = opax.contrib.schedule_free_eval_params(ours, trained)
    np.testing.assert_array_equal(found["w"], expected["w"])


def test_a_module_is_evaluated_with_its_states():
    net = pax_jax.Sequential(pax_jax.Linear(2, 2), pax_jax.BatchNorm1D(2))
    optimizer = opax.contrib.schedule_free_sgd(0.5)(net)
    net, optimizer = opax.apply_gradients(net, optimizer, net.parameters())
    found = opax.contrib.schedule_free_eval_params(optimizer, net)
    assert type(found) is type(net)
    np.testing.assert_array_equal(found.modules[1].ema_mean, net.modules[1].ema_mean)
    with pytest.raises(ValueError, match=r"expects an optimizer with one .*sgd.* has 0"):
        opax.contrib.schedule_free_eval_params(opax.sgd(0.1)(PARAMS), PARAMS)


@pytest.mark.parametrize("wrap", [lambda tx: tx, lambda tx: opax.chain(opax.clip(1.0), tx)])
def test_steps_that_change_the_parameters_are_those_of_optax(wrap):
    tx = optax.MultiSteps(optax.sgd(0.1), 3)
    state, optimizer = tx.init(PARAMS), wrap(opax.MultiSteps(opax.sgd(0.1), 3))(PARAMS)
    for _ in range(7):
        assert opax.has_updated(optimizer) == tx.has_updated(state)
        with jax.numpy_dtype_promotion("standard"):
            _, state = tx.update(PARAMS, state, PARAMS)
        _, optimizer = opax.transform_gradients(PARAMS, optimizer, PARAMS)
    with pytest.raises(AttributeError, match="no state 'mini_step'"):
        opax.has_updated(opax.sgd(0.1)(PARAMS))


def test_values_that_a_line_search_keeps_are_read():
    def value_fn(params):
        return jnp.sum(params["w"] ** 4)

    optimizer, params = opax.lbfgs()(PARAMS), PARAMS
    with jax.numpy_dtype_promotion("standard"):
        evaluate = optax.value_and_grad_from_state(value_fn)
        value, grads = evaluate(params, state=optimizer)
    extra = {"value": value, "grad": grads, "value_fn": value_fn}
    params, optimizer = opax.apply_gradients(params, optimizer, grads, **extra)
    with jax.numpy_dtype_promotion("standard"):
        value, grads = evaluate(params, state=optimizer)
    np.testing.assert_allclose(value, value_fn(params), rtol=1e-5)
    np.testing.assert_allclose(grads["w"], jax.grad(value_fn)(params)["w"], rtol=1e-5)
