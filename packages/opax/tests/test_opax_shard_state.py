"""What `shard_state` refuses; that results are the same is tested on 8 devices."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

import opax

PARAMS = {"w": jnp.ones(8), "b": jnp.ones(())}
MESH = jax.make_mesh((1,), ("data",))


def test_what_is_no_placement_is_refused():
    optimizer = opax.adam(0.1)(PARAMS)
    with pytest.raises(TypeError, match=r"expects a mesh axis .* got 3 of type int"):
        opax.shard_state(optimizer, MESH, 3)
    with pytest.raises(ValueError, match="model"):
        opax.shard_state(optimizer, MESH, "model")
    with pytest.raises(ValueError, match=r"The rule 'm\.w' matches none of the 5 leaves"):
        opax.shard_state(optimizer, MESH, [("m.w", P("data"))])
    with pytest.raises(
        TypeError, match=r"expects parameters on the devices of the mesh, .* at \['b'\]"
    ):
        opax.shard_state(optimizer, MESH, "data", PARAMS)
    with pytest.raises(TypeError, match="expects an optimizer"):
        opax.shard_state(optimizer.state, MESH, "data")


def test_a_placement_stays_with_what_is_made_of_an_optimizer():
    whole = jax.sharding.NamedSharding(MESH, P())
    params = jax.device_put(PARAMS, whole)
    rules = [("mu.w", P("data")), ("nothing", P())]
    optimizer = opax.adam(0.1)(params)
    spread = opax.shard_state(optimizer, MESH, rules, params, allow_unmatched=True)
    assert jax.tree.structure(spread) != jax.tree.structure(optimizer)
    loaded = spread.load_state_dict(optimizer.state_dict()), spread.replace(state=optimizer.state)
    assert all(each.mu["w"].sharding.spec == P("data") for each in loaded)
    for made in (*loaded, spread.replace(learning_rate=0.2, b1=0.5), opax.check(spread, params)):
        _, after = opax.apply_gradients(params, made, params)
        assert after.mu["w"].sharding.spec == P("data")
        assert after.made_for.placement == spread.made_for.placement
