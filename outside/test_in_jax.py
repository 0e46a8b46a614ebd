import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

import opax
from outside.in_jax import EPSILON, RATE, converted, plain_losses, reference
from outside.models import LANGUAGE, MODELS
from outside.training import STEPS

# torchdiffeq reads the values of its times; torch.utils.checkpoint runs again on another device
# than that of tensors without values.
CALLED = [model for model in MODELS if model.name not in ("ode", "checkpointed")]
# PyTorch's LSTM has no batching rule.
MAPPED = [model for model in CALLED if model.name != "lstm"]
every_model = pytest.mark.parametrize("model", CALLED, ids=[model.name for model in CALLED])


def close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@every_model
def test_loss_and_gradients_are_those_of_pytorch(model):
    net = converted(model)
    value_and_grad = jax.jit(jax.value_and_grad(net.loss, has_aux=True))
    (loss, _), grads = value_and_grad(net.trained, net.buffers, net.batch)
    expected_loss, expected_grads = reference(model)
    # To the bit, but for the mean squares, which JAX takes.
    tolerance = 0.0 if model in LANGUAGE else 1e-5
    close(loss, expected_loss, tolerance)
    for name, expected in expected_grads.items():
        close(grads[name], expected.numpy(), tolerance)


@pytest.mark.whole
@every_model
@pytest.mark.parametrize("library", [optax, opax], ids=["optax", "opax"])
def test_training_is_that_of_pytorch(model, library):
    net = converted(model)
    transformation = library.adamw(RATE, eps=EPSILON, weight_decay=0.01)
    loss = jax.value_and_grad(net.loss, has_aux=True)

    @jax.jit
    def step(trained, state):
        (value, _), grads = loss(trained, net.buffers, net.batch)
        updates, state = transformation.update(grads, state, trained)
        return value, optax.apply_updates(trained, updates), state

    trained, state, losses = net.trained, transformation.init(net.trained), []
    for _ in range(STEPS):
        value, trained, state = step(trained, state)
        losses.append(float(value))
    close(losses, plain_losses(model), 1e-4)


@every_model
def test_dropout_follows_its_key(model):
    net = converted(model)

    @jax.jit
    def noisy(key):
        loss = functools.partial(net.loss, is_training=True, rng=key)
        (value, _), grads = jax.value_and_grad(loss, has_aux=True)(
            net.trained, net.buffers, net.batch
        )
        return value, grads, loss(net.trained, net.buffers, net.batch)[0]

    value, grads, again = noisy(jax.random.key(0))
    assert value == again
    assert jax.tree.all(jax.tree.map(jnp.array_equal, grads, noisy(jax.random.key(0))[1]))
    assert all(np.isfinite(grad).all() for grad in grads.values())


@pytest.mark.whole
@pytest.mark.parametrize("model", MAPPED, ids=[model.name for model in MAPPED])
def test_an_ensemble_is_each_member(model):
    net = converted(model)
    members = [jax.tree.map(lambda x, by=by: x * by, net.trained) for by in (1.0, 0.9)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    grad = jax.value_and_grad(lambda params: net.loss(params, net.buffers, net.batch)[0])
    values, grads = jax.jit(jax.vmap(grad))(stacked)
    for i, member in enumerate(members):
        value, expected = grad(member)
        close(values[i], value)
        for name in expected:
            close(grads[name][i], expected[name], 1e-4)


@pytest.mark.whole
@every_model
def test_a_scan_of_steps_is_the_loop(model):
    net = converted(model)

    def step(trained, _):
        value, grads = jax.value_and_grad(lambda p: net.loss(p, net.buffers, net.batch)[0])(trained)
        return jax.tree.map(lambda p, g: p - 0.05 * g, trained, grads), value

    scanned, values = jax.jit(lambda trained: jax.lax.scan(step, trained, length=3))(net.trained)
    trained, expected = net.trained, []
    for _ in range(3):
        trained, value = jax.jit(step)(trained, None)
        expected.append(value)
    close(values, expected)
    for name in trained:
        close(scanned[name], trained[name])


@pytest.mark.whole
@every_model
def test_two_devices_share_a_batch(model):
    net = converted(model)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    halves = [jax.tree.map(lambda x, i=i: jnp.split(x, 2)[i], net.batch) for i in (0, 1)]
    grad = jax.value_and_grad(lambda params, batch: net.loss(params, net.buffers, batch)[0])

    def part(params, batch):
        return jax.lax.pmean(grad(jax.lax.pcast(params, "data", to="varying"), batch), "data")

    shared = jax.shard_map(
        part,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec("data")),
        out_specs=PartitionSpec(),
    )
    value, grads = jax.jit(shared)(net.trained, net.batch)
    singles = [jax.jit(grad)(net.trained, half) for half in halves]
    expected_value, expected = jax.tree.map(lambda a, b: (a + b) / 2, *singles)
    close(value, expected_value)
    for name in expected:
        close(grads[name], expected[name], 1e-4)
