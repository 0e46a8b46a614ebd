"""Optimizers of optax through `pax_jax.optim`: the parameters are those that optax itself reaches."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pax_jax as pax

pytestmark = pytest.mark.usefixtures("quick_compilation")

OPTIMIZERS = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "schedule": optax.sgd(optax.cosine_decay_schedule(0.1, 5)),
    "adam": optax.adam(0.1),
    "adamw": optax.adamw(0.1),
    "adagrad": optax.adagrad(0.1),
    "adafactor": optax.adafactor(0.1),
    "lamb": optax.lamb(0.1),
    "lion": optax.lion(0.1),
    "rmsprop": optax.rmsprop(0.1),
    "clipped": optax.chain(optax.clip_by_global_norm(0.1), optax.adam(0.1)),
    "masked": optax.masked(
        optax.adam(0.1), lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
    ),
    "accumulated": optax.MultiSteps(optax.adam(0.1), 2),
    "injected": optax.inject_hyperparams(optax.adam)(0.1),
    "plateau": optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=1)),
}


def make_net():
    pax.seed_rng_key(0)
    return pax.Sequential(pax.Linear(4, 8), pax.BatchNorm1D(8), jax.nn.relu, pax.Linear(8, 1))


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_from_optax_steps_as_optax_does(case):
    transformation = OPTIMIZERS[case]
    net = make_net()
    extra = {"value": jnp.ones(())} if case == "plateau" else {}
    optimizer = pax.optim.from_optax(transformation)(net.parameters())
    # Plain arrays beside: what is compared with knows nothing of modules.
    params, structure = jax.tree.flatten(net.parameters())
    state = transformation.init(params)

    @jax.jit
    def step(optimizer, net, grads):
        net = optimizer.step(grads, net, **extra)
        return optimizer, net

    @jax.jit
    def reference(params, state, grads):
        updates, state = transformation.update(grads, state, params, **extra)
        return optax.apply_updates(params, updates), state

    for seed in range(3):
        draw = np.random.default_rng(seed)
        grads = [jnp.asarray(draw.normal(size=p.shape), p.dtype) for p in params]
        optimizer, net = step(optimizer, net, jax.tree.unflatten(structure, grads))
        params, state = reference(params, state, grads)
        ours = jax.tree.leaves(net.parameters())
        for a, b in zip(ours, params, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert len(jax.tree.leaves(optimizer.state)) == len(jax.tree.leaves(state))
    assert jax.tree.leaves(optimizer.parameters()) == []
    assert net.modules[1].ema_mean is not None


def test_the_optimizer_of_the_early_pax_readme():
    learning_rate, momentum = 0.01, 0.9
    SGD = pax.optim.from_optax(optax.sgd(learning_rate=learning_rate, momentum=momentum))
    net = make_net()
    optimizer = SGD(net.parameters())
    assert isinstance(optimizer, pax.Optimizer)
    x, y = np.ones((3, 4), np.float32), np.zeros((3, 1), np.float32)
    losses = []
    for _ in range(5):
        loss, grads = pax.value_and_grad(lambda net: jnp.mean((net(x) - y) ** 2))(net)
        net = optimizer.step(grads, net)
        losses.append(float(loss))
    assert losses == sorted(losses, reverse=True)


def test_what_from_optax_refuses(monkeypatch):
    with pytest.raises(TypeError, match=r"expects an optax\.GradientTransformation.*got 3"):
        pax.optim.from_optax(3)
    monkeypatch.setitem(sys.modules, "optax", None)
    with pytest.raises(ImportError, match=r"from_optax needs optax.*pax-jax\[optax\]"):
        pax.optim.from_optax(optax.sgd(0.1))
