"""Which attributes of a module are parameters, states, modules or static."""

import copy
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax


def module_with(**attributes):
    module = pax.Module()
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def test_an_array_is_state_unless_registered():
    module = module_with(count=jnp.zeros(2))
    module.register_parameter("weight", jnp.ones(2))
    params = module.parameters()
    assert params.count is None
    assert params.weight is module.weight


def test_the_kind_stays_when_the_value_changes():
    module = pax.Module()
    module.register_parameter("weight", jnp.ones(2))
    module.weight = jnp.zeros(2)
    assert module.parameters().weight is module.weight


def test_attributes_are_leaves_in_the_order_of_first_assignment():
    module = module_with(b=jnp.zeros(1), a=jnp.ones(1), n=3)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(module)]
    assert paths == [".b", ".a"]


@pytest.mark.parametrize(
    "value",
    [
        3,
        2.5,
        "text",
        None,
        True,
        jax.nn.relu,
        (1, 2),
        [1, "a"],
        {"k": 1},
        np.float32(2),
        jnp.float32,
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_values_are_static(value):
    module = module_with(x=value)
    assert jax.tree.leaves(module) == []
    assert module.x is value
    assert jax.tree.map(lambda leaf: leaf, module).x == value


@pytest.mark.parametrize(("a", "b"), [(1, 1.0), (1, True), (0.0, -0.0)])
def test_static_values_differ_by_type_and_value(a, b):
    assert jax.tree.structure(module_with(x=a)) != jax.tree.structure(module_with(x=b))
    assert jax.tree.structure(module_with(x=a)) == jax.tree.structure(module_with(x=a))


@pytest.mark.parametrize(
    "wrap",
    [lambda m: m, lambda m: [m], lambda m: (m, None), lambda m: {"a": {"b": m}}],
    ids=["module", "list", "tuple", "nested dict"],
)
def test_modules_and_containers_of_modules_are_submodules(wrap):
    layer = pax.Linear(2, 3)
    net = module_with(layer=wrap(layer))
    assert [leaf.shape for leaf in jax.tree.leaves(net.parameters())] == [(2, 3), (3,)]


def test_a_list_filled_after_it_was_assigned_is_seen():
    class Stack(pax.Module):
        def __init__(self):
            super().__init__()
            self.layers = []
            self.sizes = []
            for size in (1, 2):
                self.layers.append(pax.Linear(size, size))
                self.sizes.append(size)

    stack = Stack()
    assert len(jax.tree.leaves(stack.parameters())) == 4
    assert jax.tree.map(jnp.zeros_like, stack).sizes == [1, 2]
    assert jax.tree.structure(stack) == jax.tree.structure(Stack())


def test_register_subtrees():
    module = pax.Module()
    module.register_parameter_subtree("weights", {"a": jnp.ones(1), "b": [jnp.ones(2)]})
    module.register_state_subtree("moments", (jnp.ones(1), 3))
    module.register_module_subtree("layers", [pax.Linear(1, 1)])
    module.register_module("last", pax.Linear(1, 1))
    params = module.parameters()
    assert params.moments == (None, None)
    assert len(jax.tree.leaves(params)) == 2 + 2 + 2


def test_parameters_method_declares_names_and_is_inherited():
    class Base(pax.Module):
        parameters = pax.parameters_method("a")

    class Derived(Base):
        parameters = pax.parameters_method("b")

    module = Derived()
    module.a, module.b, module.c = jnp.ones(1), [jnp.ones(1)], jnp.ones(1)
    assert len(jax.tree.leaves(module.parameters())) == 2


@pytest.mark.parametrize(("base", "count"), [(pax.ParameterModule, 3), (pax.StateModule, 0)])
def test_the_base_class_says_what_arrays_are(base, count):
    class Part(base):
        def __init__(self):
            super().__init__()
            self.a = jnp.ones(1)
            self.tree = {"b": jnp.ones(1), "c": [jnp.ones(1)]}

    assert len(jax.tree.leaves(Part().parameters())) == count
    assert len(jax.tree.leaves(Part())) == 3


def test_a_static_none_becomes_a_child_when_it_is_given_an_array():
    layer = pax.Linear(1, 1, with_bias=False)
    layer.bias = jnp.zeros(1)
    assert layer.parameters().bias is layer.bias


@dataclasses.dataclass
class Config:
    table: object


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([jnp.ones(1)], r"Module\.x\[0\] is an array, .*register_parameter_subtree\('x'"),
        ({"a": np.ones(1)}, r"Module\.x\['a'\] is an array"),
        (functools.partial(jnp.add, jnp.ones(1)), r"static attribute Module\.x holds an array"),
        (Config([jnp.ones(1)]), r"static attribute Module\.x holds an array"),
        (pax.Linear(1, 1).__call__, r"static attribute Module\.x holds an array or a module"),
        ([pax.Linear(1, 1), jnp.ones(1)], r"Module\.x\[1\] is a .* in a container of modules"),
        ([pax.Linear(1, 1), jax.nn.relu], r"wrap a function in pax_jax\.Lambda"),
    ],
    ids=["list", "dict", "partial", "dataclass", "bound method", "mixed", "function"],
)
def test_hidden_arrays_and_modules_raise_naming_the_attribute(value, message):
    with pytest.raises(TypeError, match=message):
        module_with(x=value)


