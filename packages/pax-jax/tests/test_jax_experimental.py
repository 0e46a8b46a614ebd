"""Flattener, lazy modules, weights as dicts, graphs."""

import copy
import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax
from pax_jax.experimental import Flattener
from pax_jax.experimental.graph import GraphModule, InputNode, Node, build_graph_module


class Net(pax.Module):
    def __init__(self):
        super().__init__()
        self.layers = [pax.Linear(2, 3), pax.BatchNorm1D(3)]
        self.scale = jnp.ones(3)

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x * jnp.broadcast_to(self.scale, x.shape)


def test_a_flattener_gives_back_what_it_was_given():
    net, extra = Net(), {"a": jnp.ones(1), "none": None}
    flat = Flattener(net=net, extra=extra, empty=())
    assert flat.net == net
    assert flat.extra == extra
    assert flat.empty == ()
    assert jax.tree.leaves(flat) == jax.tree.leaves((net, extra))
    assert repr(flat) == "Flattener(net, extra, empty)"


def test_a_flattener_passes_through_jit_and_is_updated():
    @jax.jit
    def step(flat, x):
        net = flat.net
        y = net(x)
        return flat.update(net=net, y=y)

    with jax.checking_leaks():
        flat = step(Flattener(net=Net(), other=pax.Linear(1, 1)), jnp.ones((4, 2)))
    assert float(flat.net.layers[1].ema_weight) == pytest.approx(0.1)
    assert flat.y.shape == (4, 3)
    assert flat.other.in_dim == 1
    assert flat.eval().net.training


def test_a_packed_flattener_keeps_a_vector_for_each_dtype():
    trees = {
        "net": Net(),
        "dropout": pax.Dropout(0.5),
        "numbers": (jnp.arange(3), jnp.int32(5), jnp.ones((2, 0)), jnp.array(1.0), 2.5),
    }
    flat = Flattener.packed(**trees)
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(flat)]
    assert shapes == [(25,), (4,), (), (), ()]
    for name, tree in trees.items():
        same = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), getattr(flat, name), tree)
        assert jax.tree.all(same)
    assert flat.update(net=pax.Linear(1, 1)).dropout == trees["dropout"]


def test_a_packed_flattener_steps_as_its_modules_do():
    def step(net, x):
        grads, net = pax.grad(lambda net: (jnp.sum(net(x) ** 2), net), has_aux=True)(net)
        return net.update(jax.tree.map(lambda p, g: p - 0.1 * g, ~net, grads))

    @pax.jit(donate_argnums=0)
    def packed(flat, x):
        return flat.update(net=step(flat.net, x))

    net, x = Net(), jnp.arange(8.0).reshape(4, 2)
    flat = Flattener.packed(net=net)
    for _ in range(3):
        net, old, flat = jax.jit(step)(net, x), flat, packed(flat, x)
    for a, b in zip(jax.tree.leaves(net), jax.tree.leaves(flat.net), strict=True):
        assert jnp.allclose(a, b, rtol=1e-5, atol=1e-6)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old))


def test_a_flattener_refuses():
    flat = Flattener(net=Net())
    with pytest.raises(
        ValueError, match=r"Flattener\(net\) has no parameters of its own. Take the"
    ):
        flat.parameters()
    with pytest.raises(AttributeError, match=r"Flattener has no attribute 'model'"):
        _ = flat.model
    for name in ("update", "packed", "training"):
        with pytest.raises(AttributeError, match=f"A flattener cannot hold '{name}': every module"):
            Flattener(**{name: Net()})


@dataclasses.dataclass
class MLP(pax.LazyModule):
    features: list

    def __call__(self, x):
        sizes = zip(self.features[:-1], self.features[1:], strict=True)
        for i, (in_dim, out_dim) in enumerate(sizes):
            layer = self.get_or_create(f"fc_{i}", partial(pax.Linear, in_dim, out_dim))
            x = jax.nn.relu(layer(x))
        return x


def test_a_lazy_module_makes_its_parts_once():
    mlp = MLP([1, 2, 3])
    made, y = mlp % jnp.ones((1, 1))
    again, z = made % jnp.ones((1, 1))
    assert (y == z).all()
    assert again == made
    assert len(jax.tree.leaves(made.parameters())) == 4
    assert not hasattr(mlp, "fc_0")


def test_a_lazy_module_has_no_parameters_before_it_made_any():
    with pytest.raises(
        ValueError, match=r"MLP\(features=\[1, 2\]\) has made none of its parts yet"
    ):
        MLP([1, 2]).parameters()
    with pytest.raises(ValueError, match="Call it first"):
        pax.LazyModule(training=False).parameters()


def test_a_lazy_module_made_outside_a_trace_makes_nothing_inside():
    lazy = pax.LazyModule()
    with pytest.raises(RuntimeError, match=r"Cannot set LazyModule\.table here"):
        jax.jit(lambda x: lazy.get_or_create("table", lambda: x))(jnp.ones((1, 1)))


def test_get_or_create_expects_a_function():
    with pytest.raises(TypeError, match="get_or_create expects a function that makes 'fc', got 3"):
        pax.LazyModule().get_or_create("fc", 3)


