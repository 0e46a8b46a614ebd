"""Modules in modules in modules: nothing but pickles is limited by the recursion of Python."""

import copy

import jax
import jax.numpy as jnp
import pytest

import pax_jax as pax

DEPTH = 800


class Nest(pax.Module):
    def __init__(self, inner):
        super().__init__()
        self.register_parameter("weight", jnp.float32(2))
        self.calls = 0
        self.inner = inner


@pytest.fixture(scope="module")
def nest():
    module = None
    for i in range(DEPTH):
        module = Nest([module] if i % 100 == 1 else module)
    return module


def loss(module):
    return sum(jax.tree.leaves(module))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(m.parameters()),
        lambda m: m.update_parameters(m),
        lambda m: m | ~m,
        lambda m: m.freeze().unfreeze(),
        lambda m: m.freeze().unfreeze(origin=m),
        lambda m: m.eval().train(),
        lambda m: pax.select_parameters([m])[0],
        lambda m: m.apply(lambda module: module),
        lambda m: m.load_state_dict(m.state_dict()),
        lambda m: copy.deepcopy(m),
        lambda m: m.copy(),
    ],
    ids=[
        *("update", "update_parameters", "or", "freeze", "unfreeze_origin", "eval", "select"),
        *("apply", "load_state_dict", "deepcopy", "copy"),
    ],
)
def test_nested_modules_are_copied(nest, change):
    made = change(nest)
    assert made is not nest
    assert len(jax.tree.leaves(made)) == DEPTH
    assert jax.tree.structure(made) == jax.tree.structure(nest)


def test_nested_modules_are_differentiated_and_shown(nest):
    assert all(grad == 1 for grad in jax.tree.leaves(pax.grad(loss)(nest)))
    assert repr(nest).startswith("Nest(")
    assert nest.summary(return_list=True)[0].endswith(f"{DEPTH} parameters")


def test_deep_copies_keep_what_is_shared():
    inner = Nest(None)
    pair = copy.deepcopy([inner, Nest(inner)])
    assert pair[1].inner is pair[0]
    assert pair[0] is not inner


def test_errors_in_nested_updates_say_where(nest):
    other = nest.replace(inner=nest.inner.replace(inner=jnp.float32(1)))
    with pytest.raises(TypeError, match=r"Cannot update Nest\.inner\.inner, a Nest, with a"):
        nest.update(other)