@pytest.mark.parametrize("base", [pax.ParameterModule, pax.StateModule])
@pytest.mark.parametrize("beside", [jax.nn.relu, "a", object()], ids=["function", "str", "object"])
def test_something_else_among_arrays_raises(base, beside):
    class Good(base):
        def __init__(self):
            super().__init__()
            self.x = {"a": [jnp.ones(1)]}

    module = Good()
    with pytest.raises(TypeError, match=r"Good\.y\[1\] is a .* among arrays"):
        module.y = [jnp.ones(1), beside]
    module.x["a"].append(beside)
    with pytest.raises(TypeError, match=r"Good\.x\['a'\]\[1\] is a .* among arrays"):
        module.scan_bugs()
    module.x = beside
    with pytest.raises(TypeError, match=r"Good\.x is a .* among arrays"):
        module.scan_bugs()


def test_numbers_and_shapes_beside_arrays_are_leaves():
    class Moments(pax.StateModule):
        def __init__(self):
            super().__init__()
            self.x = [jnp.ones(2), 1.5, None, np.float32(2)]

    assert len(jax.tree.leaves(Moments())) == 3
    shapes = jax.eval_shape(Moments)
    assert shapes.scan_bugs() is shapes


def test_a_list_filled_with_arrays_raises_at_construction():
    class Bad(pax.Module):
        def __init__(self):
            super().__init__()
            self.weights = []
            self.weights.append(jnp.ones(1))

    with pytest.raises(TypeError, match=r"Bad\.weights\[0\] is an array"):
        Bad()


def test_a_class_attribute_that_is_an_array_raises():
    with pytest.raises(TypeError, match=r"class attribute Bad\.table is an array.* __init__"):
        type("Bad", (pax.Module,), {"table": jnp.ones(1)})


@pytest.mark.parametrize(
    ("method", "value", "message"),
    [
        ("register_parameter", 3.0, "expects an array or None .* got 3.0 of type float"),
        ("register_state", [np.ones(1)], "expects an array or None .*_subtree"),
        ("register_module", 3, "expects a module, got 3"),
        ("register_module_subtree", [3], "expects a pytree of modules"),
        ("register_parameter_subtree", ["a"], "expects a pytree of arrays and numbers"),
    ],
)
def test_registering_the_wrong_thing_raises(method, value, message):
    with pytest.raises(TypeError, match=message):
        getattr(pax.Module(), method)("x", value)


@pytest.mark.parametrize("name", ["update", "parameters", "register_state"])
def test_a_method_cannot_be_overwritten(name):
    with pytest.raises(AttributeError, match=f"Module.{name}: it is a method"):
        setattr(pax.Module(), name, 3)
    with pytest.raises(AttributeError, match=f"Module.{name}: it is a method"):
        pax.Module().register_state(name, jnp.ones(1))


def test_deleting_an_attribute_raises():
    with pytest.raises(AttributeError, match="None"):
        del module_with(x=3).x


def shared_array():
    w = jnp.ones(1)
    return [("a", w), ("b", w)]


def shared_module():
    layer = pax.Linear(1, 1)
    return [("a", layer), ("b", [layer])]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (shared_array, r"Net\.a and Net\.b are the same array"),
        (shared_module, r"Net\.a and Net\.b\[0\] are the same Linear"),
    ],
)
def test_sharing_raises_at_construction(attributes, message):
    class Net(pax.Module):
        def __init__(self):
            super().__init__()
            for name, value in attributes():
                setattr(self, name, value)

    with pytest.raises(ValueError, match=message):
        Net()


def test_sharing_is_found_in_a_sequential():
    layer = pax.Linear(1, 1)
    with pytest.raises(ValueError, match=r"modules\[0\] and Sequential\.modules\[1\] are the same"):
        pax.Sequential(layer, layer)


def test_an_exception_in_init_does_not_switch_the_check_off():
    class Fails(pax.Module):
        def __init__(self):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        Fails()
    test_sharing_is_found_in_a_sequential()


@pytest.mark.parametrize("value", [[1], {"a": 1}, {1}, ([1],)], ids=repr)
def test_a_static_container_changed_in_place_changes_no_other_module(value):
    module = module_with(x=value)
    other = module.copy()
    inner = other.x[0] if isinstance(other.x, tuple) else other.x
    inner.clear()
    assert module.x == value
    assert module.copy().x == value
    assert module_with(x=copy.deepcopy(value)).copy().x == value


@dataclasses.dataclass
class Whole:
    """A pytree that is static in a module, as opax's transformations are."""

    array: jax.Array
    _is_static = True


jax.tree_util.register_pytree_node(
    Whole, lambda node: ((node.array,), None), lambda _, children: Whole(*children)
)


@pytest.mark.parametrize("put", [lambda x: x, lambda x: [x], lambda x: {"a": [x]}])
def test_a_pytree_whose_class_says_so_is_static(put):
    value = put(Whole(jnp.ones(2)))
    module = module_with(x=value)
    assert jax.tree.leaves(module) == []
    assert type("Holder", (pax.Module,), {"x": value}).x is value
    with pytest.raises(TypeError, match=r"\[1\] is an array, and it is not said"):
        module_with(x=(value, jnp.ones(2)))
    with pytest.raises(TypeError, match=r"is a Whole in a container of modules"):
        module_with(x=[Whole(jnp.ones(2)), pax.Linear(1, 1)])
