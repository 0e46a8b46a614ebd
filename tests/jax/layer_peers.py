"""How the layers of pax_jax are compared with those of other libraries: outputs and gradients."""

from functools import partial

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

import pax_jax as pax

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
FLOAT32 = 2e-5
TOLERANCE = {"float64": 1e-10, "float32": FLOAT32, "float16": 2e-2, "bfloat16": 1e-1}


def normal(seed, *shape, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def made(make, seed=0, dtype=None, mean=0.1):
    """The module that `make()` makes, with random leaves, so that no bias is zero and no scale one.

    It is made abstractly: nothing is compiled for its initializers.
    """

    def traced():
        pax.seed_rng_key(seed)
        return make()

    draw = np.random.default_rng(seed)

    def new(leaf):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(seed)
        values = 0.5 * draw.standard_normal(leaf.shape) + mean
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.asarray(values, dtype if dtype is not None and floating else leaf.dtype)

    return jax.tree.map(new, jax.eval_shape(traced))


def close(actual, expected, tolerance=FLOAT32):
    """Compare two pytrees of the same arrays, in one precision."""
    ours, theirs = jax.tree.leaves(actual), jax.tree.leaves(expected)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        scale = max(1.0, float(np.max(np.abs(np.asarray(b, np.float64)), initial=0.0)))
        np.testing.assert_allclose(
            np.asarray(a, np.float64), np.asarray(b, np.float64), rtol=0, atol=tolerance * scale
        )


def evaluate(call, params, inputs, differentiable):
    """The output of `call(params, *inputs)`, and the gradients of a sum of its sines."""

    def loss(params, moving):
        y = call(params, *moving, *inputs[len(moving) :])
        wide = jax.tree.map(
            lambda leaf: jnp.sin(leaf.astype(jnp.promote_types(leaf.dtype, "f4"))), y
        )
        return sum(map(jnp.sum, jax.tree.leaves(wide))), y

    (_, y), grads = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, inputs[:differentiable])
    return y, grads


def compare(layer, to_peer, peer, *inputs, tolerance=FLOAT32, differentiable=None):
    """Compare a layer with `peer(to_peer(parameters), *inputs)`, forward and backward.

    Ours runs with strict promotion; the first `differentiable` inputs are differentiated, all by
    default. Both run in one program, compiled without optimization, which saves most of the time.
    """
    count = len(inputs) if differentiable is None else differentiable

    @quick
    def both(params, *inputs):
        with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
            call = lambda params, *inputs: layer.update(params)(*inputs)  # noqa: E731
            y, (grads, moved) = evaluate(call, params, inputs, count)
        expected = evaluate(peer, to_peer(params), inputs, count)
        return (y, (to_peer(grads), moved)), expected

    ours, theirs = both(layer.parameters(), *inputs)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    close(ours, theirs, tolerance)


def haiku(make, method=None):
    """The function of parameters and inputs of a haiku module without state."""

    def call(*inputs):
        module = make()
        return (method or type(module).__call__)(module, *inputs)

    return partial(hk.without_apply_rng(hk.transform(call)).apply)


def linear(layer):
    """A Linear's parameters as haiku has them."""
    return {"w": layer.weight} if layer.bias is None else {"w": layer.weight, "b": layer.bias}


def present(**arrays):
    return {name: array for name, array in arrays.items() if array is not None}
