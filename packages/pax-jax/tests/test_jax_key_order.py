"""Dicts in arguments and in modules are paired by key, whether their keys compare or not."""

import enum
import itertools
import math

import jax
import jax.numpy as jnp
import pytest

import pax_jax as pax
import pax_tree


class Part(enum.Enum):
    ENCODER = 1
    DECODER = 2
    HEAD = 3


KEYS = {
    "members": [*Part],
    "int and str": [1, "x", 2],
    "sets": [frozenset({1}), frozenset({2}), frozenset({1, 2})],
    "not a number": [math.nan, 1.0, -math.inf],
}


class Parts(pax.Module):
    """Holds an array for each key."""

    def __init__(self, keys, all_keys, scale):
        self.register_parameter_subtree("arrays", tree(keys, all_keys, scale))


def tree(keys, all_keys, scale):
    return {key: jnp.array(scale * (all_keys.index(key) + 1.0)) for key in keys}


def orders(kind):
    return itertools.permutations(KEYS[kind])


@pytest.mark.parametrize("kind", KEYS)
def test_jit_pairs_arguments_and_runs_one_program(kind):
    runs = []

    @pax.jit
    def f(a, b):
        runs.append(1)
        return pax_tree.tree_map(lambda x, y: x**2 + 3 * y, a, b)

    keys = KEYS[kind]
    a = tree(keys, keys, 1.0)
    for order in orders(kind):
        result = f(a, tree(order, keys, 10.0))
        assert [float(result[key]) for key in keys] == [31.0, 64.0, 99.0]
    assert len(runs) == 1


@pytest.mark.parametrize("kind", ["sets", "not a number"])  # JAX takes dicts of the others nowhere
def test_modules_are_compared_and_combined_by_key(kind):
    keys = KEYS[kind]
    module, other = Parts(keys, keys, 1.0), Parts(keys, keys, 10.0)
    for order in orders(kind):
        same, changed = Parts(order, keys, 1.0), Parts(order, keys, 10.0)
        assert module == same
        assert module != changed
        for result in (module.update(changed.parameters()), module | changed):
            assert result == other
        assert pax_tree.tree_map(lambda x, y: y, module, changed) == other
        assert module.load_state_dict(changed.state_dict()) == other


@pytest.mark.parametrize("kind", ["sets", "not a number"])
def test_derivatives_are_those_of_each_key(kind):
    keys = KEYS[kind]
    for order in orders(kind):
        b = tree(order, keys, 10.0)
        grads = pax.grad(lambda a, b=b: sum(a[key] ** 2 * b[key] for key in b))(
            tree(keys, keys, 1.0)
        )
        assert [float(grads[key]) for key in keys] == [20.0, 80.0, 180.0]
        assert jax.tree.structure(grads) == jax.tree.structure(tree(keys, keys, 1.0))
