"""Functions of a module that are kept, and called again after it has changed: never with the old weights."""

import functools
import warnings

import jax
import jax.numpy as jnp
import pytest

import pax_jax as pax
from pax_jax._module import scope

X = jnp.ones((1, 2))
LAYER = pax.Linear(2, 2)
ZEROS, SEVENS = jnp.zeros((2, 2)), jnp.full(2, 7.0)


class Net(pax.Module):
    def __init__(self):
        super().__init__()
        self.fc = LAYER.copy()

    def __call__(self, x):
        return self.fc(x)


def static(jit, function):
    """A function that is called with a constant, which JAX takes for one."""
    return functools.partial(jit(lambda function, x: function(x), static_argnums=0), function)


KEPT = {
    "jit of a method": lambda net: jax.jit(net.__call__),
    "jit of partial": lambda net: jax.jit(functools.partial(net.__call__)),
    "jit of tree_util.Partial": lambda net: jax.jit(jax.tree_util.Partial(net.__call__)),
    "jit of a closure": lambda net: jax.jit(lambda x: net(x)),
    "jit of grad": lambda net: jax.jit(lambda x: 2 * jax.grad(lambda x: (net(x) * x).sum())(x)),
    "checkpoint of a closure": lambda net: jax.checkpoint(lambda x: net(x)),
    "jit of a copy": lambda net: jax.jit(lambda x: (net % x)[1]),
    "jit of an update": lambda net: jax.jit(lambda x: net.update(net.parameters())(x)),
    "static method": lambda net: static(jax.jit, net.__call__),
    "static closure": lambda net: static(jax.jit, lambda x: net(x)),
    "pax.jit of a closure": lambda net: pax.jit(lambda x: net(x)),
    "pax.jit, static": lambda net: static(pax.jit, net.__call__),
    "pax.remat of partial": lambda net: pax.remat(functools.partial(net.__call__)),
    "cond": lambda net: functools.partial(jax.lax.cond, True, *[lambda x: net(x)] * 2),
    "scan": lambda net: lambda x, f=lambda c, x: (c, net(x)): jax.lax.scan(f, 0, x)[1],
    "pax.scan": lambda net: lambda x, f=lambda c, x: (c, net(x)): pax.scan(f, 0, x)[1],
    "pax.cond": lambda net: functools.partial(pax.cond, True, *[lambda x: net(x)] * 2),
}


@pytest.mark.filterwarnings("ignore:.*all functions are compiled again:RuntimeWarning")
@pytest.mark.parametrize("name", KEPT)
def test_a_kept_function_has_the_weights_of_now(name):
    net = Net()
    kept = KEPT[name](net)
    kept(X)
    net.fc.weight, net.fc.bias = ZEROS, SEVENS
    assert (kept(X) == (14.0 if "grad" in name else 7.0)).all()


def test_a_change_that_a_transformation_carries_out_is_seen_too():
    net = Net()
    kept = jax.jit(net.__call__)
    before = kept(X)
    change = pax.jit(lambda net, x: (net(x), setattr(net.fc, "bias", net.fc.bias + 1))[0])
    change(net, X)
    assert jnp.allclose(kept(X), before + 1)


def test_programs_that_do_not_depend_on_what_has_changed_are_kept():
    net, traces = Net(), []

    @jax.jit
    def call(net, x):
        traces.append(1)
        return net(x)

    for _ in range(3):
        call(net, X)
        jax.grad(lambda x: net(x).sum())(X)
        jax.vmap(net)(X)
        net.fc.bias = net.fc.bias + 1
    assert len(traces) == 1


def test_who_compiles_again_and_again_is_told(monkeypatch):
    monkeypatch.setattr(scope._Forgotten, "times", 0)
    net = Net()
    kept = jax.jit(net.__call__)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(5):
            kept(X)
            net.fc.bias = net.fc.bias + 1
    assert [str(warning.message).partition(",")[0] for warning in caught] == [
        "Linear.bias has changed"
    ]
