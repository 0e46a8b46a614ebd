"""Static values and containers that are changed in place: seen everywhere, or refused where they may not be."""

import argparse
import array
import collections
import copy
import dataclasses
import functools
import pickle
import types

import jax
import jax.numpy as jnp
import pytest

import pax_jax as pax


@dataclasses.dataclass
class Config:
    scale: float = 1.0


@dataclasses.dataclass(unsafe_hash=True)
class HashedConfig:
    scale: float = 1.0


@dataclasses.dataclass(eq=False)
class OwnConfig:
    scale: float = 1.0


@dataclasses.dataclass(slots=True)
class SlotConfig:
    scale: float = 1.0


class Unhashable:
    def __init__(self):
        self.scale = 1.0

    def __eq__(self, other):
        return self is other

    __hash__ = None


class Items(list):
    pass


class Plain:
    def __init__(self):
        self.scale = 1.0

    def get(self):
        return self.scale

    @functools.cached_property
    def square(self):
        return self.scale**2


class Slots:
    __slots__ = ("__scale",)

    def __init__(self):
        self.scale = 1.0

    @property
    def scale(self):
        return self.__scale

    @scale.setter
    def scale(self, value):
        self.__scale = value


class SlotsAndMore(Slots):
    pass


@dataclasses.dataclass(frozen=True)
class FrozenConfig:
    inner: Plain = dataclasses.field(default_factory=Plain)


def read_p(options, x):
    return options["p"]


def set_scale(config, value):
    config.scale = value


def set_item(key):
    def write(container, value):
        container[key] = value

    return write


# A value, how a number is read from it, and how it is changed in place.
VALUES = {
    "dict": (lambda: {"p": 1.0}, lambda v: v["p"], set_item("p")),
    "list": (lambda: [1.0], lambda v: v[0], set_item(0)),
    "nested": (lambda: {"a": [(1.0, {"p": 1.0})]}, lambda v: v["a"][0][1]["p"], None),
    "set": (lambda: {1.0}, lambda v: max(v), lambda v, new: v.add(new)),
    "tuple of lists": (lambda: ([1.0],), lambda v: v[0][0], lambda v, new: set_item(0)(v[0], new)),
    "ordered": (lambda: collections.OrderedDict(p=1.0), lambda v: v["p"], set_item("p")),
    "default": (
        lambda: collections.defaultdict(float, p=1.0),
        lambda v: v["p"],
        set_item("p"),
    ),
    "deque": (lambda: collections.deque([1.0]), lambda v: v[0], set_item(0)),
    "user list": (lambda: Items([1.0]), lambda v: v[0], set_item(0)),
    "user dict": (lambda: collections.UserDict(p=1.0), lambda v: v["p"], set_item("p")),
    "bytearray": (
        lambda: bytearray([1]),
        lambda v: float(v[0]),
        lambda v, new: set_item(0)(v, int(new)),
    ),
    "dataclass": (Config, lambda v: v.scale, set_scale),
    "hashed dataclass": (HashedConfig, lambda v: v.scale, set_scale),
    "dataclass without eq": (OwnConfig, lambda v: v.scale, set_scale),
    "dataclass with slots": (SlotConfig, lambda v: v.scale, set_scale),
    "dataclass in a list": (
        lambda: [Config()],
        lambda v: v[0].scale,
        lambda v, n: set_scale(v[0], n),
    ),
    "dataclass in a dataclass": (
        lambda: Config(Config()),
        lambda v: v.scale.scale,
        lambda v, new: set_scale(v.scale, new),
    ),
    "namespace": (lambda: types.SimpleNamespace(scale=1.0), lambda v: v.scale, set_scale),
    "arguments": (lambda: argparse.Namespace(scale=1.0), lambda v: v.scale, set_scale),
    "unhashable": (Unhashable, lambda v: v.scale, set_scale),
    "plain": (Plain, lambda v: v.scale, set_scale),
    "slots": (Slots, lambda v: v.scale, set_scale),
    "slots and attributes": (SlotsAndMore, lambda v: v.scale, set_scale),
    "in a frozen dataclass": (
        FrozenConfig,
        lambda v: v.inner.scale,
        lambda v, new: set_scale(v.inner, new),
    ),
    "bound method": (
        lambda: Plain().get,
        lambda v: v(),
        lambda v, new: set_scale(v.__self__, new),
    ),
    "partial": (
        lambda: functools.partial(read_p, {"p": 1.0}),
        lambda v: v(0),
        lambda v, new: set_item("p")(v.args[0], new),
    ),
    "array of numbers": (lambda: array.array("d", [1.0]), lambda v: v[0], set_item(0)),
}
READ_NESTED, WRITE_NESTED = VALUES["nested"][1], lambda v, new: set_item("p")(v["a"][0][1], new)
VALUES["nested"] = (VALUES["nested"][0], READ_NESTED, WRITE_NESTED)


