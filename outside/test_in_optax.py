"""Libraries that take optimizers of optax, with those of opax in their place."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal

import opax

MAKERS = {
    "adam": lambda library: library.adam(0.05),
    "chain": lambda library: library.chain(
        library.clip_by_global_norm(1.0), library.adamw(0.05, weight_decay=0.1)
    ),
    "schedule": lambda library: library.sgd(optax.linear_schedule(0.1, 0.0, 20), momentum=0.9),
}


def assert_same(found, expected):
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    for a, b in pairs:
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", MAKERS)
def test_numpyro_fits_as_with_optax(name):
    x = jnp.linspace(-1.0, 1.0, 20)

    def model():
        slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
        numpyro.sample("seen", dist.Normal(slope * x, 0.5), obs=2.0 * x)

    def fitted(library):
        svi = SVI(model, AutoNormal(model), MAKERS[name](library), Trace_ELBO())
        found = svi.run(jax.random.key(0), 20, progress_bar=False)
        return found.params, found.losses

    assert_same(fitted(opax), fitted(optax))


@pytest.mark.parametrize("name", MAKERS)
def test_blackjax_approximates_as_with_optax(name):
    def density(x):
        return -0.5 * jnp.sum((x - 1.0) ** 2)

    def fitted(library):
        family = blackjax.meanfield_vi(density, MAKERS[name](library), 10)
        state, infos = family.init(jnp.zeros(3)), []
        step = jax.jit(family.step)
        for key in jax.random.split(jax.random.key(0), 10):
            state, info = step(key, state)
            infos.append(info)
        return state.mu, state.rho, infos

    assert_same(fitted(opax), fitted(optax))


@pytest.mark.parametrize("name", MAKERS)
def test_flax_trains_as_with_optax(name):
    x = jax.random.normal(jax.random.key(0), (8, 3))

    def in_nnx(library):
        net = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
        optimizer = nnx.Optimizer(net, MAKERS[name](library), wrt=nnx.Param)

        @nnx.jit
        def step(net, optimizer):
            optimizer.update(net, nnx.grad(lambda net: jnp.mean(net(x) ** 2))(net))

        for _ in range(5):
            step(net, optimizer)
        return nnx.state(net, nnx.Param)

    def in_linen(library):
        params = {"w": jnp.ones((3, 2))}
        state = TrainState.create(apply_fn=None, params=params, tx=MAKERS[name](library))
        step = jax.jit(
            lambda s: s.apply_gradients(
                grads=jax.grad(lambda p: jnp.mean((x @ p["w"]) ** 2))(s.params)
            )
        )
        for _ in range(5):
            state = step(state)
        return state.params

    assert_same(in_nnx(opax), in_nnx(optax))
    assert_same(in_linen(opax), in_linen(optax))
