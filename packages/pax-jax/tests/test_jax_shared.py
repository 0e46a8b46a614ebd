"""Tied weights: one leaf under two names, its gradients, donation, copies, pickles, errors."""

import copy
import dataclasses
import functools
import pickle

import jax
import jax.numpy as jnp
import pytest

import pax_jax as pax


class Tied(pax.Module):
    """A linear map and its transpose, a layer under two names, and one of a list."""

    decode = pax.Shared("encode.weight")
    last = pax.Shared("layers.1")
    table = pax.Shared("tables.b")

    def __init__(self):
        super().__init__()
        self.encode = pax.Linear(3, 2, with_bias=False)
        self.layers = [pax.Linear(2, 2), pax.BatchNorm1D(2)]
        self.register_state_subtree("tables", {"a": jnp.zeros(1), "b": jnp.ones(1)})

    def __call__(self, x):
        return self.last(self.encode(x)) @ self.decode.T


X = jnp.arange(12.0).reshape(4, 3)


def loss_fn(net, x):
    return jnp.sum(net(x) ** 2)


def test_both_names_are_one_leaf():
    net = Tied()
    assert net.decode is net.encode.weight
    assert net.last is net.layers[1]
    assert net.table is net.tables["b"]
    leaves = jax.tree.leaves(net)
    assert len(set(map(id, leaves))) == len(leaves) == 10
    assert isinstance(Tied.decode, pax.Shared)


def test_gradients_of_both_uses_add_up():
    net = Tied().eval()
    grads = pax.grad(loss_fn)(net, X)

    def apart(encode, decode):
        return jnp.sum((net.last(X @ encode) @ decode.T) ** 2)

    first, second = jax.grad(apart, argnums=(0, 1))(net.encode.weight, net.encode.weight)
    assert jnp.allclose(grads.encode.weight, first + second, rtol=1e-5)
    assert grads.decode is grads.encode.weight


def test_writing_to_one_name_writes_to_both():
    net = Tied()
    net.decode = jnp.ones((3, 2))
    assert net.encode.weight.tolist() == [[1.0, 1.0]] * 3
    net.last = pax.BatchNorm1D(2, decay_rate=0.5)
    net.table = jnp.zeros(1)
    assert (net.layers[1].decay_rate, net.tables["b"].tolist()) == (0.5, [0.0])
    assert net.replace(decode=jnp.zeros((3, 2))).encode.weight.sum() == 0.0
    assert net.encode.weight.sum() == 6.0


def test_the_same_object_can_be_given_to_both():
    class Pair(pax.Module):
        second = pax.Shared("first")

        def __init__(self, layer):
            super().__init__()
            self.first = layer
            self.second = layer

    pair = Pair(pax.Linear(1, 1))
    assert pair.second is pair.first
    assert len(jax.tree.leaves(pair)) == 2


def test_a_field_of_a_dataclass_can_be_shared():
    @dataclasses.dataclass
    class Pair(pax.Module):
        first: pax.Linear
        second: pax.Linear = pax.Shared("first")  # noqa: RUF009

    pair = Pair(pax.Linear(1, 1))
    assert pair.second is pair.first
    assert len(jax.tree.leaves(pair)) == 2


def test_sharing_that_is_not_declared_says_how_to_declare_it():
    class Pair(pax.Module):
        def __init__(self, layer):
            super().__init__()
            self.first = layer
            self.second = layer

    with pytest.raises(ValueError, match=r"same Linear.*`second = pax_jax\.Shared\('first'\)`"):
        Pair(pax.Linear(1, 1))


@pytest.mark.parametrize("jit", [jax.jit, pax.jit], ids=["jax.jit", "pax.jit"])
def test_a_step_updates_the_leaf_once_and_may_donate_it(jit):
    @functools.partial(jit, donate_argnums=0)
    def step(net, x):
        grads, net = pax.grad(lambda net, x: (loss_fn(net, x), net), has_aux=True)(net, x)
        return net.update(jax.tree.map(lambda p, g: p - 1e-3 * g, ~net, grads))

    net = Tied()
    expected = net.decode - 1e-3 * pax.grad(loss_fn)(net, X).decode
    changed = step(net, X)
    assert jnp.allclose(changed.decode, expected, rtol=1e-4, atol=1e-4)
    assert changed.decode is changed.encode.weight
    assert net.decode.is_deleted()


def test_a_state_of_a_shared_module_is_changed_once():
    net, _ = Tied() % X
    assert float(net.last.ema_weight) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)), lambda net: net.copy()],
    ids=["copy", "deepcopy", "pickle", "method"],
)
def test_copies_stay_tied(duplicate):
    net = duplicate(Tied())
    assert net.decode is net.encode.weight
    assert net.last is net.layers[1]


def test_what_is_frozen_is_frozen_under_both_names():
    net = Tied()
    net.last = net.last.freeze()
    assert net.parameters().layers[1].scale is None


def test_writing_outside_the_scope_raises():
    net = Tied()

    def f(x):
        net.decode = x
        return x

    with pytest.raises(RuntimeError, match=r"Cannot set Linear\.weight here"):
        jax.jit(f)(X)


class Early(pax.Module):
    copy_of = pax.Shared("layers.3.weight")

    def __init__(self):
        super().__init__()
        self.layers = [pax.Linear(1, 1)]


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda: pax.Shared(jnp.ones(1)), TypeError, "Shared expects the path of an attribute"),
        (lambda: pax.Shared(""), TypeError, "Shared expects the path of an attribute, such as"),
        (
            lambda: Early().copy_of,
            AttributeError,
            r"Early\.copy_of is shared with 'layers\.3\.weight', and there is no '3' in the list",
        ),
        (
            lambda: setattr(pax.Module(), "b", pax.Shared("a")),
            TypeError,
            r"Module\.b is assigned Shared\('a'\), which is declared in the class body",
        ),
    ],
    ids=["array", "empty", "path", "instance"],
)
def test_errors(act, error, message):
    with pytest.raises(error, match=message):
        act()