class Holder(pax.Module):
    def __init__(self, value, read):
        super().__init__()
        self.w = jnp.ones(())
        self.value = value
        self.read = read

    def __call__(self, x):
        return x * self.w * self.read(self.value)


@pytest.mark.parametrize("name", VALUES)
def test_a_static_value_changed_in_place_is_seen_everywhere(name):
    make, read, write = VALUES[name]
    module = Holder(make(), read)
    call = jax.jit(lambda module, x: module(x))
    before = module.copy()
    assert call(module, 1.0) == module(1.0) == 1.0
    write(module.value, 7.0)
    assert module(1.0) == 7.0
    assert call(module, 1.0) == 7.0
    for other in (
        module.copy(),
        module.eval(),
        copy.copy(module),
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(Holder(module.value, None))),
        jax.tree.map(lambda leaf: leaf, module),
        module.update(module.parameters()),
        module.scan_bugs(),
    ):
        assert read(other.value) == 7.0
    assert call(module.eval(), 1.0) == 7.0
    assert call(before, 1.0) == before(1.0)  # a copy that was made before agrees with itself
    with pax.mutable(module) as changed:
        write(changed.value, 8.0)
    assert changed(1.0) == changed.eval()(1.0) == call(changed, 1.0) == 8.0


def test_a_view_of_a_dict_is_looked_through():
    options = {"p": 1.0}
    module = Holder(types.MappingProxyType(options), lambda v: v["p"])
    call = jax.jit(lambda module, x: module(x))
    assert call(module, 1.0) == 1.0
    options["p"] = 7.0
    assert call(module, 1.0) == module(1.0) == 7.0


def test_a_cached_property_is_no_change():
    module = Holder(Plain(), lambda v: v.square)
    structure = jax.tree.structure(module)
    assert module(2.0) == 2.0
    assert jax.tree.structure(module) == structure


def test_a_static_value_that_is_not_changed_compiles_once():
    for make, read, write in VALUES.values():
        module, traces = Holder(make(), read), []
        call = jax.jit(lambda module, x, traces=traces: traces.append(1) or module(x))
        for _ in range(3):
            call(module, 1.0)
            call(module.copy(), 1.0)
            read(module.value)
        assert len(traces) == 1
        structure = jax.tree.structure(module)
        write(module.value, 3.0)
        assert jax.tree.structure(module) != structure


# So their classes say.
COMPARED_BY_IDENTITY = ("dataclass without eq", "unhashable", "plain", "slots")
COMPARED_BY_IDENTITY += ("slots and attributes", "in a frozen dataclass", "bound method", "partial")


