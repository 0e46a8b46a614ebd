"""multi_transform: each parameter is stepped by the optimizer of its label."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pax_torch as pax
from pax_tree import GetAttrKey

SGD, ADAMW, MUON = torch.optim.SGD, torch.optim.AdamW, torch.optim.Muon


class Pair(NamedTuple):
    w: object
    b: object


def net_params():
    torch.manual_seed(0)
    layers = torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2)
    return pax.get_params(torch.nn.Sequential(*layers))


def grads_like(params, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return pax.tree_map(lambda x: torch.randn(x.shape, generator=generator), params)


def assert_same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def is_matrix(params):
    return pax.tree_map(lambda p: p.dim() > 1, params)


@pytest.mark.parametrize("donate", [False, True])
def test_no_weight_decay_for_norms_and_biases(donate):
    """The same as torch's parameter groups."""
    params = net_params()
    variables = {name: p.clone().requires_grad_() for name, p in params.items()}
    groups = [
        {"params": [p for p in variables.values() if p.dim() > 1], "weight_decay": 0.5},
        {"params": [p for p in variables.values() if p.dim() == 1], "weight_decay": 0.0},
    ]
    reference = ADAMW(groups, lr=0.1)
    make = lambda decay: pax.functional_optimizer(  # noqa: E731
        ADAMW, lr=0.1, weight_decay=decay, donate=donate
    )
    optimizer = pax.multi_transform({True: make(0.5), False: make(0.0)}, is_matrix)
    state = optimizer.init(params)
    for step in range(20):
        grads = grads_like(params, step)
        for name, variable in variables.items():
            variable.grad = grads[name].clone()
        reference.step()
        params, state = optimizer.step(params, grads, state)
    assert_same(params, {name: p.detach() for name, p in variables.items()})


def test_classes_may_differ():
    params = net_params()
    grads = grads_like(params)
    parts = {True: pax.functional_optimizer(MUON), False: pax.functional_optimizer(ADAMW)}
    optimizer = pax.multi_transform(parts, is_matrix)
    new, state = optimizer.step(params, grads, optimizer.init(params))
    for name, p in params.items():
        alone = parts[p.dim() > 1]
        assert_same(new[name], alone.step(p, grads[name], alone.init(p))[0])
    assert set(state) == {True, False}


def test_labels_as_a_prefix():
    params = {"body": {"w": torch.ones(2), "b": torch.ones(1)}, "head": [torch.ones(3)]}
    optimizer = pax.multi_transform(
        {
            "slow": pax.functional_optimizer(SGD, lr=0.1),
            "fast": pax.functional_optimizer(SGD, lr=1),
        },
        {"body": "slow", "head": "fast"},
    )
    new, _ = optimizer.step(params, params, optimizer.init(params))
    assert_same(
        new,
        {
            "body": {"w": torch.full((2,), 0.9), "b": torch.full((1,), 0.9)},
            "head": [torch.zeros(3)],
        },
    )


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=6))
def test_any_labels_step_as_each_alone(labels):
    rates = {"a": 0.1, "b": 0.2, "c": 0.3}
    optimizers = {k: pax.functional_optimizer(SGD, lr=v, momentum=0.9) for k, v in rates.items()}
    params = [torch.tensor(float(i + 1)) for i in range(len(labels))]
    optimizer = pax.multi_transform(optimizers, labels, allow_unused=True)
    together, state = params, optimizer.init(params)
    for _ in range(3):
        together, state = optimizer.step(together, together, state)
    for label, start, end in zip(labels, params, together, strict=True):
        alone, state = start, optimizers[label].init(start)
        for _ in range(3):
            alone, state = optimizers[label].step(alone, alone, state)
        assert_same(end, alone)


def test_a_label_that_no_parameter_has():
    sgd = pax.functional_optimizer(SGD, lr=1.0)
    labels = lambda params: {name: "bias" if name == "bais" else "rest" for name in params}  # noqa: E731
    message = "No parameter has the label 'bias', .* they have 'rest'"
    params = net_params()
    with pytest.raises(ValueError, match=message):
        pax.multi_transform({"bias": sgd, "rest": sgd}, labels).init(params)
    allowed = pax.multi_transform({"bias": sgd, "rest": sgd}, labels, allow_unused=True)
    assert_same(
        allowed.step(params, params, allowed.init(params))[0], sgd.step(params, params, {})[0]
    )
    assert allowed.init({}) == {"bias": {}, "rest": {}}


