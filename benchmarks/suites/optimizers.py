"""opax beside optax on a raw dict, which computes the same and is the limit."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import optax

import opax
from benchmarks.case import Case
from benchmarks.suites.modules import ADAM, PaxModel, Tree, raw_model


def cases(device: str) -> Iterator[Case]:
    """The whole call of a jitted adam step on a hundred layers."""
    with jax.default_device(jax.devices(device)[0]):
        model, raw = PaxModel(), raw_model()
        params = model.parameters()
        yield Case(
            suite="optimizers",
            case="adam-step",
            ours=partial(jax.jit(opax_step), model, opax.adam(1e-3)(params), params),
            limit=("optax on a dict", partial(jax.jit(optax_step), raw, ADAM.init(raw), raw)),
            finish=lambda result: jax.tree.leaves(result)[0].block_until_ready(),
            agree=same_leaves,
        )


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
