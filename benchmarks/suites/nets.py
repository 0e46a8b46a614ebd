"""Whole training steps of a ResNet-18 and a Transformer beside the same networks of flax and haiku.

The steps are compiled before they are measured, so that what is compared is the work that XLA is given:
its time, and the floating-point operations that it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
from flax import linen

import pax_jax as pax
from benchmarks.case import Case, Program

IMAGES, CLASSES = (8, 32, 32, 3), 10
SEQUENCES, HEADS, LAYERS = (4, 64, 128), 4, 4
Tree = Any
Loss = Callable[[Tree, Tree, jax.Array], tuple[jax.Array, Tree]]


def cases(device: str) -> Iterator[Case]:
    """Time and operations of each network's step."""
    with jax.default_device(jax.devices(device)[0]):
        yield from compared("resnet18-step", resnet18_programs())
        yield from compared("transformer-step", transformer_programs())


def compared(name: str, programs: dict[str, jax.stages.Compiled | Any]) -> Iterator[Case]:
    """A case for the time of a step, and one for the operations that XLA counts in it."""
    ours, *peers = programs
    run = {who: partial(step, *arguments) for who, (step, arguments) in programs.items()}
    count = {who: partial(operations, step) for who, (step, _) in programs.items()}
    yield Case(
        suite="nets",
        case=name,
        ours=run[ours],
        peers={peer: run[peer] for peer in peers},
        finish=lambda result: result[0].block_until_ready(),
    )
    yield Case(
        suite="nets",
        case=name,
        metric="operations",
        unit="Mflop",
        self_measured=True,
        ours=count[ours],
        peers={peer: count[peer] for peer in peers},
    )


def operations(step: jax.stages.Compiled) -> float:
    """The millions of floating-point operations that XLA counts in a step."""
    analysis = step.cost_analysis()
    if not analysis or "flops" not in analysis:
        raise RuntimeError("XLA counts no operations on this platform")
    return analysis["flops"] / 1e6


def compiled(loss: Loss, params: Tree, state: Tree, x: jax.Array) -> tuple[Program, tuple]:
    """A step of gradient descent, and its arguments."""

    def step(params: Tree, state: Tree, x: jax.Array) -> tuple[jax.Array, Tree, Tree]:
        (value, state), grads = jax.value_and_grad(loss, has_aux=True)(params, state, x)
        return value, jax.tree.map(lambda p, g: p - 1e-3 * g, params, grads), state

    return jax.jit(step).lower(params, state, x).compile(), (params, state, x)


def classified(logits: jax.Array) -> jax.Array:
    """The loss of logits when every image is of class 0."""
    return -jnp.mean(jax.nn.log_softmax(logits)[:, 0])


def resnet18_programs() -> dict[str, tuple[Program, tuple]]:
    x = jax.random.normal(jax.random.key(0), IMAGES)
    net = pax.nets.ResNet18(3, CLASSES, data_format="NHWC", padding="SAME")
    peer = hk.without_apply_rng(
        hk.transform_with_state(lambda x: hk.nets.ResNet18(CLASSES)(x, True))
    )
    flax = FlaxResNet18()
    variables = flax.init(jax.random.key(0), x)

    def ours(params: Tree, state: Tree, x: jax.Array) -> tuple[jax.Array, Tree]:
        net = params | state
        return classified(net(x)), net.filter("state")

    def haiku(params: Tree, state: Tree, x: jax.Array) -> tuple[jax.Array, Tree]:
        logits, state = peer.apply(params, state, x)
        return classified(logits), state

    def linen_loss(params: Tree, state: Tree, x: jax.Array) -> tuple[jax.Array, Tree]:
        given = {"params": params, "batch_stats": state}
        logits, changed = flax.apply(given, x, mutable=["batch_stats"])
        return classified(logits), changed["batch_stats"]

    return {
        "ours": compiled(ours, net.parameters(), net.filter("state"), x),
        "haiku": compiled(haiku, *peer.init(jax.random.key(0), x), x),
        "flax": compiled(linen_loss, variables["params"], variables["batch_stats"], x),
    }


class FlaxBlock(linen.Module):
    """A block of the ResNet-18, in flax."""

    channels: int
    stride: int
    projected: bool

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        norm = partial(linen.BatchNorm, use_running_average=False, momentum=0.9)
        conv = partial(linen.Conv, self.channels, use_bias=False)
        y = linen.relu(norm()(conv((3, 3), self.stride)(x)))
        y = norm()(conv((3, 3))(y))
        if self.projected:
            x = norm()(conv((1, 1), self.stride)(x))
        return linen.relu(x + y)


class FlaxResNet18(linen.Module):
    """The ResNet-18, in flax."""

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = linen.Conv(64, (7, 7), 2, use_bias=False)(x)
        x = linen.relu(linen.BatchNorm(use_running_average=False, momentum=0.9)(x))
        x = linen.max_pool(x, (3, 3), (2, 2), "SAME")
        for i in range(4):
            x = FlaxBlock(64 * 2**i, 1 if i == 0 else 2, i > 0)(x)
            x = FlaxBlock(64 * 2**i, 1, False)(x)
        return linen.Dense(CLASSES)(jnp.mean(x, (1, 2)))


def transformer_programs() -> dict[str, tuple[Program, tuple]]:
    x = jax.random.normal(jax.random.key(0), SEQUENCES)
    net = pax.nets.Transformer(SEQUENCES[-1], HEADS, LAYERS)
    peer = hk.without_apply_rng(hk.transform(haiku_transformer))
    flax = FlaxTransformer()
    none: Tree = ()

    def stateless(apply: Callable[[Tree, jax.Array], jax.Array]) -> Loss:
        return lambda params, state, x: (jnp.mean(jnp.square(apply(params, x) - 1.0)), state)

    return {
        "ours": compiled(
            stateless(lambda params, x: net.update(params)(x)), net.parameters(), none, x
        ),
        "haiku": compiled(stateless(peer.apply), peer.init(jax.random.key(0), x), none, x),
        "flax": compiled(stateless(flax.apply), flax.init(jax.random.key(0), x), none, x),
    }


def haiku_transformer(x: jax.Array) -> jax.Array:
    dim = x.shape[-1]
    init = hk.initializers.VarianceScaling(2.0 / LAYERS)
    mask = jnp.tril(jnp.ones((1, 1, x.shape[1], x.shape[1]), bool))

    def norm(x: jax.Array) -> jax.Array:
        return hk.LayerNorm(-1, True, True)(x)

    for _ in range(LAYERS):
        attention = hk.MultiHeadAttention(HEADS, dim // HEADS, w_init=init)
        y = norm(x)
        x = x + attention(y, y, y, mask)
        x = x + hk.Linear(dim)(jax.nn.gelu(hk.Linear(4 * dim)(norm(x))))
    return norm(x)


class FlaxTransformer(linen.Module):
    """The Transformer, in flax."""

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        dim = x.shape[-1]
        mask = linen.make_causal_mask(x[..., 0])
        norm = partial(linen.LayerNorm, epsilon=1e-5)
        for _ in range(LAYERS):
            x = x + linen.MultiHeadAttention(HEADS)(norm()(x), mask=mask)
            x = x + linen.Dense(dim)(linen.gelu(linen.Dense(4 * dim)(norm()(x))))
        return norm()(x)
