"""pax_jax modules beside nested dicts (the limit), equinox and flax nnx.

The model is a hundred layers with a weight and a bias of 4x4; with adam's state it has 601 leaves.
The compiled programs are the same, so what differs in a step is how arguments and results get
through `jax.jit`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from flax import nnx

import pax_jax
from benchmarks.case import Case, Program

LAYERS = 100
SCALE = (10, 30, 100, 300, 1000)
ADAM = optax.adam(1e-3)
Tree = Any


class PaxLayer(pax_jax.Module):
    def __init__(self):
        super().__init__()
        self.register_parameter("weight", jnp.eye(4))
        self.register_parameter("bias", jnp.zeros((4, 4)))


class PaxModel(pax_jax.Module):
    def __init__(self, layers=LAYERS):
        super().__init__()
        for i in range(layers):
            setattr(self, f"layer_{i}", PaxLayer())


class EquinoxLayer(eqx.Module):
    weight: jax.Array
    bias: jax.Array


class EquinoxModel(eqx.Module):
    layers: list[EquinoxLayer]


class NnxLayer(nnx.Module):
    def __init__(self):
        self.weight = nnx.Param(jnp.eye(4))
        self.bias = nnx.Param(jnp.zeros((4, 4)))


class NnxModel(nnx.Module):
    def __init__(self, layers=LAYERS):
        for i in range(layers):
            setattr(self, f"layer_{i}", NnxLayer())


def raw_model(layers: int = LAYERS) -> dict[str, dict[str, jax.Array]]:
    return {f"layer_{i}": {"weight": jnp.eye(4), "bias": jnp.zeros((4, 4))} for i in range(layers)}


def equinox_model(layers: int = LAYERS) -> EquinoxModel:
    return EquinoxModel([EquinoxLayer(jnp.eye(4), jnp.zeros((4, 4))) for _ in range(layers)])


def loss_of(layers: list[tuple[jax.Array, jax.Array]], x: jax.Array) -> jax.Array:
    """The loss of all models; a layer is its weight and its bias."""
    for weight, bias in layers:
        x = jnp.tanh(x @ weight + bias)
    return jnp.mean(x**2)


def raw_loss(model: Tree, x: jax.Array) -> jax.Array:
    layers = [model[f"layer_{i}"] for i in range(LAYERS)]
    return loss_of([(layer["weight"], layer["bias"]) for layer in layers], x)


def named_loss(model: Tree, x: jax.Array) -> jax.Array:
    """The loss of a model whose layers are attributes."""
    layers = [getattr(model, f"layer_{i}") for i in range(LAYERS)]
    return loss_of([(layer.weight[...], layer.bias[...]) for layer in layers], x)


def equinox_loss(model: EquinoxModel, x: jax.Array) -> jax.Array:
    return loss_of([(layer.weight, layer.bias) for layer in model.layers], x)


def cases(device: str) -> Iterator[Case]:
    """The tree functions on model and optimizer state, then whole calls of a jitted step."""
    with jax.default_device(jax.devices(device)[0]):
        yield compared("flatten", lambda build: partial(jax.tree.flatten, build()))
        yield compared("unflatten", unflatten)
        yield compared("treedef-equality", equality)
        yield compared("unused-arguments", unused)
        yield step_case()
        yield donated_case()
        yield from flattener_cases()
        yield Case(
            suite="modules",
            case="eval",
            ours=PaxModel().eval,
            limit=("one flatten", partial(jax.tree.flatten, PaxModel())),
        )
        yield construction_case()
        for layers in SCALE:
            yield from scale_cases(layers)


def pax_state() -> Tree:
    model = PaxModel()
    return model, ADAM.init(model.parameters())


def raw_state() -> Tree:
    model = raw_model()
    return model, ADAM.init(model)


def equinox_state() -> Tree:
    model = equinox_model()
    return model, ADAM.init(model)


def compared(name: str, program: Callable[[Callable[[], Tree]], Program]) -> Case:
    """A case of what works on any pytree."""
    return Case(
        suite="modules",
        case=name,
        ours=program(pax_state),
        peers={"equinox": program(equinox_state)},
        limit=("nested dict", program(raw_state)),
    )


def unflatten(build: Callable[[], Tree]) -> Program:
    leaves, treedef = jax.tree.flatten(build())
    return partial(jax.tree.unflatten, treedef, leaves)


def equality(build: Callable[[], Tree]) -> Program:
    """Two equal structures that were made apart, as `jax.jit` meets them."""
    return partial(operator.eq, jax.tree.structure(build()), jax.tree.structure(build()))


def unused(build: Callable[[], Tree]) -> Program:
    """A jitted function that drops its arguments: they are flattened, and that is all."""
    return partial(jax.jit(lambda tree: jnp.zeros(())), build())


def step_case() -> Case:
    x = jnp.ones((4, 4))
    return Case(
        suite="modules",
        case="step",
        ours=partial(pax_jax.jit(pax_step), *pax_state(), x),
        peers={
            "eqx.filter_jit": partial(eqx.filter_jit(equinox_step), *equinox_state(), x),
            "nnx.jit": partial(nnx.jit(nnx_step), *nnx_state(), x),
            "nnx.split": split_nnx(x),
            "nested dict": partial(jax.jit(raw_step), *raw_state(), x),
        },
        limit=("list of leaves", listed(x)),
        finish=lambda result: result[0].block_until_ready(),
        agree=lambda ours, theirs: bool(jnp.allclose(ours[0], theirs[0])),
    )


def listed(x: jax.Array, **options: Any) -> Program:
    """The same step over a list of leaves: what XLA itself costs with this many arrays."""
    leaves, treedef = jax.tree.flatten(raw_state())

    def step(leaves: list[jax.Array], x: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        loss, model, state = raw_step(*jax.tree.unflatten(treedef, leaves), x)
        return loss, jax.tree.leaves((model, state))

    step = jax.jit(step, **options)
    return threaded(step, (leaves,), x) if options else partial(step, leaves, x)


def threaded(step: Callable[..., Any], state: Tree, x: jax.Array) -> Program:
    """A step that uses its arguments up, and is given what it returned."""
    holder = [jax.tree.map(jnp.copy, tuple(state))]

    def program() -> tuple[jax.Array]:
        loss, *holder[0] = step(*holder[0], x)
        return (loss,)

    return program


def donated_case() -> Case:
    """The step as it is used in training: everybody gives the old state's memory to the new one."""
    x = jnp.ones((4, 4))
    both = {"donate_argnums": (0, 1)}
    eqx_donating = eqx.filter_jit(
        lambda x, model, state: equinox_step(model, state, x), donate="all-except-first"
    )
    return Case(
        suite="modules",
        case="step-donated",
        ours=threaded(pax_jax.jit(pax_step, **both), pax_state(), x),
        peers={
            "eqx.filter_jit": threaded(
                lambda model, state, x: eqx_donating(x, model, state), equinox_state(), x
            ),
            "nnx.jit": partial(nnx.jit(nnx_step, **both), *nnx_state(), x),
            "nnx.split": split_nnx(x, donate_argnums=0),
            "nested dict": threaded(jax.jit(raw_step, **both), raw_state(), x),
        },
        limit=("list of leaves", listed(x, donate_argnums=0)),
        finish=lambda result: result[0].block_until_ready(),
    )


