"""Every optimizer and transformation of optax, 20 steps, equal to the last bit."""

import contextlib
import inspect
import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from transformations import LINE_SEARCHES, LOOPS, NAMES, gradients, make, start

import opax
import pax_tree

STEPS = 20


def saved_and_loaded(optimizer, fresh):
    """Put the arrays of an optimizer, as they come from a file, into a fresh one."""
    if "monitor" in repr(fresh):  # whose state has another structure after its first step
        fresh = optimizer
    leaves, structure = jax.tree.flatten(fresh)
    saved = [bits(leaf) for leaf in jax.tree.leaves(optimizer)]
    keys = [jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves]
    loaded = [
        jax.random.wrap_key_data(x) if is_key else jnp.asarray(x)
        for x, is_key in zip(saved, keys, strict=True)
    ]
    return jax.tree.unflatten(structure, loaded)


def train(init, one_step, name, resume=lambda state, fresh: state):
    """Take the steps; compiled where optax has loops, which each step would compile again."""
    step = jax.jit(one_step) if name in LINE_SEARCHES | LOOPS else one_step
    results = []
    for problem in range(2):
        params = start(name, problem)
        state = init(params)
        for _ in range(STEPS // 2):
            params, state = step(params, state, problem)
        state = resume(state, init(start(name, problem)))
        for _ in range(STEPS // 2):
            params, state = step(params, state, problem)
        results.append((params, state))
    return results


def train_with_optax(path):
    name = path.split(".")[-1]
    tx = make(optax, path)

    def step(params, state, problem):
        grads, extra_args = gradients(params, name, problem)
        updates, state = tx.update(grads, state, params, **extra_args)
        return optax.apply_updates(params, updates), state

    return train(tx.init, step, name)


def train_with_opax(path):
    name = path.split(".")[-1]

    def step(params, optimizer, problem):
        grads, extra_args = gradients(params, name, problem)
        return opax.apply_gradients(params, optimizer, grads, **extra_args)

    return train(make(opax, path), step, name, saved_and_loaded)


def bits(leaf):
    is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def assert_same_bits(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        assert bits(a).tobytes() == bits(b).tobytes()


@contextlib.contextmanager
def usual_promotion():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("path", NAMES)
def test_20_steps_are_those_of_optax_to_the_last_bit(path):
    """On two problems; ours are saved after ten steps, and go on from what is loaded."""
    with usual_promotion():
        expected = train_with_optax(path)
    for (params, optimizer), (wanted, state) in zip(train_with_opax(path), expected, strict=True):
        assert_same_bits(params, wanted)
        remembers = path == "optax.clip_by_global_norm"  # the norm, which optax forgets
        assert_same_bits(() if remembers else optimizer.state, () if remembers else state)


# What the first two steps do not depend on: a bound that is not reached, a weight of the average of
# one step, a rate that is divided out.
WITHOUT_EFFECT = {"cocob", "mechanize", "momo", "schedule_free"}


def two_steps(path, tx):
    """The updates of two steps, and the state after them."""
    name = path.split(".")[-1]

    def step(params, state):
        grads, extra_args = gradients(params, name, 0)
        return tx.update(grads, state, params, **extra_args)

    with usual_promotion():
        step = jax.jit(step) if name in LINE_SEARCHES | LOOPS else step
        params = start(name, 0)
        first, state = step(params, tx.init(params))
        second, state = step(params, state)
    return (first, second), state


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("path", NAMES)
def test_a_transformation_is_data_and_a_transformation_of_optax(path):
    tx, again = make(opax, path), make(opax, path)
    assert (tx, hash(tx)) == (again, hash(again))
    assert pickle.loads(pickle.dumps(tx)) == tx
    for library in (jax, pax_tree):
        leaves, structure = library.tree.flatten(tx)
        assert library.tree.unflatten(structure, leaves) == tx
        assert (structure, hash(structure)) == (
            library.tree.structure(again),
            hash(library.tree.structure(again)),
        )
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    theirs = make(optax, path)
    updates, optimizer = two_steps(path, tx)
    expected, state = two_steps(path, theirs)
    assert_same_bits(updates, expected)
    if path != "optax.clip_by_global_norm":
        assert_same_bits(optimizer.state, state)
    init, update = tx
    for other in (optax.chain(tx), optax.GradientTransformationExtraArgs(init, update)):
        assert_same_bits(two_steps(path, other)[0], expected)
    for i, name in enumerate(tx.template.names):
        changed = [0.5 * leaf if i == j else leaf for j, leaf in enumerate(leaves)]
        changed = jax.tree.unflatten(structure, changed)
        assert f"{0.5 * leaves[i]:g}" in repr(changed)
        updates, _ = two_steps(path, changed)
        assert different(updates, expected) or path.split(".")[-1] in WITHOUT_EFFECT


def different(trees, others):
    leaves = zip(jax.tree.leaves(trees), jax.tree.leaves(others), strict=True)
    return any(bits(a).tobytes() != bits(b).tobytes() for a, b in leaves)


# Ours remembers the norm; optax's monitor has another structure after its first step, which scan refuses.
OTHER_PROGRAMS = {"optax.clip_by_global_norm", "optax.monitor"}


def program(step, *args):
    """A population of two that is trained for three steps, as JAX's intermediate language."""

    def train_one(params, state, hyperparams, problem):
        def body(carry, _):
            return step(*carry, hyperparams, problem), None

        return jax.lax.scan(body, (params, state), length=3)[0]

    train = jax.vmap(train_one, in_axes=(0, 0, None, 0))
    return re.sub(" at 0x[0-9a-f]+", "", str(jax.make_jaxpr(train)(*args)))


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("path", [path for path in NAMES if path not in OTHER_PROGRAMS])
def test_the_program_under_vmap_and_scan_is_that_of_optax(path):
    """The same operations in the same order, for hyperparameters that are arrays."""
    name = path.split(".")[-1]
    optimizer = make(opax, path)(start(name, 0))

    def ours(params, state, hyperparams, problem):
        current = optimizer._of(optimizer.template, hyperparams, optimizer.structure, state)
        grads, extra_args = gradients(params, name, problem)
        params, current = opax.apply_gradients(params, current, grads, **extra_args)
        return params, current.state

    def theirs(params, state, hyperparams, problem):
        grads, extra_args = gradients(params, name, problem)
        tx = optimizer.replace(hyperparams=hyperparams)._traced()
        with usual_promotion():
            updates, state = tx.update(grads, state, params, **extra_args)
            return optax.apply_updates(params, updates), state

    population = jax.tree.map(lambda x: jnp.stack([x, x]), (start(name, 0), optimizer.state))
    args = (*population, optimizer.hyperparams, jnp.arange(2))
    assert program(ours, *args) == program(theirs, *args)


@pytest.mark.parametrize("name", ["adamw", "chain", "masked", "inject_hyperparams", "MultiSteps"])
def test_signature_and_docstring_are_those_of_optax(name):
    ours, theirs = getattr(opax, name), getattr(optax, name)
    assert ours.__doc__ == theirs.__doc__
    assert ours.__name__ == name
    assert inspect.signature(ours).parameters == inspect.signature(theirs).parameters
