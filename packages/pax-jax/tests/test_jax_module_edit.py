"""apply, map, replace_method, replace_node, set_attribute, filter, operators, modes of pytrees, mutable."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax


class Net(pax.Module):
    def __init__(self):
        super().__init__()
        self.body = [pax.Linear(2, 3), pax.BatchNorm1D(3)]
        self.heads = {"a": pax.Linear(3, 1), "b": pax.Linear(3, 2)}

    def __call__(self, x):
        for layer in self.body:
            x = layer(x)
        return self.heads["a"](x)


def negative(self, x):
    return -x


def test_apply_goes_from_the_inside_out_and_leaves_the_module_alone():
    net, seen = Net(), []
    before = net.state_dict()

    def visit(module):
        seen.append(type(module).__name__)
        module.visited = True
        return module

    visited = net.apply(visit)
    assert seen == ["Linear", "BatchNorm1D", "Linear", "Linear", "Net"]
    assert visited.visited
    assert visited.heads["b"].visited
    assert not hasattr(net, "visited")
    assert net.state_dict() == before


def test_apply_submodules_leaves_out_the_module_itself():
    changed = Net().apply_submodules(lambda module: module.replace(name="inner"))
    assert (changed.name, changed.heads["a"].name) == (None, "inner")


def test_apply_can_change_the_class_of_every_module():
    changed = Net().apply(lambda m: pax.Sequential(m) if isinstance(m, pax.Linear) else m)
    assert isinstance(changed.body[0], pax.Sequential)
    assert changed(jnp.ones((4, 2))).shape == (4, 1)


def test_apply_with_a_function_that_returns_no_module_raises():
    with pytest.raises(TypeError, match=r"apply expects a function that returns a module; for Lin"):
        Net().apply(lambda module: None)


def test_submodules_are_those_directly_inside():
    net = Net()
    assert net.submodules() == [*net.body, net.heads["a"], net.heads["b"]]
    assert net.body[0].submodules() == []


def test_map_is_that_of_jax():
    net = Net()
    assert net.map(jnp.add, net) == jax.tree.map(jnp.add, net, net)


def test_replace_method():
    layer = pax.Linear(2, 2)
    other = layer.replace_method(__call__=negative)
    x = jnp.ones((1, 2))
    assert (other(x) == -x).all()
    assert repr(other) == repr(layer)
    assert isinstance(other, pax.Linear)
    assert type(other) is type(layer.replace_method(__call__=negative))
    assert jax.jit(lambda module: module(x))(other).tolist() == (-x).tolist()
    assert pickle.loads(pickle.dumps(other)) == other


def test_replace_method_with_no_function_raises():
    with pytest.raises(TypeError, match=r"replace_method expects functions, got 3 of type int for"):
        pax.Linear(1, 1).replace_method(__call__=3)


def test_replace_node_takes_arrays_and_modules():
    net = Net()
    assert net.replace_node(net.body[0].bias, None).body[0].bias is None
    changed = net.replace_node(net.heads["b"], pax.Linear(3, 5))
    assert changed.heads["b"].out_dim == 5
    assert net.heads["b"].out_dim == 2


@pytest.mark.parametrize("node", [jnp.ones(3), pax.Linear(1, 1)], ids=["array", "module"])
def test_replace_node_of_something_else_raises(node):
    with pytest.raises(ValueError, match=r"that Net holds once, got a .* that it holds 0 times"):
        Net().replace_node(node, None)


def test_set_attribute_adds_and_changes():
    layer = pax.Linear(2, 2).set_attribute("label", "head").set_attribute("bias", jnp.ones(2))
    assert (layer.label, layer.bias.tolist()) == ("head", [1.0, 1.0])
    assert layer.parameters().bias is not None


def test_filter_parts_a_module():
    net = Net().freeze().replace(heads=Net().heads)
    params, states = net.filter("parameter"), net.filter("state")
    assert params == net.parameters() == ~net
    assert len(jax.tree.leaves(params)) + len(jax.tree.leaves(states)) == len(jax.tree.leaves(net))
    assert states | params == net
    assert params.body[0].weight is None
    with pytest.raises(ValueError, match=r'filter keeps "parameter" or "state", got .gradient'):
        net.filter("gradient")


def test_or_takes_the_leaves_of_the_right_side():
    a, b = pax.BatchNorm1D(2), pax.BatchNorm1D(2).map(lambda leaf: leaf + 1.0)
    assert a | b == b
    assert a | ~b == a.update_parameters(b)
    assert (a.update_parameters(b)).ema_mean is a.ema_mean


TREE = {"net": Net(), "scale": jnp.ones(())}


@pytest.mark.parametrize(
    ("function", "method"),
    [
        (pax.enable_eval_mode, "eval"),
        (pax.enable_train_mode, "train"),
        (pax.freeze_parameters, "freeze"),
        (pax.unfreeze_parameters, "unfreeze"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_functions_on_pytrees_do_what_the_methods_do(function, method):
    changed = function(TREE)
    assert changed["net"] == getattr(TREE["net"], method)()
    assert changed["scale"] is TREE["scale"]


def test_modes_of_what_comes_out_can_be_changed_again_and_again():
    net = Net()
    for mode in (True, False, True, True, False):
        net = net.train(mode)
        assert [net.training, net.body[1].training, net.heads["b"].training] == [mode] * 3


def test_unfreeze_to_an_origin_keeps_what_it_did_not_train():
    net = Net()
    net.body[0] = net.body[0].freeze()
    net = net.copy()
    again = net.freeze().unfreeze(origin=net)
    assert again == net
    assert len(jax.tree.leaves(net.freeze().unfreeze().parameters())) == 8
    assert len(jax.tree.leaves(again.parameters())) == 6


def test_unfreeze_to_another_module_raises():
    with pytest.raises(ValueError, match=r"Cannot unfreeze Linear\(.*bias=True\) as BatchNorm1D"):
        pax.Linear(1, 1).unfreeze(origin=pax.BatchNorm1D(1))


def test_mutable_gives_a_copy_and_checks_it():
    net = Net()
    with pax.mutable(net) as changed:
        changed.label = "changed"
        changed.heads["a"] = pax.Linear(3, 4)
    assert changed.label == "changed"
    assert net.heads["a"].out_dim == 1
    with (
        pytest.raises(ValueError, match=r"Net\.body\[0\] and Net\.body\[1\] are the same Linear"),
        pax.mutable(net) as changed,
    ):
        changed.body[1] = changed.body[0]


def test_mutable_in_a_trace_changes_a_module_of_the_top_level():
    net = pax.BatchNorm1D(1)

    @jax.jit
    def call(x):
        with pax.mutable(net) as changed:
            y = changed(x)
        return changed, y

    with jax.checking_leaks():
        changed, _ = call(jnp.ones((4, 1)))
    assert float(changed.ema_mean[0]) == 1.0
    assert float(net.ema_mean[0]) == 0.0


@pytest.mark.parametrize(
    ("break_it", "error", "message"),
    [
        (lambda n: n.body.append(n.body[0]), ValueError, r"\.body\[0\] and Net\.body\[2\] are"),
        (
            lambda n: n.register_parameter("count", jnp.zeros((), jnp.int32)),
            ValueError,
            r"Net\.count is a parameter of dtype int32, which has no gradient",
        ),
        (
            lambda n: n.body[0].register_parameter_subtree("k", [jnp.zeros((), jnp.int32)]),
            ValueError,
            r"Linear\.k\[0\] is a parameter of dtype int32",
        ),
        (
            lambda n: n.body.append(jnp.tanh),
            TypeError,
            r"Net\.body\[2\] is a .* in a container of modules.*wrap a function in pax_jax\.Lambda",
        ),
    ],
    ids=["shared", "integer", "integer below", "function"],
)
def test_scan_bugs_finds(break_it, error, message):
    net = Net()
    assert net.scan_bugs() is net
    break_it(net)
    with pytest.raises(error, match=message):
        net.scan_bugs()


def test_scan_bugs_finds_what_a_static_object_took_up_later():
    class Config:
        pass

    config = Config()
    module = pax.Module()
    module.config = config
    module.scan_bugs()
    config.__self__ = pax.Linear(1, 1)
    with pytest.raises(TypeError, match=r"static attribute Module\.config holds an array or a mod"):
        module.scan_bugs()


def test_a_state_dict_goes_through_numpy():
    a, b = Net(), Net()
    saved = {name: np.asarray(array) for name, array in a.state_dict().items()}
    assert list(saved)[:2] == ["body.0.weight", "body.0.bias"]
    assert "heads.a.weight" in saved
    loaded = b.load_state_dict(saved)
    assert loaded == a
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(loaded))
    assert b != a


def test_a_state_dict_that_does_not_fit_names_every_path():
    net = Net()
    state = net.state_dict()
    del state["body.1.scale"], state["heads.b.bias"]
    state["extra"] = jnp.ones(1)
    state["body.0.weight"] = jnp.ones((3, 2))
    state["body.0.bias"] = jnp.ones(3, jnp.bfloat16)
    with pytest.raises(ValueError, match="does not fit Net") as caught:
        net.load_state_dict(state)
    assert str(caught.value).splitlines()[1:] == [
        "  body.1.scale is missing",
        "  heads.b.bias is missing",
        "  extra is unknown",
        "  body.0.weight is float32[3,2], expected float32[2,3]",
        "  body.0.bias is bfloat16[3], expected float32[3]",
    ]


def test_a_state_dict_with_two_arrays_at_one_path_raises():
    module = pax.StateModule()
    module.tables = {"a.b": jnp.ones(1), "a": {"b": jnp.ones(1)}}
    with pytest.raises(ValueError, match=r"Two arrays of StateModule have the path 'tables\.a\.b'"):
        module.state_dict()


def test_a_state_dict_has_random_keys():
    dropout = pax.Dropout(0.5)
    assert pax.Dropout(0.5).load_state_dict(dropout.state_dict()) == dropout


def test_a_structure_is_equal_to_that_of_a_copy():
    pax.assert_structure_equal(Net(), Net().copy())
    pax.assert_structure_equal({"a": (1, None)}, {"a": (jnp.ones(2), None)})


@pytest.mark.parametrize(
    ("other", "lines"),
    [
        (lambda net: net.eval().body[0], ["Net: Net and Linear"]),
        (
            lambda net: net.replace(body=[*net.body, pax.Linear(1, 1)]),
            ["Net.body: 2 and 3 items"],
        ),
        (
            lambda net: net.replace_node(net.body[0].bias, None).set_attribute("label", "x"),
            ["Net.label: nothing and 'x'", "Net.body[0].bias: Array and None"],
        ),
        (
            lambda net: net.replace_node(net.body[0], net.body[0].freeze()),
            [
                "Net.body[0].weight: parameter and frozen parameter",
                "Net.body[0].bias: parameter and frozen parameter",
            ],
        ),
    ],
    ids=["class", "items", "statics and leaves", "kinds"],
)
def test_structures_that_differ_are_told_apart_by_path(other, lines):
    net = Net()
    with pytest.raises(AssertionError, match="The structures differ") as caught:
        pax.assert_structure_equal(net, other(net))
    text = str(caught.value).replace("ArrayImpl", "Array")
    assert text.splitlines()[1:] == ["  " + line for line in lines]
