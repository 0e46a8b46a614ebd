"""Attributes, and items of containers, that are set to something of another kind than they held."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax


class _Holder(pax.Module):
    def __init__(self, first, method=None):
        super().__init__()
        if method is None:
            self.held = first
        else:
            getattr(self, method)("held", first)


def _trained(module):
    return len(jax.tree.leaves(module.parameters()))


def _set(module, value):
    module.held = value
    return module


_PARAMETER = "register_parameter_subtree"


@pytest.mark.parametrize("first", [jnp.ones(3), [jnp.ones(3)], {"a": jnp.ones(3)}, None])
@pytest.mark.parametrize("container", [lambda m: m, lambda m: [m], lambda m: {"a": (m,)}])
def test_a_module_in_place_of_a_parameter_keeps_its_state_out_of_training(first, container):
    module = _set(_Holder(first, _PARAMETER), container(pax.BatchNorm1D(3)))
    assert _trained(module) == 2
    assert len(jax.tree.leaves(module)) == 5
    assert _trained(module.freeze()) == 0
    assert _trained(module.freeze().unfreeze()) == 2
    (norm,) = module.eval().submodules()
    assert not norm.training


def test_a_module_in_place_of_a_frozen_parameter_is_trained():
    assert _trained(_set(_Holder(jnp.ones(3), _PARAMETER).freeze(), pax.Linear(2, 2))) == 2


@pytest.mark.parametrize(
    "value",
    [np.ones(3), jnp.zeros(2), 2.0, np.float32(2), jax.ShapeDtypeStruct((3,), "f4"), [jnp.ones(2)]],
)
@pytest.mark.parametrize(("method", "count"), [(_PARAMETER, 1), ("register_state_subtree", 0)])
def test_arrays_and_numbers_stay_what_they_were(value, method, count):
    module = _set(_Holder(jnp.ones(3), method), value)
    assert _trained(module) == count
    assert len(jax.tree.leaves(module)) == 1


def test_none_keeps_the_place_of_a_parameter():
    module = _set(_Holder(jnp.ones(3), _PARAMETER), None)
    assert jax.tree.leaves(module) == []
    assert _trained(_set(module, jnp.ones(3))) == 1


def test_masks_and_labels_stand_where_arrays_and_modules_stood():
    labels = pax.Sequential(pax.Linear(1, 1), pax.Linear(1, 1)).parameters()
    labels.modules[0].weight, labels.modules[0].bias = "a", jax.sharding.PartitionSpec("x")
    assert jax.tree.leaves(labels)[:2] == ["a", jax.sharding.PartitionSpec("x")]
    mask = _set(_Holder(pax.Linear(1, 1)), False)
    assert jax.tree.leaves(mask) == [False]


def test_an_array_in_place_of_a_module_is_state_and_a_function_static():
    module = _set(_Holder(pax.Linear(2, 3)), jnp.ones(3))
    assert _trained(module) == 0
    np.testing.assert_array_equal(jax.tree.leaves(module)[0], 1)
    module = _set(_Holder(pax.Linear(2, 3)), jnp.sin)
    assert jax.tree.leaves(module) == []
    assert module.copy().held is jnp.sin


def test_state_in_place_of_which_a_module_is_set_is_refused_until_it_is_said_what_it_is():
    module = _Holder(jnp.ones(3))
    with pytest.raises(TypeError, match=r"_Holder\.held is state.*register_module_subtree"):
        module.held = pax.Linear(2, 2)
    module.register_module("held", pax.Linear(2, 2))
    assert _trained(module) == 2
    state = _Holder({"sums": pax.Linear(2, 2), "count": jnp.zeros(())}, "register_state_subtree")
    assert _trained(_set(state, {"sums": pax.Linear(2, 2), "count": jnp.ones(())})) == 0


def test_trees_that_were_registered_with_modules_stay_parameters():
    first = {"fast": pax.Linear(2, 2).parameters(), "scale": jnp.ones(())}
    module = _Holder(first, _PARAMETER)
    assert _trained(_set(module, jax.tree.map(jnp.zeros_like, first))) == 3


@pytest.mark.parametrize("first", [jnp.ones(3), pax.Linear(2, 2), [jnp.ones(3)]])
def test_what_hides_a_module_is_refused_as_in_the_first_assignment(first):
    layer = pax.Linear(2, 2)
    method = None if isinstance(first, pax.Module) else _PARAMETER
    for value in (np.array([layer, None]), jax.new_ref(jnp.ones(2)), {1: layer, "a": layer}):
        with pytest.raises(TypeError, match="held"):
            _Holder(first, method).held = value


def test_a_function_that_hides_a_module_is_refused_in_place_of_one():
    layer = pax.Linear(2, 2)
    with pytest.raises(TypeError, match="held"):
        _Holder(pax.Linear(2, 2)).held = lambda x: layer(x)


@pytest.mark.parametrize("change", ["item", "replace_node", "map", "copy"])
def test_modules_inside_of_parameters_say_themselves_what_they_train(change):
    module, norm = _Holder([jnp.ones(3), jnp.ones(2)], _PARAMETER), pax.BatchNorm1D(3)
    if change == "item":
        module.held[0] = norm
    elif change == "copy":
        module.held[0] = norm
        module = module.copy()
    elif change == "map":
        module = module.map(lambda leaf: norm if leaf.size == 3 else leaf)
    else:
        module = module.replace_node(module.held[0], norm)
    assert _trained(module) == 3
    assert module.parameters().held[0].ema_mean is None
    assert not module.eval().held[0].training
    assert _trained(module.freeze().unfreeze(origin=module)) == 3

    class Own(pax.Module):
        parameters = lambda self: super().parameters()  # noqa: E731

    module.held[1] = Own()
    assert _trained(module) == 2
