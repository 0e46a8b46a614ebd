"""PyTorch networks in JAX's science libraries, beside the same network written in JAX."""

import blackjax
import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import torch
from flax import linen
from numpyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal

from torch2jax_bridge import jax2torch, torch2jax


@pytest.fixture(scope="module")
def slope():
    """A network of PyTorch and the same in JAX, as functions of an array."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    apply, params, _ = torch2jax(net)

    def in_jax(params, x):
        x = jnp.tanh(x @ params["0.weight"].T + params["0.bias"])
        return x @ params["2.weight"].T + params["2.bias"]

    return lambda params, x: apply(params, x)[0], in_jax, params


def assert_trees_close(found, expected, tolerance=1e-5):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
        found,
        expected,
    )


def test_diffrax_solves_and_differentiates(slope):
    in_torch, in_jax, params = slope

    def end(params, field):
        term = diffrax.ODETerm(lambda t, y, params: field(params, y))
        solution = diffrax.diffeqsolve(
            term, diffrax.Tsit5(), 0.0, 1.0, 0.1, jnp.ones(3), args=params, max_steps=64
        )
        return jnp.sum(solution.ys**2)

    run = jax.jit(jax.value_and_grad(end), static_argnums=1)
    assert_trees_close(run(params, in_torch), run(params, in_jax))


def test_numpyro_samples_and_fits(slope):
    in_torch, in_jax, params = slope
    x = jax.random.normal(jax.random.key(0), (5, 3))

    def model(network):
        shift = numpyro.sample("shift", dist.Normal(0.0, 1.0).expand([3]))
        numpyro.sample(
            "seen", dist.Normal(network(params, x + shift).sum(-1), 1.0), obs=jnp.zeros(5)
        )

    def samples(network):
        sampler = MCMC(NUTS(model), num_warmup=20, num_samples=20, progress_bar=False)
        sampler.run(jax.random.key(1), network)
        return sampler.get_samples()["shift"].mean(0)

    def fitted(network):
        svi = SVI(model, AutoNormal(model), numpyro.optim.Adam(0.05), Trace_ELBO())
        return svi.run(jax.random.key(2), 20, network, progress_bar=False).losses

    assert_trees_close(fitted(in_torch), fitted(in_jax), 1e-3)
    assert_trees_close(samples(in_torch), samples(in_jax), 0.3)


def test_blackjax_takes_the_same_steps(slope):
    in_torch, in_jax, params = slope

    def chain(network):
        kernel = blackjax.hmc(
            lambda x: -jnp.sum(network(params, x) ** 2 + x**2), 0.1, jnp.ones(3), 5
        )
        step = jax.jit(kernel.step)
        state, positions = kernel.init(jnp.zeros(3)), []
        for key in jax.random.split(jax.random.key(0), 10):
            state, _ = step(key, state)
            positions.append(state.position)
        return jnp.stack(positions)

    assert_trees_close(chain(in_torch), chain(in_jax), 1e-4)


def test_flax_trains_in_a_loop_of_torch():
    net = linen.Sequential([linen.Dense(8), jax.nn.tanh, linen.Dense(1)])
    x = jax.random.normal(jax.random.key(0), (16, 3))
    params = net.init(jax.random.key(1), x)
    leaves, treedef = jax.tree.flatten(params)

    def loss(leaves, x):
        return jnp.mean((net.apply(jax.tree.unflatten(treedef, leaves), x) - 1.0) ** 2)

    in_torch = jax2torch(loss)
    tensors = [torch.from_numpy(np.array(leaf)).requires_grad_() for leaf in leaves]
    optimizer = torch.optim.SGD(tensors, lr=0.1)
    images = torch.from_numpy(np.array(x))
    for _ in range(5):
        optimizer.zero_grad()
        in_torch(tensors, images).backward()
        optimizer.step()
        grads = jax.grad(loss)(leaves, x)
        leaves = [leaf - 0.1 * grad for leaf, grad in zip(leaves, grads, strict=True)]
    assert_trees_close([tensor.detach().numpy() for tensor in tensors], leaves)