@pytest.mark.parametrize("name", [name for name in VALUES if name not in COMPARED_BY_IDENTITY])
def test_a_static_value_that_may_change_equals_another_one_that_holds_the_same(name):
    make, read, write = VALUES[name]
    module, other = Holder(make(), read), Holder(make(), read)
    made = [other, copy.deepcopy(module), pickle.loads(pickle.dumps(Holder(make(), None)))]
    made[2].read = read
    for like in made:
        assert jax.tree.structure(like) == jax.tree.structure(module)
        assert like == module
    traces = []
    call = jax.jit(lambda module, x: traces.append(1) or module(x))
    for each in (module, *made):
        call(each, 1.0)
    assert len(traces) == 1
    write(module.value, 7.0)
    back = jax.jit(lambda module: module)(other)
    for like in (other, other.copy(), back, jax.tree.map(lambda leaf: leaf, other)):
        assert read(like.value) == call(like, 1.0) == 1.0
        assert jax.tree.structure(like) != jax.tree.structure(module)
    write(back.value, 7.0)
    assert read(other.value) == 1.0
    assert jax.tree.structure(back) == jax.tree.structure(module)


def test_what_differs_in_what_its_class_keeps_is_no_other_value():
    def structure(value):
        return jax.tree.structure(Holder(value, None))

    filled = collections.deque([1], maxlen=2)
    assert structure(filled) != structure(collections.deque([1]))
    filled = collections.defaultdict(int, a=1)
    assert structure(filled) != structure(collections.defaultdict(float, a=1))
    assert structure(types.SimpleNamespace(a=1, b=2)) == structure(types.SimpleNamespace(b=2, a=1))
    assert structure(Config(1)) != structure(Config(1.0))


def test_a_static_value_that_comes_to_hold_an_array_or_a_module_is_refused():
    for value, message in ((pax.Linear(1, 1), "container of modules"), (jnp.ones(1), "register_")):
        module = Holder({"p": 1.0}, None)
        module.value["layer"] = value
        for look in (module.scan_bugs, module.copy, lambda m=module: jax.tree.leaves(m)):
            with pytest.raises(TypeError, match=message):
                look()
    module = Holder(Config(), None)
    module.value.scale = jnp.ones(())
    with pytest.raises(TypeError, match=r"Holder\.value holds .* an array in a Config"):
        module.scan_bugs()


def test_what_holds_itself_or_cannot_be_read_stays_static():
    config = Config()
    config.scale = config
    module = Holder(config, None)
    assert module.copy().value is config
    assert jax.tree.structure(module) == jax.tree.structure(module.copy())


class Stats(pax.Module):
    def __init__(self, value, method="register_state_subtree"):
        super().__init__()
        getattr(self, method)("stats", value)
        self.options = {"p": [1.0]}
        self.seen = {1}
        self.log = collections.deque([1])


WRITES = {
    "dict": (lambda: {"a": jnp.zeros(())}, lambda v, x: v.__setitem__("a", x)),
    "dict update": (lambda: {"a": jnp.zeros(())}, lambda v, x: v.update(a=x)),
    "dict or": (lambda: {"a": jnp.zeros(())}, lambda v, x: v.__ior__({"a": x})),
    "dict default": (lambda: {"a": jnp.zeros(())}, lambda v, x: v.setdefault("b", x)),
    "dict pop": (lambda: {"a": jnp.zeros(())}, lambda v, x: v.pop("a")),
    "dict del": (lambda: {"a": jnp.zeros(())}, lambda v, x: v.__delitem__("a")),
    "list": (lambda: [jnp.zeros(())], lambda v, x: v.__setitem__(0, x)),
    "list append": (lambda: [jnp.zeros(())], lambda v, x: v.append(x)),
    "list slice": (lambda: [jnp.zeros(())], lambda v, x: v.__setitem__(slice(0, 1), [x])),
    "list add": (lambda: [jnp.zeros(())], lambda v, x: v.__iadd__([x])),
    "list clear": (lambda: [jnp.zeros(())], lambda v, x: v.clear()),
    "inner": (lambda: {"a": [jnp.zeros(())]}, lambda v, x: v["a"].append(x)),
    "in a tuple": (lambda: ({"a": jnp.zeros(())},), lambda v, x: v[0].update(a=x)),
    "ordered": (
        lambda: collections.OrderedDict(a=jnp.zeros(())),
        lambda v, x: v.__setitem__("a", x),
    ),
    "default": (
        lambda: collections.defaultdict(list, a=[jnp.zeros(())]),
        lambda v, x: v["b"].append(x),
    ),
}
PASSED = {
    "jit": lambda module, run: jax.jit(lambda x: run(module, x))(jnp.ones(2)),
    "grad": lambda module, run: jax.grad(lambda x, m: run(m, x))(jnp.ones(2), module),
    "vmap": lambda module, run: jax.vmap(lambda x: run(module, x))(jnp.ones(2)),
    "inner jit": lambda module, run: jax.jit(lambda m, x: jax.jit(lambda x: run(m, x))(x))(
        module, jnp.ones(2)
    ),
}


