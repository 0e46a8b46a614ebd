"""Layers under a mixed-precision policy, beside the same layers in full precision: outputs and states."""

from functools import partial

import jax
import jax.numpy as jnp
import jmp
import numpy as np
import pytest

import pax_jax as pax

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
TOLERANCE = {"bfloat16": 0.1, "float16": 0.02}

# A layer, and the shape of its input.
LAYERS = {
    "Linear": (lambda: pax.Linear(4, 3), (2, 4)),
    "Conv2D": (lambda: pax.Conv2D(4, 2, 3), (2, 4, 4, 4)),
    "Conv1DTranspose": (lambda: pax.Conv1DTranspose(4, 2, 3, 2), (2, 3, 4)),
    "BatchNorm1D": (lambda: pax.BatchNorm1D(4), (8, 4)),
    "BatchNorm2D": (lambda: pax.BatchNorm2D(4), (4, 3, 3, 4)),
    "BatchNorm3D": (lambda: pax.BatchNorm3D(4), (2, 2, 2, 2, 4)),
    "LayerNorm": (lambda: pax.LayerNorm(4), (2, 4)),
    "RMSNorm": (lambda: pax.RMSNorm(4), (2, 4)),
    "GroupNorm": (lambda: pax.GroupNorm(2, 4), (2, 16, 4)),
    "InstanceNorm": (lambda: pax.InstanceNorm(4), (2, 16, 4)),
    "EMA": (lambda: pax.EMA(jnp.zeros((2, 4)), 0.99, debias=True), (2, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_states_are_those_of_full_precision(name):
    make, shape = LAYERS[name]
    pax.seed_rng_key(0)
    layer = make()
    xs = jnp.asarray(np.random.default_rng(1).standard_normal((30, *shape)) + 3, jnp.float32)

    def run(layer):
        def step(layer, x):
            y = layer(x)
            return layer, y

        return pax.scan(step, layer, xs)

    def all_of(layer):
        policies = {
            half: jmp.get_policy(f"params=float32,compute={half},output=float32")
            for half in TOLERANCE
        }
        found = {half: run(pax.apply_mp_policy(layer, policy)) for half, policy in policies.items()}
        return found, run(layer)

    found, expected = quick(all_of)(layer)
    for half, given in found.items():
        for a, b in zip(jax.tree.leaves(given), jax.tree.leaves(expected), strict=True):
            assert a.dtype == b.dtype
            size = max(1.0, float(jnp.abs(b).max()))
            np.testing.assert_allclose(a, b, 0, TOLERANCE[half] * size)
