"""Steps of optimizers whose parameters and states are spread over 8 devices; prints the table of all.

XLA_FLAGS says how many devices there are; the test sets it.
"""

import json
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import opax

STEPS = 3


def main():
    import table_steps  # beside this script, which is run by its path

    warnings.filterwarnings("ignore", category=DeprecationWarning, module="optax")
    jax.config.update("jax_disable_most_optimizations", True)
    flattened()
    print(json.dumps(["shard_state", zero()]))
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


def zero():
    """A state that is spread over 8 devices: the results, and bytes for each device before and after."""
    found = {}
    for kind in (jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit):
        mesh = jax.make_mesh((8,), ("data",), (kind,))
        with jax.set_mesh(mesh):
            whole = NamedSharding(mesh, P())
            params = jax.device_put({"w": jnp.ones((16, 8)), "b": jnp.ones(3)}, whole)
            tx = opax.chain(opax.clip_by_global_norm(1.0), opax.adamw(0.1))
            alone, spread = tx(params), opax.shard_state(tx(params), mesh, "data")
            spread = opax.check(spread, params)
            step = jax.jit(opax.apply_gradients, donate_argnums=1)
            sizes = on_one_device(alone.state), on_one_device(spread.state)
            both = (params, alone), (params, spread)
            for _ in range(STEPS):
                both = tuple(step(p, o, jax.tree.map(jnp.cos, p)) for p, o in both)
            (expected, alone), (trained, spread) = both
            for name in params:
                np.testing.assert_allclose(trained[name], expected[name], rtol=1e-5)
                assert trained[name].sharding.is_equivalent_to(whole, params[name].ndim)
            assert "data" in spread[1].mu["w"].sharding.spec
            assert sizes == (on_one_device(alone.state), on_one_device(spread.state))
            found[kind.name] = sizes
    return found


def on_one_device(tree):
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))


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
