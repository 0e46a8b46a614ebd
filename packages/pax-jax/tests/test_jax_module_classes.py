"""Classes of modules: dataclasses, class attributes, slots, deletion, pickles in another process."""

import dataclasses
import operator
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

import pax_jax as pax


@dataclasses.dataclass
class MLP(pax.Module):
    sizes: list
    scale: float = 2.0
    hidden: pax.Module = dataclasses.field(init=False)

    def __post_init__(self):
        self.hidden = pax.Linear(*self.sizes)

    def __call__(self, x):
        return self.scale * self.hidden(x)


def test_a_dataclass_is_a_module_with_its_fields_as_attributes():
    net = MLP([2, 3], scale=3.0)
    lines = net.summary(return_list=True, arrays=False)
    assert lines == [
        "MLP(sizes=[2, 3], scale=3.0)",
        "└── hidden: Linear(in_dim=2, out_dim=3, with_bias=True)",
    ]
    assert (net.training, net.name) == (True, None)
    y = jax.jit(lambda net, x: net(x))(net, jnp.ones((1, 2)))
    assert y.shape == (1, 3)


def test_dataclasses_compare_as_modules():
    net = MLP([2, 3])
    assert net == net.copy()
    assert net != MLP([2, 3])
    assert net != net.replace(scale=5.0)


def test_a_class_may_define_equality_itself():
    class Same(pax.Module):
        def __eq__(self, other):
            return True

        __hash__ = None

    assert Same() == 3
    with pytest.raises(TypeError, match="unhashable"):
        hash(Same())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"frozen": True}, r"Net defines __setattr__, .*for a dataclass, `frozen=True`"),
        ({"slots": True}, r"The class Net defines __slots__, .*for a dataclass, `slots=True`"),
    ],
    ids=["frozen", "slots"],
)
def test_options_of_dataclasses_that_do_not_fit_raise(option, message):
    with pytest.raises(TypeError, match=message):

        @dataclasses.dataclass(**option)
        class Net(pax.Module):
            size: int


def test_slots_raise():
    with pytest.raises(TypeError, match="The class Net defines __slots__, which JAX would not see"):

        class Net(pax.Module):
            __slots__ = ("weight",)


VALUES = {
    "array": (lambda: jnp.ones(2), "is an array"),
    "array in a list": (lambda: [1, jnp.ones(2)], "holds an array"),
    "array in a dict": (lambda: {"a": (jnp.ones(2),)}, "holds an array"),
    "module": (lambda: pax.Linear(1, 1), "is the module Linear"),
    "module in a tuple": (lambda: (pax.Linear(1, 1),), "holds the module Linear"),
}


@pytest.mark.parametrize(("value", "message"), VALUES.values(), ids=VALUES)
def test_arrays_and_modules_in_class_attributes_raise(value, message):
    expected = rf"The class attribute Net\.table {message}.*Assign it in __init__ \(in a dataclass"
    with pytest.raises(TypeError, match=expected):
        type(pax.Module)("Net", (pax.Module,), {"table": value()})

    class Net(pax.Module):
        table = (1, 2)

    with pytest.raises(TypeError, match=expected):
        Net.table = value()
    assert Net().table == (1, 2)


def test_an_attribute_cannot_be_deleted():
    layer = pax.Linear(1, 1)
    with pytest.raises(
        AttributeError, match=r"Linear\.bias cannot be deleted.*assign None instead"
    ):
        del layer.bias
    assert layer.bias is not None


PROGRAM = """
import pickle, sys
import jax
import pax_jax as pax
net = pickle.load(sys.stdin.buffer)
again = pickle.loads(pickle.dumps(net))
assert again == net and jax.tree.structure(again) == jax.tree.structure(net)
assert not net.training
net.modules[0].bias = net.modules[0].bias + 1.0
pickle.dump((net, type(net.modules[1]) is type(net.modules[2])), sys.stdout.buffer)
"""


def test_pickles_cross_processes():
    net = pax.Sequential(
        pax.Linear(2, 3),
        pax.Lambda(jnp.abs).replace_method(__call__=operator.neg),
        pax.Lambda(jnp.abs),
        pax.Dropout(0.5),
    ).eval()
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=pickle.dumps(net), capture_output=True, check=True
    )
    changed, same = pickle.loads(result.stdout)
    assert not same
    assert jax.tree.structure(changed) == jax.tree.structure(net)
    assert (changed.modules[0].bias == net.modules[0].bias + 1.0).all()
