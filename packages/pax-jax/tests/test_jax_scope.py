"""A module is changed only in the scope that made it; the pure style; no tracer escapes."""

import contextlib
import copy
import dataclasses
import threading
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax
import pax_tree


class Counter(pax.Module):
    def __init__(self):
        super().__init__()
        self.count = jnp.zeros(())
        self.register_parameter("bias", jnp.ones(()))

    def __call__(self, x):
        self.count = self.count + 1.0
        return x + self.bias

    def twice(self, x):
        return self(self(x))


TRANSFORMS = {
    "jit": lambda f: jax.jit(f)(1.0),
    "grad": lambda f: jax.grad(f)(1.0),
    "vmap": lambda f: jax.vmap(f)(jnp.ones(2)),
    "scan": lambda f: jax.lax.scan(lambda c, x: (c, f(x)), 0.0, jnp.ones(2)),
    "jvp": lambda f: jax.jvp(f, (1.0,), (1.0,)),
    "checkpoint": lambda f: jax.grad(jax.checkpoint(f))(1.0),
    "eval_shape": lambda f: jax.eval_shape(f, 1.0),
    "nested": lambda f: jax.jit(lambda x: jax.grad(f)(x))(1.0),
}
each_transform = pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)


@each_transform
def test_writing_to_a_captured_module_raises_and_changes_nothing(transform):
    counter = Counter()
    with pytest.raises(RuntimeError, match=r"Cannot set Counter\.count here.*`model\.copy\(\)`"):
        transform(lambda x: counter(x))
    assert float(counter.count) == 0.0


def test_an_argument_passed_on_untouched_is_not_written():
    counter = Counter()
    with pytest.raises(RuntimeError, match=r"Counter\.count"):
        jax.grad(lambda x, module: module(x))(1.0, counter)


@each_transform
def test_a_copy_and_a_new_module_are_free_to_change(transform):
    counter = Counter()

    def call(x):
        copies = [counter.copy(), counter.update(counter.parameters()), counter.eval(), Counter()]
        for made in copies:
            made(x)
            made.copy()(x)
        return x + sum(made.count for made in copies)

    with jax.checking_leaks():
        transform(call)
    assert float(counter.count) == 0.0


class Lists(pax.Module):
    def __init__(self):
        super().__init__()
        self.log = [1.0]
        self.layers = [Counter()]
        self.register_parameter_subtree("scales", [jnp.ones(())])