@pytest.mark.parametrize("passed", PASSED.values(), ids=PASSED)
@pytest.mark.parametrize("name", WRITES)
def test_a_container_is_changed_only_where_its_module_was_made(name, passed):
    make, write = WRITES[name]
    module = Stats(make())
    before = module.copy()

    def run(module, x):
        write(module.stats, x.mean())
        return x.sum()

    with pytest.raises(RuntimeError, match=r"Cannot set Stats\.stats here"):
        passed(module, run)
    assert module == before


@pytest.mark.parametrize(
    "write",
    [
        lambda m: m.options.update(q=1),
        lambda m: m.options["p"].append(2.0),
        lambda m: m.seen.add(2),
        lambda m: m.log.append(2),
        lambda m: m.layers.append(pax.Linear(1, 1, rng_key=jax.random.key(0))),
        lambda m: m.layers.sort(),
    ],
)
def test_static_containers_and_lists_of_modules_too(write):
    module = Stats({"a": jnp.zeros(())})
    module.layers = [pax.Linear(1, 1)]

    @jax.jit
    def run(x):
        write(module)
        return x

    with pytest.raises(RuntimeError, match="Cannot set Stats"):
        run(1.0)


def test_containers_may_be_changed_where_the_module_was_made():
    @jax.jit
    def run(module, x):
        module.stats["a"] = x
        module.stats["b"].append(x)
        own = Stats({"a": x})
        own.stats["a"] = 2 * x
        return module, own, jax.grad(lambda x: changed(module.copy(), x))(x)

    def changed(module, x):
        module.stats["a"] = x * x
        return module.stats["a"]

    module, own, slope = run(Stats({"a": jnp.zeros(()), "b": [jnp.zeros(())]}), 3.0)
    assert (module.stats["a"], len(module.stats["b"]), own.stats["a"], slope) == (3.0, 2, 6.0, 6.0)
    module.stats["a"] = jnp.ones(())
    assert module.state_dict()["stats.a"] == 1.0


def test_a_container_that_is_only_read_is_what_it_was():
    module = Stats({"b": jnp.ones(2), "a": [jnp.zeros(2), (jnp.ones(1),)]})
    module.layers = [pax.Linear(2, 2), pax.Linear(2, 2)]

    @jax.jit
    def read(x):
        stats = module.stats
        assert isinstance(stats, dict)
        assert isinstance(stats["a"], list)
        assert list(stats) == ["b", "a"]
        assert type(stats.copy()) is dict
        assert type(stats["a"][:]) is list
        doubled = jax.tree.map(lambda leaf: 2 * leaf, stats)
        assert type(doubled) is dict
        assert type(doubled["a"]) is list
        assert type(copy.deepcopy(module.options)["p"]) is list
        plain = {"b": x, "a": [x, (x,)]}
        paths = [path for path, _ in jax.tree.leaves_with_path(stats)]
        assert paths == [path for path, _ in jax.tree.leaves_with_path(plain)]
        for layer in module.layers:
            x = layer(x)
        return x, doubled, len(module.log), 1 in module.seen

    _, doubled, length, seen = read(jnp.ones(2))
    assert (doubled["b"] == 2).all()
    assert (length, seen) == (1, True)
    assert isinstance(module.stats, dict)
