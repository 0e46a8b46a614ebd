"""What modules hold in containers and objects, changed in place: refused, told or carried, never lost."""

import argparse
import array
import collections
import copy
import dataclasses
import pickle
import types
import warnings

import jax
import jax.numpy as jnp
import pytest

import pax_jax as pax

ZERO, ONE = jnp.zeros(()), jnp.ones(())


@dataclasses.dataclass
class Config:
    scale: float = 1.0
    more: list = dataclasses.field(default_factory=list)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Box:
    value: jax.Array


class Items(list):
    pass


class Unit(pax.Module):
    def __init__(self):
        super().__init__()
        self.register_parameter("weight", ONE)


class Net(pax.StateModule):
    def __init__(self):
        super().__init__()
        self.held = MAKE[self.kind]()


MAKE = {
    "modules": lambda: [Unit()],
    "modules by name": lambda: {"a": Unit()},
    "modules in lists": lambda: {"a": [Unit()]},
    "lists in a tuple": lambda: ([Unit()],),
    "arrays": lambda: [ZERO, ONE],
    "arrays by name": lambda: {"a": ZERO},
    "ordered arrays": lambda: collections.OrderedDict(b=ZERO, a=ONE),
    "default arrays": lambda: collections.defaultdict(jnp.array, a=ZERO),
    "node": lambda: Box(ZERO),
    "nodes": lambda: [Box(ZERO)],
    "numbers": lambda: [2.0, 1.0],
    "numbers by name": lambda: {"a": 1.0},
    "set": lambda: {1},
    "deque": lambda: collections.deque([1, 2]),
    "bytes": lambda: bytearray(b"ab"),
    "array": lambda: array.array("d", [1.0]),
    "counter": lambda: collections.Counter("a"),
    "items": lambda: Items([1]),
    "user dict": lambda: collections.UserDict(a=1),
    "user list": lambda: collections.UserList([1]),
    "config": Config,
    "configs": lambda: [Config()],
    "namespace": lambda: types.SimpleNamespace(scale=1.0),
    "arguments": lambda: argparse.Namespace(scale=1.0),
}

# What is changed, in place.
WRITES = [
    ("modules", "held.append(Unit())"),
    ("modules", "held[0] = pax.Identity()"),
    ("modules", "del held[0]"),
    ("modules", "held.__init__([])"),
    ("modules by name", "held.setdefault('b', Unit())"),
    ("modules by name", "held.pop('a')"),
    ("modules in lists", "held['a'] += [Unit()]"),
    ("lists in a tuple", "held[0].clear()"),
    ("arrays", "held[::2] = [ONE]"),
    ("arrays", "held.reverse()"),
    ("arrays by name", "held['a'] = ONE"),
    ("arrays by name", "held.update(a=ONE)"),
    ("ordered arrays", "held.popitem(last=False)"),
    ("default arrays", "held.update(b=ONE)"),
    ("node", "held.value = ONE"),
    ("nodes", "held[0].value = ONE"),
    ("numbers", "held.sort()"),
    ("numbers by name", "held.update(a=2.0)"),
    ("set", "held.add(2)"),
    ("deque", "held.rotate(1)"),
    ("bytes", "held[0] = 3"),
    ("array", "held.append(2.0)"),
    ("counter", "held.subtract('a')"),
    ("items", "held.append(2)"),
    ("user dict", "held['a'] = 2"),
    ("user list", "held.append(2)"),
    ("config", "held.scale = 2.0"),
    ("config", "held.more.append(1)"),
    ("configs", "held[0].scale = 2.0"),
    ("namespace", "held.scale = 2.0"),
    ("arguments", "held.scale = 2.0"),
]
each_write = pytest.mark.parametrize(
    ("kind", "write"), WRITES, ids=[" ".join(pair) for pair in WRITES]
)


def made(kind):
    net = type("Net", (Net,), {"kind": kind})()
    return net, repr(net.held)


def run(write, net):
    exec(write, {**globals(), "held": net.held})


@each_write
def test_a_write_is_refused_where_the_module_was_not_made(kind, write):
    net, before = made(kind)
    for transform in (lambda f: jax.jit(f)(1.0), lambda f: jax.grad(f)(1.0)):
        with pytest.raises(pax.ScopeError, match=r"Cannot set Net\.held here"):
            transform(lambda x: run(write, net) or x)
        assert repr(net.held) == before


@each_write
def test_a_write_to_a_module_that_does_not_come_back_is_told(kind, write):
    net, _ = made(kind)
    with pytest.warns(pax.LostChangeWarning, match=r"Net\.held was changed inside"):
        jax.jit(lambda net: run(write, net))(net)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = jax.jit(lambda net: run(write, net) or net)(net)
    run(write, net)
    assert jax.tree.structure(back) == jax.tree.structure(net)


@each_write
def test_a_program_that_has_read_a_container_is_made_again_after_a_write(kind, write):
    net, before = made(kind)
    seen = []
    call = jax.jit(lambda: seen.append(repr(net.held)) or 1.0)
    call()
    assert repr(net.held) == before
    with pytest.warns(RuntimeWarning, match=r"Net\.held has changed, and a function"):
        run(write, net)
    call()
    assert len(seen) == 2
    assert seen[1] == repr(net.held) != before


@pytest.mark.parametrize("kind", MAKE)
def test_what_is_read_elsewhere_is_as_it_was_and_copies_are_plain(kind):
    net, _ = made(kind)
    plain = net.held

    def check(held):
        assert isinstance(held, type(plain))
        assert repr(held) == repr(plain)
        copies = copy.copy(held), copy.deepcopy(held), pickle.loads(pickle.dumps(held))
        assert [type(made) for made in copies] == [type(plain)] * 3
        if hasattr(plain, "__dict__"):
            assert vars(held).keys() == vars(plain).keys()

    jax.jit(lambda: check(net.held))()
    check(net.held)


@pytest.mark.parametrize("kind", ["numbers by name", "config", "configs", "namespace"])
def test_a_module_that_is_given_it_elsewhere_holds_a_plain_one(kind):
    net, _ = made(kind)

    class Other(pax.Module):
        def __init__(self, held):
            super().__init__()
            self.held = held

    inside, outside = jax.jit(lambda: Other([net.held]))(), Other([net.held])
    assert jax.tree.structure(inside) == jax.tree.structure(outside)
    assert type(inside.held[0]) is type(outside.held[0]) is type(made(kind)[0].held)
    run(WRITES[[k for k, _ in WRITES].index(kind)][1], types.SimpleNamespace(held=inside.held[0]))
    assert jax.tree.structure(inside) != jax.tree.structure(outside)


def test_an_object_that_is_made_of_one_read_elsewhere_may_be_changed():
    net, _ = made("config")

    @jax.jit
    def scaled(x):
        config = dataclasses.replace(net.held, scale=3.0)
        config.scale += 1.0
        return x * config.scale

    assert scaled(1.0) == 4.0
