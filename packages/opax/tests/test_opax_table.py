"""Each transformation of optax and each of its hyperparameters: a new value is used, or refused."""

import functools

import jax
import numpy as np
import pytest
from test_opax_against_optax import two_steps
from transformations import NAMES, make, start

import opax
from opax._hyperparameters import arguments


def numbers(tx):
    """The hyperparameters of a transformation that are numbers, by path."""
    known = {path: x for path, x in arguments(tx) if isinstance(x, float | int | jax.Array)}
    return {path: x for path, x in known.items() if not isinstance(x, bool)}


def other(value):
    return 0.5 * value or 0.01


def together(tx, path):
    """The hyperparameter at a path, and those of the same name in what it wraps, with new values."""
    return {each: other(x) for each, x in numbers(tx).items() if f".{each}".endswith(f".{path}")}


@functools.cache
def verdicts(path):
    """What is said to a new value of each hyperparameter; None where it is taken."""
    tx = make(opax, path)
    optimizer, said = tx(start(path.split(".")[-1], 0)), {}
    for name, value in numbers(tx).items():
        try:
            replaced = optimizer.replace(**together(tx, name))
        except AttributeError as error:
            said[name] = str(error)
        else:
            said[name] = None
            assert float(getattr(replaced, name)) == pytest.approx(other(value)), name
    return said


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("path", NAMES)
def test_a_replaced_hyperparameter_is_that_of_a_new_optimizer_or_refused(path):
    tx, changes = make(opax, path), {}
    for name, said in verdicts(path).items():
        changes |= together(tx, name) if said is None else {}
    if not changes:
        return
    fresh = tx
    for name, value in changes.items():
        fresh = fresh.replaced(name, value)
    optimizer = tx(start(path.split(".")[-1], 0)).replace(**changes)
    actual, after = two_steps(path, Started(optimizer))
    expected, state = two_steps(path, fresh.tx)
    pairs = zip(
        jax.tree.leaves((actual, after.state)), jax.tree.leaves((expected, state)), strict=True
    )
    for a, b in pairs:
        if not jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6)


class Started:
    """A transformation whose first state is there already."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def init(self, params):
        return self.optimizer

    def update(self, grads, state, params, **extra_args):
        return opax.transform_gradients(grads, state, params, **extra_args)


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_the_table_of_all_hyperparameters():
    cells = {(path, name): said for path in NAMES for name, said in verdicts(path).items()}
    for (path, name), said in cells.items():
        print(f"{path:45} {name:35} {said or 'used'}")
    rates = [said for (_, name), said in cells.items() if name.endswith("learning_rate")]
    assert sum(said is None for said in cells.values()) > 0.8 * len(cells)
    assert sum(said is None for said in rates) > 0.9 * len(rates)
    reasons = ("is read when the state is made", "is part of what is compiled", "is an integer")
    assert all(any(reason in said for reason in reasons) for said in cells.values() if said)
