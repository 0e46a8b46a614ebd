"""Functions of a module that are kept, and called again after it has changed: never with the old weights."""

import copy
import functools
import warnings

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax
import pax_tree

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


def whole(function):
    """A compiled function of a copy that is made of a module inside of it."""
    return lambda net: jax.jit(lambda x: function(net)(x))


def leaves(function):
    """A compiled function of the leaves of a module, which it takes itself."""
    return lambda net: jax.jit(lambda x: x @ function(net)[0] + function(net)[1][None])


def inside(function):
    """A compiled function that gives a module to another transformation."""
    return lambda net: jax.jit(lambda x: function(net, x))


def raveled(ravel, net):
    """The leaves of a module from the one vector of their numbers."""
    vector, undo = ravel(jax.tree.leaves(net))
    return undo(vector)


def call(net, x):
    return net(x)


class Holder:
    def __init__(self, net):
        self.net = net

    def run(self, x):
        return self.net.eval()(x)


def with_jvp(function):
    function = jax.custom_jvp(function)
    function.defjvp(lambda primals, tangents: (function(*primals), tangents[0]))
    return function


BY_ATTRIBUTE = {
    "jit of a method": lambda net: jax.jit(net.__call__),
    "jit of partial": lambda net: jax.jit(functools.partial(net.__call__)),
    "jit of tree_util.Partial": lambda net: jax.jit(jax.tree_util.Partial(net.__call__)),
    "jit of a closure": lambda net: jax.jit(lambda x: net(x)),
    "jit of grad": lambda net: jax.jit(lambda x: jax.grad(lambda x: (net(x) * x).sum())(x)),
    "checkpoint of a closure": lambda net: jax.checkpoint(lambda x: net(x)),
    "static method": lambda net: static(jax.jit, net.__call__),
    "static closure": lambda net: static(jax.jit, lambda x: net(x)),
    "pax.jit of a closure": lambda net: pax.jit(lambda x: net(x)),
    "pax.jit, static": lambda net: static(pax.jit, net.__call__),
    "cond": lambda net: functools.partial(jax.lax.cond, True, *[lambda x: net(x)] * 2),
    "scan": lambda net: lambda x, f=lambda c, x: (c, net(x)): jax.lax.scan(f, 0, x)[1],
    "pax.scan": lambda net: lambda x, f=lambda c, x: (c, net(x)): pax.scan(f, 0, x)[1],
    "pax.cond": lambda net: functools.partial(pax.cond, True, *[lambda x: net(x)] * 2),
}
AS_DATA = {
    "pax.jit of a method": lambda net: pax.jit(net.__call__),
    "pax.jit of a module": lambda net: pax.jit(net),
    "pax.remat of partial": lambda net: pax.remat(functools.partial(net.__call__)),
    "pax.vmap of a module": lambda net: pax.vmap(net),
}
AS_A_WHOLE = {
    "eval": whole(lambda net: net.eval()),
    "train": whole(lambda net: net.train()),
    "freeze": whole(lambda net: net.freeze()),
    "unfreeze": whole(lambda net: net.unfreeze()),
    "copy": whole(lambda net: net.copy()),
    "copy.copy": whole(copy.copy),
    "deepcopy": whole(copy.deepcopy),
    "apply": whole(lambda net: net.apply(lambda module: module)),
    "replace": whole(lambda net: net.replace(training=False)),
    "replace_method": whole(lambda net: net.replace_method(other=call)),
    "map": whole(lambda net: net.map(lambda leaf: leaf)),
    "jax.tree.map": whole(lambda net: jax.tree.map(lambda leaf: leaf, net)),
    "tree_map": whole(lambda net: pax_tree.tree_map(lambda leaf: leaf, net)),
    "tree_map of a dict": whole(lambda net: jax.tree.map(lambda leaf: leaf, {"net": net})["net"]),
    "update": whole(lambda net: net.update(net.parameters())),
    "|": whole(lambda net: net.filter("state") | ~net),
    "select_parameters": whole(lambda net: net.update(pax.select_parameters(net))),
    "state_dict": leaves(lambda net: [*net.state_dict().values()]),
    "load_state_dict": whole(lambda net: net.load_state_dict(net.state_dict())),
    "submodules": whole(lambda net: net.submodules()[0]),
    "jax.tree.leaves": leaves(jax.tree.leaves),
    "leaves with paths": leaves(
        lambda net: [leaf for _, leaf in jax.tree_util.tree_leaves_with_path(net)]
    ),
    "tree_leaves": leaves(pax_tree.tree_leaves),
    "leaves of parameters": leaves(lambda net: jax.tree.leaves(net.parameters())),
    "record_flatten": leaves(lambda net: pax_tree.record_flatten(net.submodules()[0])[0]),
    "vars": leaves(lambda net: [vars(vars(net)["fc"])[name] for name in ("weight", "bias")]),
    "ravel": leaves(lambda net: raveled(pax_tree.tree_ravel, net)),
    "jax ravel": leaves(lambda net: raveled(jax.flatten_util.ravel_pytree, net)),
    "a module in a list": lambda net: (lambda nets: jax.jit(lambda x: nets[0].eval()(x)))([net]),
    "%": inside(lambda net, x: (net % x)[1]),
    "purecall": inside(lambda net, x: pax.purecall(net, x)[1]),
    "inner jit": inside(lambda net, x: jax.jit(call)(net, x)),
    "inner pax.jit": inside(lambda net, x: pax.jit(net)(x)),
    "inner vmap": inside(lambda net, x: jax.vmap(call, (None, 0))(net, x)),
    "inner pax.vmap": inside(lambda net, x: pax.vmap(net)(x)),
    "inner checkpoint": inside(lambda net, x: jax.checkpoint(call)(net, x)),
    "inner pax.remat": inside(lambda net, x: pax.remat(net)(x)),
    "inner cond": inside(lambda net, x: jax.lax.cond(True, call, call, net, x)),
    "inner pax.cond": inside(lambda net, x: pax.cond(True, net, net, x)),
    "inner switch": inside(lambda net, x: jax.lax.switch(0, [call, call], net, x)),
    "inner scan": inside(
        lambda net, x: jax.lax.scan(lambda net, x: (net, net(x)), net, x[None])[1][0]
    ),
    "inner pax.scan": inside(
        lambda net, x: pax.scan(lambda net, x: (net, net(x)), net, x[None])[1][0]
    ),
    "inner fori_loop": inside(
        lambda net, x: jax.lax.fori_loop(0, 1, lambda i, s: (s[0], s[0](x)), (net, x))[1]
    ),
    "inner pax.fori_loop": inside(
        lambda net, x: pax.fori_loop(0, 1, lambda i, s: (s[0], s[0](x)), (net, x))[1]
    ),
    "inner map": inside(lambda net, x: jax.lax.map(lambda row: net.eval()(row), x)),
    "inner vjp": inside(lambda net, x: jax.vjp(call, net, x)[0]),
    "inner jvp": inside(lambda net, x: jax.jvp(call, (net, x), (net, x))[0]),
    "inner linearize": inside(lambda net, x: jax.linearize(call, net, x)[0]),
    "inner value_and_grad": inside(
        lambda net, x: 0 * x + pax.value_and_grad(lambda net: net(x)[0, 0])(net)[0]
    ),
    "method of a holder": lambda net: jax.jit(Holder(net).run),
    "static holder": lambda net: static(jax.jit, Holder(net).run),
    "partial": lambda net: jax.jit(functools.partial(lambda net, x: net.eval()(x), net)),
    "jit of jit": lambda net: jax.jit(jax.jit(lambda x: net.eval()(x))),
    "jit of vmap": lambda net: jax.jit(jax.vmap(lambda x: net.eval()(x))),
    "vmap of jit": lambda net: jax.vmap(jax.jit(lambda x: net.eval()(x))),
    "jit of custom_jvp": lambda net: jax.jit(with_jvp(lambda x: net.eval()(x))),
    "checkpoint": lambda net: jax.checkpoint(lambda x: net.eval()(x)),
    "whole in scan": lambda net: (
        lambda x, f=lambda c, x: (c, net.eval()(x)): jax.lax.scan(f, 0, x)[1]
    ),
    "whole in pax.jit": lambda net: pax.jit(lambda x: net.eval()(x)),
}
KEPT = BY_ATTRIBUTE | AS_A_WHOLE


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_function_has_the_weights_of_now(name):
    net = Net()
    kept = KEPT[name](net)
    kept(X)
    with pytest.warns(RuntimeWarning, match="weight has changed.*are compiled again") as caught:
        net.fc.weight, net.fc.bias = ZEROS, SEVENS
    assert [(len(caught), warning.filename) for warning in caught] == [(1, __file__)]
    assert (np.asarray(kept(X)) == 7.0).all()


@pytest.mark.parametrize("name", AS_DATA)
def test_a_function_that_takes_its_module_for_data_is_compiled_once(name):
    net = Net()
    kept = AS_DATA[name](net)
    kept(X)
    net.fc.weight, net.fc.bias = ZEROS, SEVENS
    assert (np.asarray(kept(X)) == 7.0).all()


def test_a_change_that_a_transformation_carries_out_is_seen_too():
    net = Net()
    kept = jax.jit(net.__call__)
    before = kept(X)
    change = pax.jit(lambda net, x: (net(x), setattr(net.fc, "bias", net.fc.bias + 1))[0])
    with pytest.warns(RuntimeWarning, match="bias has changed") as caught:
        change(net, X)
    assert caught[0].filename == __file__
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


def test_each_time_that_programs_are_forgotten_is_told():
    net, other = Net(), Net()
    kept = jax.jit(lambda x: net(other(x)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            kept(X)
            net.fc.bias = net.fc.bias + 1
            net.fc.weight = other.fc.weight = ZEROS  # all is forgotten already
    assert [str(warning.message).partition(",")[0] for warning in caught] == [
        "Linear.bias has changed"
    ] * 2
