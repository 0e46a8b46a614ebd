"""What type checkers know of optimizers of opax: the command `types:check` reads it."""

from __future__ import annotations

from typing import Any, assert_type

import jax
import jax.numpy as jnp

import opax
import pax_jax as pax
from opax._inspect import Part
from opax._plot import PNG
from opax.schedule import Schedule


def step(
    net: pax.Linear, optimizer: opax.Optimizer
) -> tuple[jax.Array, pax.Linear, opax.Optimizer]:
    grads: Any = jax.tree.map(jnp.ones_like, net.parameters())
    assert_type(opax.apply_gradients(net, optimizer, grads), tuple[pax.Linear, opax.Optimizer])
    net, optimizer = opax.apply_gradients(net, optimizer, grads)
    return jnp.ones(()), net, optimizer


def test_types_are_known() -> None:
    net: pax.Linear = pax.Linear(2, 2)
    transformation = opax.chain(opax.clip_by_global_norm(1.0), opax.adam(1e-3))
    assert_type(transformation, opax.Transformation)
    optimizer = transformation(net.parameters())
    assert_type(optimizer, opax.Optimizer)
    assert_type(optimizer.learning_rate, jax.Array)
    assert_type(optimizer.count, jax.Array)
    assert_type(optimizer.replace(learning_rate=1e-4), opax.Optimizer)
    assert_type(optimizer[1], opax.Optimizer | Part)
    assert_type(optimizer[1].learning_rate, jax.Array)
    assert_type(optimizer[:1], opax.Optimizer | list[opax.Optimizer | Part])
    assert_type(optimizer.summary(), str)
    assert_type(optimizer.summary(net), str)
    assert_type(optimizer.step(net.parameters(), net), pax.Linear)
    assert_type(opax.check(optimizer, net), opax.Optimizer)
    mesh = jax.make_mesh((1,), ("data",))
    assert_type(opax.shard_state(optimizer, mesh, "data"), opax.Optimizer)
    schedule = opax.schedule.linear_schedule(1.0, 0.0, 10)
    assert_type(schedule, Schedule)
    assert_type(schedule(0), jax.Array)
    assert_type(schedule.plot(2), PNG)
    found = opax.learning_rate_range_test(step, net, optimizer, [1e-3, 1e-2])
    assert_type(found.plot(), PNG)