# Other ways to the containers of a module: none of them leads to its own.
WAYS = {
    "vars": lambda net: vars(net),
    "copy.copy": lambda net: vars(copy.copy(net)),
    "parameters": lambda net: vars(net.parameters()),
    "filter": lambda net: vars(net.filter("state")),
    "freeze": lambda net: vars(net.freeze()),
    "deepcopy": lambda net: vars(copy.deepcopy(net)),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_no_container_escapes(way):
    net = Lists()

    def write(x):
        for name in ("log", "layers", "scales"):
            with contextlib.suppress(RuntimeError):
                way(net)[name].append(x)
        return x

    with jax.checking_leaks():
        jax.jit(write)(1.0)
    assert (len(net.log), len(net.layers), len(net.scales)) == (1, 1, 1)


def test_parameters_have_their_own_containers():
    net = Lists()
    net.parameters().scales[0] = jnp.zeros(())
    assert net.scales[0] == 1.0


def test_at_the_top_level_modules_are_free_to_change():
    counter = Counter()
    counter(1.0)
    counter.extra = 3
    assert float(counter.count) == 1.0


def test_what_comes_out_of_jit_is_free_to_change():
    @jax.jit
    def call(module, x):
        y = module(x)
        return module, y

    counter, _ = call(Counter(), 1.0)
    counter(1.0)
    assert float(counter.count) == 2.0


def test_a_module_of_an_outer_trace_is_not_written_in_an_inner_one():
    @jax.jit
    def outer(x):
        counter = Counter()
        return jax.grad(lambda y: counter(y))(x)

    with pytest.raises(RuntimeError, match=r"Counter\.count"):
        outer(1.0)


def test_items_of_a_sequential_obey_the_rule_too():
    net = pax.Sequential(Counter())

    @jax.jit
    def replace(x):
        net.modules[0] = Counter()
        return x

    with pytest.raises(RuntimeError, match=r"Cannot set Sequential\.modules here"):
        replace(1.0)


def test_the_scope_of_one_thread_is_not_that_of_another():
    failures = []

    def work():
        try:
            counter = Counter()
            for _ in range(50):
                counter(1.0)
        except RuntimeError as error:
            failures.append(error)

    def traced(x):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return x

    jax.jit(traced)(1.0)
    assert failures == []


@pytest.mark.parametrize(
    "call",
    [
        lambda m, x: m % x,
        lambda m, x: m % (x,),
        lambda m, x: pax.purecall(m, x),
        lambda m, x: pax.module_and_value(m)(x),
        lambda m, x: pax.module_and_value(m.__call__)(x),
        lambda m, x: pax.pure(lambda module: (module, module(x)))(m),
    ],
    ids=["%", "% tuple", "purecall", "module_and_value", "of a method", "pure"],
)
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_pure_calls_change_only_the_copy(call, wrap):
    counter = Counter()
    changed, y = wrap(lambda x: call(counter, x))(2.0)
    assert float(y) == 3.0
    assert (float(changed.count), float(counter.count)) == (1.0, 0.0)


def test_module_and_value_of_another_method():
    counter, y = pax.module_and_value(Counter().twice)(0.0)
    assert (float(counter.count), float(y)) == (2.0, 2.0)


def test_module_and_value_decorates_a_method():
    class Steps(Counter):
        step = pax.module_and_value(Counter.twice)

    counter = Steps()
    changed, y = counter.step(0.0)
    assert (float(changed.count), float(y), float(counter.count)) == (2.0, 2.0, 0.0)
    assert float(jax.jit(lambda x: counter.step(x)[0].count)(0.0)) == 2.0
    with pytest.raises(TypeError, match="expects a module as its first argument, got 3"):
        Steps.step(3)


def test_a_layer_is_put_behind_a_sequence():
    first = pax.Sequential(pax.Linear(2, 3))
    net = first >> jax.nn.relu >> pax.Linear(3, 1)
    assert (len(first), len(net)) == (1, 3)
    assert net(jnp.ones((4, 2))).shape == (4, 1)


def test_module_and_value_of_something_else_raises():
    with pytest.raises(TypeError, match="Expected a module that can be called or a bound method"):
        pax.module_and_value(jnp.abs)


@pytest.mark.parametrize("argnums", [1, (1,), (0, 1)], ids=str)
def test_grad_is_with_respect_to_parameters(argnums):
    def loss_fn(scale, module, x):
        return scale * module(x) ** 2, module

    grads, module = pax.grad(loss_fn, argnums, has_aux=True)(2.0, Counter(), 1.0)
    by_position = {1: grads} if argnums == 1 else dict(zip(argnums, grads, strict=True))
    assert float(by_position[1].bias) == 8.0
    assert by_position[1].count is None
    assert float(by_position.get(0, 4.0)) == 4.0
    assert float(module.count) == 1.0


def test_value_and_grad_does_to_its_argument_what_the_function_does():
    counter = Counter()
    value, grads = pax.value_and_grad(lambda m, x: m(x))(counter, 3.0)
    assert (float(value), float(grads.bias), float(counter.count)) == (4.0, 1.0, 1.0)


def test_gradients_of_frozen_parameters_are_none():
    grads = pax.grad(lambda m, x: m(x))(Counter().freeze(), 3.0)
    assert grads.bias is None


def test_a_stateful_loop_compiles_once():
    traces = []

    @jax.jit
    def step(module, x):
        traces.append(x)
        grads = pax.grad(lambda m: m(x))(module)
        return module.update(jax.tree.map(jnp.add, module.parameters(), grads))

    counter = Counter()
    for _ in range(100):
        counter = step(counter, 1.0)
    assert len(traces) == 1
    assert float(counter.count) == 100.0


def test_vmap_over_modules():
    modules = jax.vmap(lambda key: pax.Linear(2, 3, rng_key=key))(
        jax.random.split(jax.random.key(0), 4)
    )
    assert modules.weight.shape == (4, 2, 3)
    y = jax.vmap(lambda module, x: module(x), in_axes=(0, None))(modules, jnp.ones((5, 2)))
    assert y.shape == (4, 5, 3)


def test_scan_carries_a_module():
    def body(module, x):
        y = module(x)
        return module, y

    counter, ys = jax.lax.scan(body, Counter(), jnp.arange(3.0))
    assert float(counter.count) == 3.0
    assert ys.tolist() == [1.0, 2.0, 3.0]


def test_threads_read_copy_and_call_one_module_and_change_their_own():
    shared, results, failures = Counter(), [], []
    start = threading.Barrier(6)

    def work(number):
        try:
            start.wait()
            for _ in range(30):
                own = shared.copy() if number % 2 else shared.eval().train().freeze().unfreeze()
                own, y = own % float(number)
                own.count = own.count + number
                own.label = f"{number}"
            results.append((float(own.count), float(y), own.label))
        except Exception as error:  # a thread of its own would swallow it
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(results) == [(1.0 + n, 1.0 + n, f"{n}") for n in range(6)]
    assert shared == Counter()


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Box:
    value: jax.Array
    items: list


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FrozenBox:
    value: jax.Array
    items: list


@jax.tree_util.register_dataclass
@dataclasses.dataclass(slots=True)
class SlotsBox:
    value: jax.Array
    items: list


@jax.tree_util.register_pytree_node_class
class Node:
    def __init__(self, value, items):
        self.value, self.items = value, items

    def tree_flatten(self):
        return tuple(vars(self).values()), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


class Pair(NamedTuple):
    value: jax.Array
    items: list


def set_value(held, x):
    held.value = x


# What writes to something that stands in a module.
WRITES = {
    "attribute": set_value,
    "list": lambda held, x: held.items.append(x),
    "list inside": lambda held, x: held.items[0]["a"].append(x),
    "NumPy": lambda held, x: held.items[1].__setitem__(0, 5.0),
}


@pytest.mark.parametrize("cls", [Box, FrozenBox, SlotsBox, Node, Pair])
@pytest.mark.parametrize("name", WRITES)
def test_what_stands_in_a_node_is_written_to_only_where_the_module_was_made(cls, name):
    class Net(pax.StateModule):
        def __init__(self):
            super().__init__()
            self.held = cls(jnp.ones(2), [{"a": [jnp.ones(1)]}, np.ones(2)])

    net = Net()
    before = pax.Module.copy(net)

    @jax.jit
    def write(x):
        WRITES[name](net.held, x)
        return x

    with pytest.raises(
        (RuntimeError, AttributeError, ValueError), match=r"Cannot set|assign|set at"
    ):
        write(1.0)
    assert net == before

    @jax.jit
    def read(x):
        held = net.held
        leaves = [jax.tree.leaves(tree) for tree in (held, copy.copy(held), copy.deepcopy(held))]
        assert [len(each) for each in leaves] == [3, 3, 3]
        assert isinstance(held, cls)
        assert type(copy.copy(held)) is cls
        return leaves[0][0] + x

    assert (read(1.0) == 2).all()
    if name != "NumPy" and (name != "attribute" or cls in (Box, SlotsBox, Node)):
        with pytest.warns(RuntimeWarning, match=r"Net\.held has changed"):  # `read` has a constant
            WRITES[name](net.held, 3.0)  # here it may be
        assert net != before


LISTS = {
    "jax.tree.leaves": lambda net: jax.tree.leaves(net, is_leaf=is_list),
    "with paths": lambda net: [leaf for _, leaf in jax.tree.leaves_with_path(net, is_leaf=is_list)],
    "pax_tree.tree_leaves": lambda net: pax_tree.tree_leaves(net, is_leaf=is_list),
    "one level": lambda net: pax_tree.flatten_one_level(net)[0],
    "record_flatten": lambda net: pax_tree.record_flatten(net)[0],
    "record_with_spec": lambda net: vars(
        pax_tree.record_with_spec(net, pax_tree.record_spec(net))
    ).values(),
    "map": lambda net: vars(jax.tree.map(lambda leaf: leaf, net, is_leaf=is_list)).values(),
}


def is_list(value):
    return isinstance(value, list)


@pytest.mark.parametrize("name", LISTS)
def test_who_takes_a_module_apart_elsewhere_gets_copies_of_its_lists(name):
    net = Lists()

    @jax.jit
    def write(x):
        for part in LISTS[name](net):
            if is_list(part):
                part.append(x)
        return x

    with jax.checking_leaks():
        write(1.0)
    assert (len(net.log), len(net.layers), len(net.scales)) == (1, 1, 1)
