"""Each argument of optax that is a mask, as a tree, a pattern and a predicate."""

import functools
import inspect

import jax
import jax.numpy as jnp
import optax
import pytest
from test_opax_against_optax import assert_same_bits, different, two_steps
from transformations import MASK, NAMES, make

import opax
import pax_jax


def masks(path):
    """The arguments of a function of optax that are masks; a flag is none."""
    function = functools.reduce(getattr, path.split(".")[1:], optax)
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.name.endswith("mask") and p.annotation is not bool]


EVERY = [(path, name) for path in NAMES for name in masks(path)]
DECAY = {"weight_decay", "weight_decay_rate", "adam_weight_decay"}


def made(package, path, name, mask):
    """Make a transformation in which a mask has an effect."""
    call = make(opax, path)
    decays = DECAY & inspect.signature(call.function).parameters.keys()
    call = call.with_arguments(**dict.fromkeys(decays, 0.5), **{name: mask})
    if package is opax:
        return call
    arguments = {key: getattr(x, "tx", x) for key, x in call.arguments.items()}
    return call.function(**arguments)


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.parametrize(("path", "name"), EVERY)
def test_a_mask_by_tree_pattern_or_predicate_is_that_of_optax(path, name):
    assert MASK == {"a": True, "b": {"c": False}}
    expected, _ = two_steps(path, made(optax, path, name, MASK))
    everywhere, _ = two_steps(path, made(optax, path, name, jax.tree.map(lambda _: True, MASK)))
    assert different(expected, everywhere)
    for mask in (
        MASK,
        "a",
        ["a"],
        lambda path, leaf: path == "a",
        lambda path, leaf: leaf.ndim < 2,
    ):
        tx = made(opax, path, name, mask)
        updates, optimizer = two_steps(path, tx)
        assert_same_bits(updates, expected)
        assert jax.tree.structure(tx.init(updates[0])) == jax.tree.structure(optimizer)
    with pytest.raises(ValueError, match=r"The pattern '\*\.c\.d' matches none of the 2 leaves"):
        made(opax, path, name, "*.c.d")(updates[0])


def test_a_mask_of_what_is_injected():
    tx = opax.inject_hyperparams(opax.adamw)(0.1, weight_decay=0.5, mask="a")
    theirs = optax.inject_hyperparams(optax.adamw)(0.1, weight_decay=0.5, mask=MASK)
    assert_same_bits(two_steps("adamw", tx)[0], two_steps("adamw", theirs)[0])
    net = pax_jax.Linear(2, 2)  # which can be called, as a schedule can
    optimizer = opax.inject_hyperparams(opax.adamw)(0.1, mask="*.weight")(net)
    zeros = jax.tree.map(jnp.zeros_like, net.parameters())
    updates, _ = opax.transform_gradients(zeros, optimizer, net)
    assert (updates.weight != 0).any()
    assert not updates.bias.any()


def test_every_mask_is_tested():
    assert len(EVERY) >= 23
