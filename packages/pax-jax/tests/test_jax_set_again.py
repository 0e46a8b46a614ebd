"""Attributes that are set to something of another kind than they held."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax


class _Holder(pax.Module):
    def __init__(self, first, second):
        super().__init__()
        if isinstance(first, jax.Array):
            self.register_parameter("held", first)
        else:
            self.held = first
        self.held = second


def test_a_module_in_place_of_a_parameter_keeps_its_state_out_of_training():
    module = _Holder(jnp.ones(3), pax.BatchNorm1D(3))
    assert len(jax.tree.leaves(module.parameters())) == 2
    assert len(jax.tree.leaves(module)) == 5


def test_a_parameter_in_place_of_a_module_is_state_until_it_is_registered():
    module = _Holder(pax.Linear(2, 3), jnp.ones(3))
    assert jax.tree.leaves(module.parameters()) == []
    np.testing.assert_array_equal(jax.tree.leaves(module)[0], 1)


@pytest.mark.parametrize("value", [np.ones(3), jnp.zeros(2), 2.0, jax.ShapeDtypeStruct((3,), "f4")])
def test_arrays_and_numbers_stay_parameters(value):
    module = _Holder(jnp.ones(3), value)
    assert len(jax.tree.leaves(module.parameters())) == 1


@pytest.mark.parametrize("value", ["a", jnp.sin])
def test_what_is_no_array_is_static(value):
    module = _Holder(jnp.ones(3), value)
    assert jax.tree.leaves(module) == []
    assert module.held is value
    assert jax.tree.map(lambda x: x, module).held is value


def test_none_keeps_the_place_of_a_parameter():
    module = _Holder(jnp.ones(3), None)
    assert jax.tree.leaves(module) == []
    with pax.mutable(module) as module:
        module.held = jnp.ones(3)
    assert len(jax.tree.leaves(module.parameters())) == 1


def test_containers_of_modules_in_place_of_arrays():
    module = _Holder(jnp.ones(3), [pax.BatchNorm1D(3)])
    assert len(jax.tree.leaves(module.parameters())) == 2


def test_a_hidden_module_is_refused_as_in_the_first_assignment():
    layer = pax.Linear(2, 2)
    with pytest.raises(TypeError, match="held"):
        _Holder(jnp.ones(3), lambda x: layer(x))