def two_groups():
    sgd = pax.functional_optimizer(SGD, lr=1.0)
    adam = pax.functional_optimizer(torch.optim.Adam, lr=1.0)
    return pax.multi_transform({"s": sgd, "a": adam}, {"x": "s", "y": "a"})


PARAMS = {"x": torch.tensor(1.0), "y": torch.tensor(1.0)}


def test_overrides():
    optimizer = two_groups()
    state = optimizer.init(PARAMS)
    both, _ = optimizer.step(PARAMS, PARAMS, state, lr=0.0)
    assert_same(both, PARAMS)
    one, _ = optimizer.step(PARAMS, PARAMS, state, lr={"a": 0.0})
    assert_same(one, {"x": torch.tensor(0.0), "y": torch.tensor(1.0)})
    only_sgd, _ = optimizer.step(PARAMS, PARAMS, state, momentum=0.9, lr=0.5)
    assert_same(only_sgd["x"], torch.tensor(0.5))


def test_missing_gradient():
    optimizer = two_groups()
    new, _ = optimizer.step(PARAMS, {"x": PARAMS["x"], "y": None}, optimizer.init(PARAMS))
    assert new["y"] is PARAMS["y"]


def test_update():
    optimizer = two_groups()
    state = optimizer.init(PARAMS)
    updates, _ = optimizer.compute_update(PARAMS, PARAMS, state)
    new, _ = optimizer.step(PARAMS, PARAMS, state)
    assert_same(pax.tree_map(torch.add, PARAMS, updates), new)


class Twins:
    """A node whose two leaves have one name."""

    def __init__(self, *leaves):
        self.leaves = leaves


pax.register_pytree_with_keys(
    Twins,
    lambda twins: ([(GetAttrKey("leaf"), leaf) for leaf in twins.leaves], None),
    lambda _, leaves: Twins(*leaves),
)


def test_states_have_their_own_parameters_alone():
    """So that all of them together are as large as the parameters, whatever the number of labels."""
    leaves = [torch.full((i + 1,), float(i)) for i in range(6)]
    params = {"a": Pair(leaves[0], [leaves[1], None]), "b": {0: leaves[2], "x": leaves[3]}}
    labels = {"a": Pair("one", ["two", None]), "b": {0: "one", "x": "two"}}
    adam = pax.functional_optimizer(torch.optim.Adam)
    state = pax.multi_transform({"one": adam, "two": adam}, labels).init(params)
    zeros = [torch.zeros_like(leaf) for leaf in leaves]
    assert_same(state["one"]["exp_avg"], {"a": {"w": zeros[0]}, "b": {0: zeros[2]}})
    assert_same(state["two"]["exp_avg"], {"a": {"b": {0: zeros[1]}}, "b": {"x": zeros[3]}})
    alone = pax.multi_transform({"one": adam}, "one").init(leaves[0])
    assert_same(alone["one"]["exp_avg"], zeros[0])


def test_parameters_of_one_name_are_told_apart():
    params = Twins(torch.ones(2), torch.ones(3))
    parts = {label: pax.functional_optimizer(SGD, lr=label, momentum=0.9) for label in (1.0, 2.0)}
    for labels in (Twins(1.0, 2.0), 1.0):
        optimizer = pax.multi_transform(parts, labels, allow_unused=True)
        new, state = optimizer.step(params, params, optimizer.init(params))
        new, _ = optimizer.step(new, params, state)
        for label, end, start in zip(
            pax.tree_leaves(labels) * 2, new.leaves, params.leaves, strict=False
        ):
            alone, state = parts[label].step(start, start, parts[label].init(start))
            assert_same(end, parts[label].step(alone, start, state)[0])


def test_a_group_in_a_group_has_labels_like_all_parameters():
    params = {"x": torch.ones(1), "y": torch.ones(1), "z": torch.ones(1)}
    sgd = [pax.functional_optimizer(SGD, lr=0.1 * i) for i in range(3)]
    inner = pax.multi_transform({1: sgd[1], 2: sgd[2]}, {"x": 1, "y": 1, "z": 2})
    optimizer = pax.multi_transform(
        {"in": inner, "out": sgd[0]}, {"x": "out", "y": "in", "z": "in"}
    )
    new, _ = optimizer.step(params, params, optimizer.init(params))
    assert_same(new, {"x": torch.ones(1), "y": torch.tensor([0.9]), "z": torch.tensor([0.8])})