def flattener_cases() -> Iterator[Case]:
    """Modules as a list of leaves, as arguments and through a whole step."""
    x = jnp.ones((4, 4))
    model, state = pax_state()
    flat = pax_jax.experimental.Flattener(model=model, state=state)
    leaves = jax.tree.leaves((model, state))
    empty = jax.jit(lambda tree: jnp.zeros(()))
    yield Case(
        suite="modules",
        case="flattener-unused-arguments",
        ours=partial(empty, flat),
        limit=("list of leaves", partial(empty, leaves)),
    )

    @jax.jit
    def step(flat: Tree, x: jax.Array) -> tuple[jax.Array, Tree]:
        loss, model, state = pax_step(flat.model, flat.state, x)
        return loss, flat.update(model=model, state=state)

    yield Case(
        suite="modules",
        case="flattener-step",
        ours=partial(step, flat, x),
        limit=("list of leaves", listed(x)),
        finish=lambda result: result[0].block_until_ready(),
        agree=lambda ours, theirs: bool(jnp.allclose(ours[0], theirs[0])),
    )
    packed = pax_jax.experimental.Flattener.packed(model=model, state=state)
    yield Case(
        suite="modules",
        case="packed-step",
        ours=partial(step, packed, x),
        peers={"nnx.jit": partial(nnx.jit(nnx_step), *nnx_state(), x), "nnx.split": split_nnx(x)},
        limit=("nested dict", partial(jax.jit(raw_step), *raw_state(), x)),
        finish=lambda result: result[0].block_until_ready(),
        agree=lambda ours, theirs: bool(jnp.allclose(ours[0], theirs[0])),
    )


