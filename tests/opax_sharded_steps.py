"""Steps of optimizers whose parameters and states are spread over 8 devices; prints a line for each.

XLA_FLAGS says how many devices there are; the test sets it.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import opax

SAME_SHAPE = ["adam", "adamw", "lion", "sgd", "rmsprop", "adagrad", "lamb", "yogi", "adabelief"]
OTHERS = ["adafactor", "muon"]


def main():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rng = np.random.default_rng(0)
    params = {
        "w": jnp.asarray(rng.standard_normal((16, 8)), jnp.float32),
        "b": jnp.asarray(rng.standard_normal(8), jnp.float32),
    }
    places = {"w": NamedSharding(mesh, P("data", None)), "b": NamedSharding(mesh, P("data"))}
    spread = jax.device_put(params, places)
    for name in [*SAME_SHAPE, *OTHERS]:
        make = getattr(opax, name, None) or getattr(opax.contrib, name)
        transformation = make(0.1, momentum=0.9) if name == "sgd" else make(0.1)
        alone, trained = run(transformation, params), run(transformation, spread)
        for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(trained), strict=True):
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=2e-4, atol=1e-6)
        if name in SAME_SHAPE:
            check_places(trained[1], spread, name)
        assert trained[0]["w"].sharding.is_equivalent_to(places["w"], 2), name
        print(name)


def run(transformation, params):
    optimizer = transformation(params)

    @jax.jit
    def train(params, optimizer):
        def body(carry, _):
            return opax.apply_gradients(*carry, jax.tree.map(jnp.cos, carry[0])), None

        return jax.lax.scan(body, (params, optimizer), length=3)[0]

    return train(params, optimizer)


def check_places(optimizer, params, name):
    """Every moment lies where its parameter does."""
    seen = 0
    for leaf in jax.tree.leaves(optimizer.state):
        for param in jax.tree.leaves(params):
            if leaf.shape == param.shape:
                assert leaf.sharding.is_equivalent_to(param.sharding, leaf.ndim), name
                seen += 1
    assert seen >= 2, name


main()
