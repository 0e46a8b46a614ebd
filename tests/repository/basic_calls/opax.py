"""Basic calls of opax."""

import jax
import jax.numpy as jnp
import optax

import opax

ONE = {"w": jnp.array([1.0])}
TWO = {"w": jnp.array([2.0])}


def close(tree, number):
    assert jnp.allclose(tree["w"], number, rtol=1e-5), tree


def steps():
    close(opax.sgd(0.1)(ONE).step(TWO, ONE), 0.8)
    close(opax.adam(0.1)(ONE).step(TWO, ONE), 0.9)
    close(opax.adamw(0.1, weight_decay=0.0)(ONE).step(TWO, ONE), 0.9)


def compiled_step():
    @jax.jit
    def step(params, optimizer, grads):
        return opax.apply_gradients(params, optimizer, grads)

    params, optimizer = step(ONE, opax.sgd(0.1, momentum=0.9)(ONE), TWO)
    close(params, 0.8)
    params, optimizer = step(params, optimizer, TWO)
    close(params, 0.42)


def chained():
    optimizer = opax.chain(opax.clip_by_global_norm(1.0), opax.sgd(0.5))(ONE)
    close(optimizer.step(TWO, ONE), 0.5)
    assert jnp.allclose(optimizer[0].global_norm, 2.0)


def hyperparameters():
    optimizer = opax.sgd(0.1)(ONE)
    assert jnp.allclose(optimizer.learning_rate, 0.1)
    close(optimizer.replace(learning_rate=0.2).step(TWO, ONE), 0.6)


def hyperparameters_of_low_precision():
    half = {"w": jnp.array([1.0], jnp.bfloat16)}
    new = opax.adam(0.5)(half).step(half, half)
    assert new["w"].dtype == jnp.bfloat16
    close(new, 0.5)


def schedules():
    schedule = opax.schedule.exponential_decay(1.0, 1)
    assert jnp.allclose(schedule(2), 0.25)
    close(opax.sgd(opax.schedule.constant_schedule(0.1))(ONE).step(TWO, ONE), 0.8)


def masks():
    optimizer = opax.masked(opax.sgd(0.1), "b")({"w": ONE["w"], "b": ONE["w"]})
    new = optimizer.step({"w": TWO["w"], "b": TWO["w"]}, {"w": ONE["w"], "b": ONE["w"]})
    assert jnp.allclose(new["b"], 0.8)


def optaxs_own():
    close(opax.from_optax(optax.sgd(0.1))(ONE).step(TWO, ONE), 0.8)


def one_vector():
    close(opax.flattened(opax.adam(0.1))(ONE).step(TWO, ONE), 0.9)


def averages():
    optimizer = opax.chain(opax.sgd(0.1), opax.params_ema(0.5))(ONE)
    close(optimizer.step(TWO, ONE), 0.8)


def summaries():
    assert "adam" in opax.adam(0.1)(ONE).summary()
