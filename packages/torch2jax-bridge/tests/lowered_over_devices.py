"""Run by `test_lowered_programs.py`: a lowered step over four devices; prints hits of JAX's cache.

python lowered_over_devices.py <folder of the cache>
"""

from __future__ import annotations

import os
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from torch import nn

from torch2jax_bridge import torch2jax


def main(folder: str) -> None:
    """Compare a step over a mesh with one on one device, by batches and by features."""
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    hits = []
    jax.monitoring.register_event_listener(
        lambda event, **_: hits.append(event) if event.endswith("cache_hits") else None
    )
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 2))
    apply, params, _ = torch2jax(net, backend="xla", strict=True)

    @jax.jit
    def step(params, x):
        def loss(params):
            return jnp.mean(apply(params, x)[0] ** 2)

        value, grads = jax.value_and_grad(loss)(params)
        return value, jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)

    x = jnp.linspace(-1, 1, 32).reshape(8, 4)
    expected = step(params, x)
    mesh = jax.make_mesh((2, 2), ("batch", "features"), axis_types=(AxisType.Auto,) * 2)
    specs = {
        "0.weight": P("features", None),
        "0.bias": P("features"),
        "3.weight": P(None, "features"),
    }
    placed = {
        name: jax.device_put(value, NamedSharding(mesh, specs.get(name, P())))
        for name, value in params.items()
    }
    found = step(placed, jax.device_put(x, NamedSharding(mesh, P("batch", None))))
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert len(found[1]["0.weight"].sharding.device_set) == 4
    assert found[1]["0.weight"].addressable_shards[0].data.shape == (4, 4)
    print(len(hits))


if __name__ == "__main__":
    main(sys.argv[1])
