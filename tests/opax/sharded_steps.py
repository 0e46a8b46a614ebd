"""Steps of optimizers whose parameters and states are spread over 8 devices; prints a line for each.

XLA_FLAGS says how many devices there are; the test sets it.
"""

import inspect
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import opax

# Whose moments have the shapes of the parameters, and so their places.
SAME_SHAPE = {"adam", "adamw", "lion", "sgd", "rmsprop", "adagrad", "lamb", "yogi", "adabelief"}
STEPS = 3
ARGUMENTS = {
    "dpsgd": (0.1, 1.0, 0.0, 0),
    "noisy_sgd": (0.1, 0.01, 0.55, 0),
    "schedule_free": (opax.sgd(0.1), 0.1),
    "sgd": (0.1, 0.9),
}


def names():
    """Every optimizer of optax and optax.contrib: what takes a learning rate."""
    for package in (opax, opax.contrib):
        for name, function in package._generated.items():
            if "learning_rate" in inspect.signature(function).parameters:
                yield package, name


def make(package, name):
    function = getattr(package, name)
    if name in ARGUMENTS:
        return function(*ARGUMENTS[name])
    parameter = inspect.signature(function).parameters["learning_rate"]
    return function() if parameter.default is not parameter.empty else function(0.1)


def objective(params):
    return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(params))


def gradients(name, params):
    """The gradients, and what else an optimizer asks for."""
    value, grads = jax.value_and_grad(objective)(params)
    if name == "dpsgd":
        return jax.tree.map(lambda g: jnp.stack([g, 2 * g]), grads), {}
    if name == "lbfgs":
        return grads, {"value": value, "grad": grads, "value_fn": objective}
    if name == "sophia":
        return grads, {"obj_fn": objective}
    return grads, {"value": value} if name.startswith("momo") else {}


def main():
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="optax")
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rng = np.random.default_rng(0)
    params = {
        "w": jnp.asarray(rng.standard_normal((16, 8)), jnp.float32),
        "b": jnp.asarray(rng.standard_normal(8), jnp.float32),
    }
    places = {"w": NamedSharding(mesh, P("data", None)), "b": NamedSharding(mesh, P("data"))}
    spread = jax.device_put(params, places)
    flattened()
    for package, name in names():
        transformation = make(package, name)
        alone, trained = run(name, transformation, params), run(name, transformation, spread)
        for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(trained), strict=True):
            np.testing.assert_allclose(values(a), values(b), rtol=2e-4, atol=1e-5, err_msg=name)
        if name in SAME_SHAPE:
            check_places(trained[1], spread, name)
        if name != "scale_by_learning_rate":
            assert trained[0]["w"].sharding.is_equivalent_to(places["w"], 2), name
        print(name, flush=True)


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
            alone, _ = run("adam", opax.adam(0.1), spread)
            trained, optimizer = run("adam", opax.flattened(opax.adam(0.1)), spread)
            for name, place in places.items():
                np.testing.assert_allclose(trained[name], alone[name], rtol=2e-4, atol=1e-5)
                assert trained[name].sharding.is_equivalent_to(place, 2), name
            vectors = opax.flattened(opax.adam(0.1))(spread).mu, optimizer.mu
            for name, vector in [pair for group in vectors for pair in group.items()]:
                parts = {"float32": 1, "float32 over b": 2, "float32 over a": 4}.get(name, 8)
                assert vector.size == parts * vector.addressable_shards[0].data.size, name


def values(leaf):
    is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def run(name, transformation, params):
    optimizer = transformation(params)

    @jax.jit
    def train(params, optimizer):
        def body(carry, _):
            grads, extra = gradients(name, carry[0])
            return opax.apply_gradients(*carry, grads, **extra), None

        return jax.lax.scan(body, (params, optimizer), length=STEPS)[0]

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


if __name__ == "__main__":
    main()
