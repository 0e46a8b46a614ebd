"""What Python's own classes and habits do with modules."""

import abc
import collections.abc
import copy
import dataclasses
import functools
import inspect
import pickle
import types
import typing

import jax
import jax.numpy as jnp
import pytest

import pax_jax as pax

T = typing.TypeVar("T")


class Callable(typing.Protocol):
    def __call__(self, x): ...


@typing.runtime_checkable
class Sized(typing.Protocol):
    def size(self): ...


class Base(pax.Module, abc.ABC):
    @abc.abstractmethod
    def __call__(self, x): ...


class Layer(Base):
    def __init__(self):
        super().__init__()
        self.weight = jnp.ones(2)

    def __call__(self, x):
        return x * self.weight


class Box(pax.Module, typing.Generic[T]):
    def __init__(self, value):
        super().__init__()
        self.value = value


class Items(pax.Module, collections.abc.Sequence):
    def __init__(self, *items):
        super().__init__()
        self.items = list(items)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Table(collections.abc.Mapping, pax.Module):
    def __init__(self, **items):
        super().__init__()
        self.items_ = items

    def __len__(self):
        return len(self.items_)

    def __iter__(self):
        return iter(self.items_)

    def __getitem__(self, key):
        return self.items_[key]


def same(module):
    """What is left of a module after each way to take it apart and to put it together."""
    yield jax.tree.map(lambda leaf: leaf, module)
    yield jax.jit(lambda module: module)(module)
    yield copy.deepcopy(module)
    yield pickle.loads(pickle.dumps(module))


BASES = [
    abc.ABC,
    Callable,
    Sized,
    typing.Generic[T],
    collections.abc.Sequence,
    collections.abc.Mapping,
    collections.abc.Callable,
    collections.abc.Hashable,
]


@pytest.mark.parametrize("base", BASES, ids=str)
def test_a_module_may_have_any_abstract_base(base):
    assert issubclass(types.new_class("Both", (pax.Module, base)), pax.Module)


@pytest.mark.parametrize("bases", [(pax.Module,), (pax.Module, abc.ABC)], ids=["Module", "ABC"])
def test_an_abstract_class_cannot_be_made(bases):
    def call(self, x): ...

    cls = type(pax.Module)("Abstract", bases, {"__call__": abc.abstractmethod(call)})
    with pytest.raises(TypeError, match="Can't instantiate abstract class Abstract"):
        cls()
    with pytest.raises(TypeError, match="abstract"):
        Base()
    assert (Layer()(2.0) == 2.0).all()


@pytest.mark.parametrize(
    "make",
    [
        Layer,
        lambda: Box[int](jnp.ones(1)),
        lambda: Items(pax.Linear(1, 1)),
        lambda: Table(a=pax.Linear(1, 1)),
    ],
    ids=["abstract", "generic", "sequence", "mapping"],
)
def test_modules_of_such_classes_are_pytrees(make):
    module = make()
    assert len(jax.tree.leaves(module)) > 0
    for other in same(module):
        assert type(other) is type(module)
        assert jax.tree.structure(other) == jax.tree.structure(module)


def test_mixins_and_registrations_do_what_they_do_elsewhere():
    items = Items(pax.Linear(1, 2), pax.Linear(2, 3))
    assert isinstance(items, collections.abc.Sequence)
    assert [layer.out_dim for layer in items] == [2, 3]
    assert items.index(items[1]) == 1
    assert dict(Table(a=pax.Linear(1, 1)).items()).keys() == {"a"}
    assert not isinstance(3, Layer)
    assert not isinstance(pax.Linear(1, 1), Base)
    assert isinstance(Layer(), Base)
    Base.register(complex)
    assert isinstance(1j, Base)

    class WithSize(pax.Module):
        def size(self):
            return 3

    assert isinstance(WithSize(), Sized)
    assert not isinstance(Layer(), Sized)
    assert inspect.getattr_static(Layer(), "weight").shape == (2,)


def test_a_generic_module_has_one_structure():
    plain, typed = Box(jnp.ones(1)), Box[float](jnp.ones(1))
    assert jax.tree.structure(plain) == jax.tree.structure(typed)
    assert not hasattr(typed, "__orig_class__")


def test_properties_stand_in_front_of_attributes():
    class Positive(pax.Module):
        def __init__(self):
            super().__init__()
            self.register_parameter("raw", jnp.zeros(2))

        @property
        def weight(self):
            return jnp.exp(self.raw)

        @weight.setter
        def weight(self, value):
            self.raw = jnp.log(value)

        @weight.deleter
        def weight(self):
            self.raw = jnp.zeros(2)

        @property
        def size(self):
            return self.raw.size

    module = Positive()
    module.weight = jnp.full(2, 3.0)
    assert list(module.state_dict()) == ["raw"]
    assert module.copy().weight[0] == pytest.approx(3.0)
    del module.weight
    assert module.weight[0] == 1.0
    with pytest.raises(AttributeError, match="size"):
        module.size = 3
    for register in (module.register_parameter, module.register_state):
        with pytest.raises(TypeError, match="'weight' is a property of the class"):
            register("weight", jnp.ones(2))


def test_what_a_module_cannot_do_is_refused_in_a_sentence():
    layer = pax.Linear(1, 1)
    with pytest.raises(TypeError, match=r"Linear\.__class__ cannot be set, because the class of a"):
        layer.__class__ = Layer
    assert type(layer.copy()) is pax.Linear
    with pytest.raises(
        AttributeError, match=r"Linear\.weight cannot be deleted.*assign None instead"
    ):
        del layer.weight
    with pytest.raises(TypeError, match="frozen=True"):
        dataclasses.dataclass(frozen=True)(type(pax.Module)("Frozen", (pax.Module,), {}))
    with pytest.raises(TypeError, match=r"Net\.norm is a cached_property, whose value would stay"):
        type(pax.Module)("Net", (pax.Module,), {"norm": functools.cached_property(lambda self: 1)})


def test_dir_lists_the_attributes_and_what_the_class_has():
    layer = pax.Linear(1, 1)
    assert {"weight", "bias", "in_dim", "parameters", "__call__", "__class__"} <= set(dir(layer))
    assert set(vars(layer)) <= set(dir(layer))
    assert "weight" in dir(layer.copy())


def test_names_that_python_looks_for_in_the_class_are_refused():
    layer = pax.Linear(1, 1)
    with pytest.raises(AttributeError, match=r"Linear\.__call__: Python looks for it in the class"):
        layer.__call__ = lambda x: x
    for name in ("training", "name"):
        with pytest.raises(TypeError, match=rf"Linear\.{name} is set to a ArrayImpl"):
            setattr(layer, name, jnp.ones(()))


def test_a_class_may_make_something_else():
    class Five(pax.Module):
        def __new__(cls):
            return 5

    assert Five() == 5