def scale_cases(layers: int) -> Iterator[Case]:
    """Flattening a model, and a jitted call that only takes it, by the number of its layers."""
    models = {"equinox": equinox_model(layers), "nested dict": raw_model(layers)}
    model, stateful = PaxModel(layers), NnxModel(layers)
    yield Case(
        suite="modules",
        case=f"scale_flatten-{layers}",
        ours=partial(jax.tree.flatten, model),
        peers={name: partial(jax.tree.flatten, peer) for name, peer in models.items()}
        | {"nnx.split": partial(nnx.split, stateful)},
    )
    call = jax.jit(lambda tree: jnp.zeros(()))
    yield Case(
        suite="modules",
        case=f"scale_jitted_call-{layers}",
        ours=partial(call, model),
        peers={name: partial(call, peer) for name, peer in models.items()}
        | {"nnx.jit": partial(nnx.jit(lambda tree: jnp.zeros(())), stateful)},
    )


def construction_case() -> Case:
    """A model of a thousand layers from arrays that are there already."""
    arrays = [(jnp.eye(4), jnp.zeros((4, 4))) for _ in range(1000)]

    class Layer(pax_jax.Module):
        parameters = pax_jax.parameters_method("weight", "bias")

        def __init__(self, weight, bias):
            super().__init__()
            self.weight = weight
            self.bias = bias

    class Model(pax_jax.Module):
        def __init__(self):
            super().__init__()
            self.layers = [Layer(weight, bias) for weight, bias in arrays]

    def theirs() -> EquinoxModel:
        return EquinoxModel([EquinoxLayer(weight, bias) for weight, bias in arrays])

    return Case(suite="modules", case="construct-1000", ours=Model, peers={"equinox": theirs})


def pax_step(model: PaxModel, state: Tree, x: jax.Array) -> tuple[jax.Array, PaxModel, Tree]:
    params = model.parameters()
    loss, grads = jax.value_and_grad(lambda params: named_loss(model.update(params), x))(params)
    updates, state = ADAM.update(grads, state)
    return loss, model.update(optax.apply_updates(params, updates)), state


def raw_step(model: Tree, state: Tree, x: jax.Array) -> tuple[jax.Array, Tree, Tree]:
    loss, grads = jax.value_and_grad(raw_loss)(model, x)
    updates, state = ADAM.update(grads, state)
    return loss, optax.apply_updates(model, updates), state


def equinox_step(
    model: EquinoxModel, state: Tree, x: jax.Array
) -> tuple[jax.Array, EquinoxModel, Tree]:
    loss, grads = eqx.filter_value_and_grad(equinox_loss)(model, x)
    updates, state = ADAM.update(grads, state)
    return loss, eqx.apply_updates(model, updates), state


def nnx_state() -> tuple[NnxModel, nnx.Optimizer]:
    model = NnxModel()
    return model, nnx.Optimizer(model, ADAM, wrt=nnx.Param)


def nnx_step(model: NnxModel, optimizer: nnx.Optimizer, x: jax.Array) -> tuple[jax.Array]:
    loss, grads = nnx.value_and_grad(named_loss)(model, x)
    optimizer.update(model, grads)
    return (loss,)


def split_nnx(x: jax.Array, **options: Any) -> Program:
    """What flax recommends for speed: split once outside the loop, merge inside the jitted step."""
    graph, state = nnx.split(nnx_state())

    def step(state: Tree, x: jax.Array) -> tuple[jax.Array, Tree]:
        model, optimizer = nnx.merge(graph, state)
        (loss,) = nnx_step(model, optimizer, x)
        return loss, nnx.state((model, optimizer))

    step = jax.jit(step, **options)
    return threaded(step, (state,), x) if options else partial(step, state, x)