def test_labels_may_change_between_steps():
    params = {"x": torch.ones(1), "y": torch.ones(1)}
    sgd = {label: pax.functional_optimizer(SGD, lr=label) for label in (0.0, 1.0)}
    labels = {"x": 0.0, "y": 1.0}
    optimizer = pax.multi_transform(sgd, lambda params: labels)
    state = optimizer.init(params)
    assert_same(optimizer.step(params, params, state)[0], {"x": torch.ones(1), "y": torch.zeros(1)})
    labels = {"x": 1.0, "y": 0.0}
    assert_same(optimizer.step(params, params, state)[0], {"x": torch.zeros(1), "y": torch.ones(1)})


def test_under_vmap():
    optimizer = two_groups()
    many = pax.tree_map(lambda x: torch.stack([x, 2 * x, 3 * x]), PARAMS)
    first = lambda p: optimizer.step(p, p, optimizer.init(p))[0]  # noqa: E731
    together = torch.func.vmap(first)(many)
    alone = [first(pax.tree_map(lambda x, i=i: x[i], many)) for i in range(3)]
    torch.testing.assert_close(together, pax.tree_map(lambda *x: torch.stack(x), *alone))


class TestErrors:
    def test_no_dictionary(self):
        with pytest.raises(TypeError, match="expected a dictionary from labels to optimizers"):
            pax.multi_transform([pax.functional_optimizer(SGD)], "a")

    def test_unknown_label(self):
        optimizer = pax.multi_transform({"a": pax.functional_optimizer(SGD)}, {"x": "a", "y": "b"})
        with pytest.raises(ValueError, match=r"params\['y'\] has label 'b'.*there are 'a'"):
            optimizer.init(PARAMS)

    def test_labels_of_another_structure(self):
        optimizer = pax.multi_transform({"a": pax.functional_optimizer(SGD)}, {"x": "a"})
        with pytest.raises(ValueError, match="param_labels is no prefix of params"):
            optimizer.init(PARAMS)

    def test_unknown_override(self):
        optimizer = two_groups()
        with pytest.raises(TypeError, match="No optimizer has a hyperparameter 'rho'"):
            optimizer.step(PARAMS, PARAMS, optimizer.init(PARAMS), rho=1)
        with pytest.raises(TypeError, match="lr is given for label 'z'"):
            optimizer.step(PARAMS, PARAMS, optimizer.init(PARAMS), lr={"z": 1})

    def test_state_of_another_type(self):
        with pytest.raises(TypeError, match=r"step\(params, grads, state\)"):
            two_groups().step(PARAMS, PARAMS, [])

    def test_no_optimizer(self):
        for other in (torch.optim.SGD, "sgd", None):
            with pytest.raises(TypeError, match="expected an optimizer for label 'a', such as"):
                pax.multi_transform({"a": other}, "a")

    def test_lbfgs(self):
        lbfgs = pax.functional_optimizer(torch.optim.LBFGS)
        with pytest.raises(TypeError, match=r"cannot use .*LBFGS.* \(label 'a'\): .* the loss"):
            pax.multi_transform({"a": lbfgs}, "a")

    def test_override_for_a_label_that_has_none(self):
        sgd, adam = (pax.functional_optimizer(c) for c in (torch.optim.SGD, torch.optim.Adam))
        optimizer = pax.multi_transform({"a": sgd, "b": adam}, {"x": "a", "y": "b"})
        params = {"x": torch.ones(()), "y": torch.ones(())}
        with pytest.raises(TypeError, match="momentum is given for label 'b', whose optimizer has"):
            optimizer.step(params, params, optimizer.init(params), momentum={"b": 0.9})

    def test_state_without_a_label(self):
        sgd = pax.functional_optimizer(torch.optim.SGD)
        optimizer = pax.multi_transform({"a": sgd, "b": sgd}, {"x": "a", "y": "b"})
        params = {"x": torch.ones(()), "y": torch.ones(())}
        with pytest.raises(ValueError, match="The state has no part for label 'b', only for 'a'"):
            optimizer.step(params, params, {"a": {}})
