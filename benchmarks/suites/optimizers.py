"""opax beside optax on a raw dict, which computes the same and is the limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

import opax
from benchmarks.case import Case
from benchmarks.suites.modules import ADAM, PaxModel, Tree, raw_model

COSTS = {
    "adam": optax.adam,
    "adamw": optax.adamw,
    "lion": optax.lion,
    "sgd": optax.sgd,
    "adafactor": optax.adafactor,
    "muon": optax.contrib.muon,
}
SMALL_LEAVES = 1000


def cases(device: str) -> Iterator[Case]:
    """The whole call of a compiled step, and what the compiler says that steps cost."""
    with jax.default_device(jax.devices(device)[0]):
        yield adam_step()
        yield flattened_step()
        for name in COSTS:
            yield from compiled_cost(name)


def adam_step() -> Case:
    """A hundred layers."""
    model, raw = PaxModel(), raw_model()
    params = model.parameters()
    return Case(
        suite="optimizers",
        case="adam-step",
        ours=partial(jax.jit(opax_step), model, opax.adam(1e-3)(params), params),
        limit=("optax on a dict", partial(jax.jit(optax_step), raw, ADAM.init(raw), raw)),
        finish=finish,
        agree=same_leaves,
    )


def flattened_step() -> Case:
    """Many small leaves, with the state in one vector."""
    params = {f"leaf_{i}": jnp.full(4, i / SMALL_LEAVES) for i in range(SMALL_LEAVES)}
    flat = opax.flattened(opax.adam(1e-3))(params)
    return Case(
        suite="optimizers",
        case="adam-step-flattened",
        ours=partial(jax.jit(opax_step), params, flat, params),
        limit=("optax on a dict", partial(jax.jit(optax_step), params, ADAM.init(params), params)),
        peers={
            "opax, not flattened": partial(
                jax.jit(opax_step), params, opax.adam(1e-3)(params), params
            )
        },
        finish=finish,
        agree=same_leaves,
    )


def compiled_cost(name: str) -> Iterator[Case]:
    """The operations and bytes of a step, for learning rates that are arguments."""
    ours, theirs = compiled_steps(name)
    for metric in ("flops", "bytes accessed"):
        yield Case(
            suite="optimizers",
            case=f"cost-{name}",
            metric=metric,
            unit="",
            self_measured=True,
            ours=partial(cost, ours, metric),
            limit=("optax on a dict", partial(cost, theirs, metric)),
        )


def compiled_steps(name: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """How to compile a step of opax, and the same step of optax."""
    make = COSTS[name]
    module = opax if hasattr(opax, name) else opax.contrib
    params = {f"layer_{i}": {"w": jnp.eye(16), "b": jnp.ones(16)} for i in range(4)}
    optimizer = getattr(module, name)(1e-3)(params)

    def theirs(params: Tree, state: Tree, grads: Tree, hyperparams: dict[str, Any]) -> Tree:
        updates, state = make(**hyperparams).update(grads, state, params)
        return optax.apply_updates(params, updates), state, hyperparams

    hyperparams = {name: jnp.asarray(float(x)) for name, x in optimizer.hyperparams.items()}
    state = make(1e-3).init(params)
    return (
        jax.jit(opax_step).lower(params, optimizer, params).compile,
        jax.jit(theirs).lower(params, state, params, hyperparams).compile,
    )


def cost(compile_step: Callable[[], Any], metric: str) -> float:
    """What XLA says that a compiled step costs."""
    return compile_step().cost_analysis()[metric]


def finish(result: Tree) -> None:
    jax.tree.leaves(result)[0].block_until_ready()


def opax_step(model: Tree, optimizer: Tree, grads: Tree) -> tuple[Tree, Tree]:
    return opax.apply_gradients(model, optimizer, grads)


def optax_step(params: Tree, state: Tree, grads: Tree) -> tuple[Tree, Tree]:
    updates, state = ADAM.update(grads, state)
    return optax.apply_updates(params, updates), state


def same_leaves(ours: tuple[Tree, Tree], theirs: tuple[Tree, Tree]) -> bool:
    """The updated weights and biases are the same."""
    pairs = zip(*map(sorted_sums, (ours[0], theirs[0])), strict=True)
    return all(jnp.allclose(a, b) for a, b in pairs)


def sorted_sums(model: Tree) -> list[float]:
    return sorted(float(leaf.sum()) for leaf in jax.tree.leaves(model))
