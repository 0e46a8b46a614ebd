"""update, freeze, train, copy, replace, summary, equality, copying and pickling."""

import copy
import gc
import pickle

import jax
import jax.numpy as jnp
import pytest

import pax_jax as pax


class Net(pax.Module):
    def __init__(self, width=3):
        super().__init__()
        self.hidden = pax.Linear(2, width)
        self.norm = pax.BatchNorm1D(width)
        self.tail = pax.Sequential(pax.Dropout(0.5), jax.nn.relu, pax.Linear(width, 1))
        self.count = jnp.zeros((), jnp.int32)

    def __call__(self, x):
        self.count = self.count + 1
        return self.tail(self.norm(self.hidden(x)))


def leaves(tree):
    return jax.tree.leaves(tree)


def test_parameters_have_none_for_every_other_leaf():
    params = Net().parameters()
    assert params.count is None
    assert params.norm.ema_mean is None
    assert params.tail.modules[0].rng_key is None
    assert len(leaves(params)) == 6


def test_update_takes_the_leaves_that_are_there():
    net = Net()
    twice = jax.tree.map(lambda p: 2 * p, net.parameters())
    updated = net.update(twice)
    assert updated.parameters() == twice
    assert updated.count is net.count
    assert net.parameters() != twice


def test_update_keeps_the_mode_and_the_kinds_of_the_module():
    net = Net()
    params = net.parameters()
    updated = net.eval().freeze().update(params)
    assert not updated.training
    assert leaves(updated.parameters()) == []


@pytest.mark.parametrize(
    ("other", "error", "message"),
    [
        (lambda: pax.Linear(2, 3), TypeError, "Cannot update Net, a Net, with a Linear"),
        (lambda: {"a": 1}, TypeError, "Cannot update Net, a Net, with a dict"),
        (
            lambda: Net().replace(norm=pax.Linear(1, 1)),
            TypeError,
            r"Cannot update Net\.norm, a BatchNorm1D, with a Linear",
        ),
        (
            lambda: Net().replace(tail=pax.Sequential(jax.nn.relu)),
            ValueError,
            r"structure at Net\.tail\.modules",
        ),
        (
            lambda: Net().replace(hidden=pax.Linear(2, 3, with_bias=False)),
            ValueError,
            r"Cannot update Net\.hidden: it has the attributes weight, bias, and .* weight",
        ),
    ],
    ids=["class", "dict", "submodule", "container", "attributes"],
)
def test_update_with_another_structure_raises_where(other, error, message):
    with pytest.raises(error, match=message):
        Net().update(other())


def test_freeze_and_unfreeze():
    net = Net()
    frozen = net.freeze()
    assert leaves(frozen.parameters()) == []
    assert len(leaves(frozen)) == len(leaves(net))
    assert frozen.unfreeze() == net
    net.hidden = net.hidden.freeze()
    assert len(leaves(net.parameters())) == 4


def test_unfreeze_leaves_states_alone():
    assert Net().unfreeze().parameters().count is None


def test_train_and_eval_reach_every_module():
    net = Net()
    modes = [m.training for m in (net.eval(), net.eval().tail, net.eval().tail.modules[0])]
    assert modes == [False] * 3
    assert jax.tree.structure(net.eval().train()) == jax.tree.structure(net)
    assert net.training
    assert jax.tree.structure(net.eval()) != jax.tree.structure(net)


def test_copy_is_independent():
    net = Net()
    other = net.copy()
    other.count = jnp.ones((), jnp.int32)
    other.hidden.bias = None
    assert int(net.count) == 0
    assert net.hidden.bias is not None


@pytest.mark.parametrize("method", ["copy", "freeze", "eval", "parameters"])
def test_methods_return_new_modules_at_every_level(method):
    net = Net()
    other = getattr(net, method)()
    for a, b in [
        (net, other),
        (net.tail, other.tail),
        (net.tail.modules[2], other.tail.modules[2]),
    ]:
        assert a is not b


def test_replace():
    net = Net()
    other = net.replace(count=jnp.ones((), jnp.int32), hidden=pax.Linear(2, 3))
    assert int(other.count) == 1
    assert int(net.count) == 0
    with pytest.raises(
        AttributeError, match="Net has no attribute 'cuont' to replace; it has hidden"
    ):
        net.replace(cuont=3)


def test_summary_draws_a_tree():
    net = Net()
    assert net.summary(return_list=True, arrays=False) == [
        "Net",
        "├── hidden: Linear(in_dim=2, out_dim=3, with_bias=True)",
        f"├── norm: {net.norm.summary(arrays=False)}",
        "└── tail: Sequential",
        "    ├── modules[0]: Dropout(dropout_rate=0.5)",
        "    ├── modules[1]: x => relu(x)",
        "    └── modules[2]: Linear(in_dim=3, out_dim=1, with_bias=True)",
    ]
    assert net.summary() == "\n".join(net.summary(return_list=True))


def test_the_name_is_shown():
    assert repr(pax.Linear(1, 1, name="head")).startswith("(head) Linear(in_dim=1")


def test_equality_is_by_structure_and_leaves():
    net = Net()
    assert net == net.copy()
    assert net != net.eval()
    assert net != net.replace(count=jnp.ones((), jnp.int32))
    assert net != net.replace(count=jnp.zeros((), jnp.float32))
    assert net != "net"


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_and_pickles_are_equal_and_of_the_same_structure(duplicate):
    net = Net()
    net(jnp.ones((2, 2)))
    other = duplicate(net)
    assert other == net
    assert jax.tree.structure(other) == jax.tree.structure(net)
    other.count = jnp.full((), 7, jnp.int32)
    assert int(net.count) == 1


def test_select_and_update_parameters_of_any_pytree():
    tree = {"net": Net(), "scale": jnp.ones(()), "none": None}
    params = pax.select_parameters(tree)
    assert params["scale"] is tree["scale"]
    assert len(leaves(params)) == 7
    updated = pax.update_parameters(tree, jax.tree.map(jnp.zeros_like, params))
    assert float(updated["scale"]) == 0.0
    assert updated["net"].count is tree["net"].count


def test_keypaths_name_attributes():
    paths = [p for p, _ in jax.tree_util.tree_leaves_with_path(Net().parameters())]
    assert jax.tree_util.keystr(paths[-1]) == ".tail.modules[2].bias"


def test_a_frozen_copy_outlives_the_module_it_was_made_from():
    class Named(pax.Module):
        def __init__(self):
            super().__init__()
            self.register_parameter("weight", jnp.ones(1))
            self.label = "kept"

    frozen = Named().freeze()
    gc.collect()
    assert frozen.copy().label == "kept"


def test_a_module_that_cannot_be_called_says_what_can():
    class Rule(pax.Module):
        def step(self, grads, model):
            return model

    with pytest.raises(TypeError, match=r"Rule cannot be called.*module_and_value\(module\.step\)"):
        pax.purecall(Rule(), 1.0, 2.0)
    assert pax.module_and_value(Rule().step)(1.0, 2.0)[1] == 2.0
    with pytest.raises(TypeError, match=r"Module cannot be called.*module\.method"):
        pax.module_and_value(pax.Module())
