"""Steps of optimizers whose parameters and states are spread over 8 devices; prints the table of all.

XLA_FLAGS says how many devices there are; the test sets it.
"""

import json
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import table_steps
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import opax

STEPS = 3


def main():
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="optax")
    jax.config.update("jax_disable_most_optimizations", True)
    flattened()
    for row in table_steps.table():
        print(json.dumps(row), flush=True)


def flattened():
    """Vectors of leaves that are spread in several ways, over axes of both kinds."""
    specs = {"w": P("a", "b"), "v": P(None, "a"), "u": P(("a", "b")), "t": P("b"), "s": P()}
    rng = np.random.default_rng(0)
    params = {name: jnp.asarray(rng.standard_normal((16, 8)), jnp.float32) for name in specs}
    for kind in (jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit):
        mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(kind, kind))
        with jax.set_mesh(mesh):
            places = {name: NamedSharding(mesh, spec) for name, spec in specs.items()}
            spread = jax.device_put(params, places)
            alone, _ = run(opax.adam(0.1), spread)
            trained, optimizer = run(opax.flattened(opax.adam(0.1)), spread)
            for name, place in places.items():
                np.testing.assert_allclose(trained[name], alone[name], rtol=2e-4, atol=1e-5)
                assert trained[name].sharding.is_equivalent_to(place, 2), name
            vectors = opax.flattened(opax.adam(0.1))(spread).mu, optimizer.mu
            for name, vector in [pair for group in vectors for pair in group.items()]:
                parts = {"float32": 1, "float32 over b": 2, "float32 over a": 4}.get(name, 8)
                assert vector.size == parts * vector.addressable_shards[0].data.size, name


def run(transformation, params):
    optimizer = transformation(params)

    @jax.jit
    def train(params, optimizer):
        def body(carry, _):
            return opax.apply_gradients(*carry, jax.tree.map(jnp.cos, carry[0])), None

        return jax.lax.scan(body, (params, optimizer), length=STEPS)[0]

    return train(params, optimizer)


if __name__ == "__main__":
    main()
