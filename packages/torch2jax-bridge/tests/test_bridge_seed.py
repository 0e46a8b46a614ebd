"""The examples that the package starts from, with its own name and on a CPU."""

import jax
import numpy as np
import pytest
import torch
from jax import numpy as jnp

from torch2jax_bridge import Size, torch2jax, torch2jax_with_vjp


def test_bridge_seed_single_output():
    def torch_fn(a, b):
        return a + b

    shape = (10, 2)
    a, b = torch.randn(shape), torch.randn(shape)
    inferred = torch2jax(torch_fn, a, b)
    given = torch2jax(torch_fn, a, b, output_shapes=Size(a.shape))

    prngkey = jax.random.PRNGKey(0)
    device = jax.devices("cpu")[0]
    a = jax.device_put(jax.random.normal(prngkey, shape), device)
    b = jax.device_put(jax.random.normal(prngkey, shape), device)
    for jax_fn in (inferred, given, jax.jit(inferred), jax.jit(given)):
        np.testing.assert_array_equal(jax_fn(a, b), a + b)


def test_bridge_seed_multiple_outputs():
    def torch_fn(a, b):
        layer = torch.nn.Linear(2, 20).to(a)
        return a + b, torch.norm(a), layer(a * b)

    shape = (10, 2)
    a, b = torch.randn(shape), torch.randn(shape)
    jax_fn = torch2jax(torch_fn, a, b)

    prngkey = jax.random.PRNGKey(0)
    device = jax.devices("cpu")[0]
    a = jax.device_put(jax.random.normal(prngkey, shape), device)
    b = jax.device_put(jax.random.normal(prngkey, shape), device)
    for call in (jax_fn, jax.jit(jax_fn)):
        x, y, z = call(a, b)
        np.testing.assert_array_equal(x, a + b)
        np.testing.assert_allclose(y, jnp.linalg.norm(a), rtol=1e-6)
        assert z.shape == (10, 20)


def test_bridge_seed_gradients():
    def torch_fn(a, b):
        return torch.nn.MSELoss()(a, b)

    shape = (6,)
    xt, yt = torch.randn(shape), torch.randn(shape)
    jax_fn = torch2jax_with_vjp(torch_fn, xt, yt, depth=2)

    g_fn = jax.grad(jax_fn, argnums=(0, 1))
    x, y = jnp.array(np.random.randn(*shape)), jnp.array(np.random.randn(*shape))
    for got in (g_fn(x, y), jax.jit(g_fn)(x, y)):
        np.testing.assert_allclose(got[0], (x - y) / 3, rtol=1e-5)
        np.testing.assert_allclose(got[1], (y - x) / 3, rtol=1e-5)
    both = jax.jacobian(jax.jacobian(jax_fn))(x, y)
    np.testing.assert_allclose(both, np.eye(6) / 3, rtol=1e-5)
    np.testing.assert_allclose(jax.hessian(jax_fn)(x, y), both, rtol=1e-5)


def product(x, tree):
    return (x * tree["a"] * tree["b"]).sum()


EXAMPLES = (torch.ones(3), {"a": torch.ones(3), "b": torch.ones(3)})


@pytest.mark.parametrize(
    ("options", "zeros"),
    [
        ({}, []),
        ({"nondiff_argnums": 1}, ["a", "b"]),
        ({"nondiff_argnums": (-1,)}, ["a", "b"]),
        ({"nondiff_mask": (False, {"a": True, "b": False})}, ["a"]),
        ({"nondiff_mask": [False, {"a": False, "b": True}], "use_torch_vjp": False}, ["b"]),
        ({"output_shapes": Size([])}, []),
    ],
    ids=["all", "argnum", "negative", "mask", "list", "shapes"],
)
def test_bridge_with_vjp_leaves_arguments_out(options, zeros):
    jax_fn = torch2jax_with_vjp(product, *EXAMPLES, **options)
    x, tree = jnp.arange(3.0), {"a": jnp.full(3, 2.0), "b": jnp.full(3, 5.0)}
    of_x, of_tree = jax.grad(jax_fn, (0, 1))(x, tree)
    np.testing.assert_array_equal(of_x, [10.0, 10.0, 10.0])
    for name, factor in (("a", 5.0), ("b", 2.0)):
        np.testing.assert_array_equal(of_tree[name], 0 * x if name in zeros else factor * x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": -1}, "depth is -1"),
        ({"use_zeros": False}, "JAX has no gradients that are None"),
        ({"nondiff_argnums": 0, "nondiff_mask": ()}, "both given"),
        ({"nondiff_argnums": 5}, "nondiff_argnums has 5, but 2 arguments were given"),
        ({"nondiff_mask": (True,)}, "nondiff_mask has the tree"),
    ],
    ids=["depth", "zeros", "both", "argnum", "mask"],
)
def test_bridge_with_vjp_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        torch2jax_with_vjp(product, *EXAMPLES, **options)(
            jnp.ones(3), {"a": jnp.ones(3), "b": jnp.ones(3)}
        )