def test_weights_go_through_a_dict():
    a, b = Net(), Net()
    weights = pax.experimental.save_weights_to_dict(a)
    assert list(weights) == ["layers", "scale"]
    assert list(weights["layers"][0]) == ["weight", "bias"]
    assert pax.experimental.load_weights_from_dict(b, weights) == a
    assert b != a


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: w.pop("scale"),
            r"do not fit Net, which has layers, scale, and they have layers\.",
        ),
        (lambda w: w["layers"].pop(), r"do not fit Net\.layers: "),
        (
            lambda w: w["layers"][0].pop("bias"),
            r"do not fit Net\.layers\[0\], which has weight, bias",
        ),
        (
            lambda w: w.update(scale=jnp.ones(2)),
            r"Net\.scale, of shape \(3,\): the dict has \(2,\)",
        ),
        (lambda w: w.update(scale=None), r"Net\.scale"),
        (lambda w: w.update(scale=1.0), r"Net\.scale, of shape \(3,\): the dict has float there"),
    ],
    ids=["attribute", "items", "below", "shape", "none", "number"],
)
def test_weights_that_do_not_fit_raise_where(change, message):
    weights = pax.experimental.save_weights_to_dict(Net())
    change(weights)
    with pytest.raises(ValueError, match=message):
        pax.experimental.load_weights_from_dict(Net(), weights)


X, Y = jnp.array([1.0, 2.0]), jnp.array([3.0, 5.0])

OPERATIONS = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "//": lambda x, y: x // y,
    "%": lambda x, y: x % y,
    "**": lambda x, y: x**y,
    "@": lambda x, y: x @ y,
    "constants": lambda x, y: 2.0 + (1.0 - x) * 3.0 / y - 1.0,
    "reflected": lambda x, y: 2.0**x + 7.0 // y + 7.0 % y + 1.0 / x,
    "unary": lambda x, y: -x + abs(-y) + (+x),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_operators_compute_what_they_do_on_arrays(operation):
    net = build_graph_module(operation)(jnp.ones(2), jnp.ones(2))
    assert (net(X, Y) == operation(X, Y)).all()
    assert (pax.jit(net)(X, Y) == operation(X, Y)).all()


def test_tuples_and_arguments():
    def forward(x, y):
        both = x & (y >> jnp.negative) & x
        three = (x | y | x) >> (lambda a, b, c: a + b * c)
        return (both >> (lambda xs: xs[0] + xs[1] * xs[2])) & three

    net = build_graph_module(forward)(X, Y)
    a, b = net(X, Y)
    assert a.tolist() == (X - Y * X).tolist()
    assert b.tolist() == (X + Y * X).tolist()


def test_a_graph_of_modules_is_trained():
    def forward(x):
        y = x >> pax.Linear(2, 2) >> pax.BatchNorm1D(2) >> jax.nn.relu
        return x + y

    net = build_graph_module(forward)(jnp.ones((4, 2)))
    assert float(net.modules[1].ema_weight) == 0.0
    changed, y = jax.jit(pax.purecall)(net, jnp.ones((4, 2)))
    assert y.shape == (4, 2)
    assert float(changed.modules[1].ema_weight) == pytest.approx(0.1)
    grads = pax.grad(lambda net, x: jnp.sum(net(x)))(net, jnp.ones((4, 2)))
    assert grads.modules[0].weight.shape == (2, 2)


def test_a_module_takes_several_arguments():
    class Scaled(pax.Module):
        def __call__(self, x, y):
            return x * y

    net = build_graph_module(lambda x, y: (x | y) >> Scaled())(X, Y)
    assert net(X, Y).tolist() == (X * Y).tolist()


def test_an_input_may_have_a_function_of_its_own():
    x = InputNode(X, jnp.negative)
    net = GraphModule([x], x + 1.0)
    assert net(X).tolist() == [0.0, -1.0]


def test_a_node_used_twice_is_computed_once():
    calls = []

    def counted(x):
        calls.append(1)
        return 2.0 * x

    def forward(x):
        y = x >> counted
        return y + y * y

    net = build_graph_module(forward)(X)
    calls.clear()
    assert net(X).tolist() == [6.0, 20.0]
    assert len(calls) == 1


def test_a_long_chain_of_nodes():
    def forward(x):
        for _ in range(1500):
            x = x + 1.0
        return x

    assert build_graph_module(forward)(jnp.zeros(()))(jnp.zeros(())) == 1500.0


def shared(x):
    layer = pax.Linear(2, 2)
    return (x >> layer) + (x >> layer)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: build_graph_module(shared)(jnp.ones((1, 2))),
            ValueError,
            "stands at two nodes of",
        ),
        (
            lambda: GraphModule([InputNode(X)], InputNode(X) >> jnp.tanh),
            ValueError,
            "InputNode.* is an input of the graph and not among `inputs`",
        ),
        (lambda: build_graph_module(lambda x: X)(X), TypeError, "expects a node as output, got"),
        (
            lambda: build_graph_module(lambda x: x + 1.0)(X)(X, Y),
            TypeError,
            "GraphModule takes 1 arguments, got 2",
        ),
    ],
    ids=["shared", "input", "output", "arguments"],
)
def test_graphs_that_cannot_be(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_nodes_are_equal_only_to_themselves():
    x, y = InputNode(1), InputNode(1)
    assert x != y
    assert len({x, y, x}) == 2
    assert repr(Node((), jnp.tanh, 1)) == "Node(Lambda(tanh), 1)"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_node_of_a_graph_is_not_copied(copied):
    node = InputNode(jnp.ones(2))
    with pytest.raises(TypeError, match="InputNode cannot be copied"):
        copied(node)


def test_the_arguments_of_a_function_are_the_parents_of_its_node():
    x, y = InputNode(jnp.ones(2)), InputNode(jnp.zeros(2))
    made = (x | y) >> jnp.add
    assert made.parents == (x, y)
    assert x.binary_ops(jnp.subtract, y).parents == (x, y)
    np.testing.assert_array_equal(made.fx((x.value, y.value)), 1)
    np.testing.assert_array_equal(GraphModule([x, y], made - x)(2.0 * x.value, x.value), 1)
