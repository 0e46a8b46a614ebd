"""functional_optimizer: its state, overrides, gradients through a step, and errors."""
# ruff: noqa: E731

import gc
import io
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

import pax_torch as pax

PARAMS = {"b": torch.tensor([1.0, 2.0]), "w": [torch.ones(2, 2), None]}
GRADS = {"b": torch.tensor([0.5, 0.5]), "w": [torch.full((2, 2), 2.0), None]}


def assert_same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def adam(**options):
    return pax.functional_optimizer(torch.optim.Adam, lr=0.1, **options)


class TestState:
    def test_names_hold_trees_like_the_parameters(self):
        optimizer = adam()
        state = optimizer.init(PARAMS)
        assert set(state) == {"step", "exp_avg", "exp_avg_sq"}
        _, later = optimizer.step(PARAMS, GRADS, state)
        for tree in (*state.values(), *later.values()):
            assert pax.tree_structure(tree) == pax.tree_structure(PARAMS)

    def test_leaves_are_tensors_or_numbers(self):
        _, state = adam().step(PARAMS, GRADS, adam().init(PARAMS))
        assert all(isinstance(x, torch.Tensor | int | float) for x in pax.tree_leaves(state))

    def test_prints(self):
        assert repr(adam().init(torch.tensor(3.0))) == (
            "{'step': tensor(0.), 'exp_avg': tensor(0.), 'exp_avg_sq': tensor(0.)}"
        )

    def test_survives_saving(self):
        optimizer = adam()
        params, state = optimizer.step(PARAMS, GRADS, optimizer.init(PARAMS))
        file = io.BytesIO()
        torch.save((params, state), file)
        file.seek(0)
        loaded = torch.load(file, weights_only=True)
        assert_same(
            optimizer.step(loaded[0], GRADS, loaded[1]), optimizer.step(params, GRADS, state)
        )

    def test_maps(self):
        optimizer = adam()
        state = pax.tree_map(torch.clone, optimizer.init(PARAMS))
        assert_same(
            optimizer.step(PARAMS, GRADS, state),
            optimizer.step(PARAMS, GRADS, optimizer.init(PARAMS)),
        )

    def test_parameters_with_different_states(self):
        params = {"matrix": torch.ones(2, 3), "vector": torch.ones(3)}
        state = pax.functional_optimizer(torch.optim.Adafactor).init(params)
        assert (state["row_var"]["vector"], state["variance"]["matrix"]) == (None, None)
        assert state["row_var"]["matrix"].shape == (2, 1)

    def test_no_parameters(self):
        optimizer = adam()
        assert optimizer.init({}) == {}
        assert optimizer.step({}, {}, {}) == ({}, {})

    def test_number_and_array_parameters(self):
        optimizer = pax.functional_optimizer(torch.optim.SGD, lr=0.5)
        params = {"array": np.ones(2, np.float32), "number": 3.0}
        grads = {"array": np.ones(2, np.float32), "number": 2.0}
        new, _ = optimizer.step(params, grads, optimizer.init(params))
        assert_same(new, {"array": torch.full((2,), 0.5), "number": torch.tensor(2.0)})
        assert (params["array"] == 1).all()


class TestStep:
    def test_missing_gradient_leaves_a_parameter_alone(self):
        optimizer = adam()
        state = optimizer.init(PARAMS)
        params, new_state = optimizer.step(PARAMS, {"b": None, "w": GRADS["w"]}, state)
        assert params["b"] is PARAMS["b"]
        assert new_state["exp_avg"]["b"] is state["exp_avg"]["b"]
        assert_same(new_state["step"], {"b": torch.tensor(0.0), "w": [torch.tensor(1.0), None]})
        nothing, _ = optimizer.step(PARAMS, pax.tree_map(lambda _: None, PARAMS), state)
        assert_same(nothing, PARAMS)

    def test_several_overrides(self):
        params, grads = torch.tensor(1.0), torch.tensor(1.0)
        plain = pax.functional_optimizer(torch.optim.SGD, lr=0.0)
        given = pax.functional_optimizer(torch.optim.SGD, lr=0.1, weight_decay=0.5)
        assert_same(
            plain.step(params, grads, {}, lr=0.1, weight_decay=0.5), given.step(params, grads, {})
        )
        assert_same(plain.step(params, grads, {})[0], params)

    def test_state_that_depends_on_the_learning_rate(self):
        optimizer = pax.functional_optimizer(torch.optim.Rprop, lr=0.1)
        assert_same(optimizer.init(torch.tensor(1.0), lr=0.5)["step_size"], torch.tensor(0.5))

    def test_tensor_learning_rate(self):
        optimizer = pax.functional_optimizer(torch.optim.SGD, lr=0.0)
        params, _ = optimizer.step(PARAMS, GRADS, {}, lr=torch.tensor(0.5))
        assert_same(params, optimizer.step(PARAMS, GRADS, {}, lr=0.5)[0])

    def test_results_have_no_graph(self):
        params = pax.tree_map(lambda x: x.clone().requires_grad_(), PARAMS)
        result = adam().step(params, GRADS, adam().init(params))
        assert not any(x.requires_grad for x in pax.tree_leaves(result))
        assert all(x.requires_grad and x.grad is None for x in pax.tree_leaves(params))

    def test_inference_mode(self):
        expected = adam().step(PARAMS, GRADS, adam().init(PARAMS))
        with torch.inference_mode():
            result = adam().step(PARAMS, GRADS, adam().init(PARAMS))
        assert_same(result, expected)
        assert_same(
            adam().step(result[0], GRADS, result[1]), adam().step(expected[0], GRADS, expected[1])
        )

    def test_complex_parameters(self):
        z = torch.tensor([1.0 + 2.0j])
        reference = z.clone().requires_grad_()
        optimizer = torch.optim.Adam([reference], lr=0.1)
        reference.grad = z
        optimizer.step()
        params, _ = adam().step(z, z, adam().init(z))
        assert_same(params, reference.detach())

    def test_trains_a_module(self):
        net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        forward, params = pax.functional_module(net), pax.get_params(net)
        x = torch.randn(64, 2)
        y = x[:, :1] * x[:, 1:]
        loss = lambda params: (forward(params, x)[0] - y).square().mean()
        optimizer = adam()
        state, first = optimizer.init(params), loss(params)
        for _ in range(100):
            params, state = optimizer.step(params, pax.grad(loss)(params), state)
        assert loss(params) < 0.1 * first

    @pytest.mark.parametrize("donate", [False, True], ids=["pure", "donate"])
    @pytest.mark.parametrize("cls", [torch.optim.Adam, torch.optim.SGD, torch.optim.Adafactor])
    def test_no_tensor_stays_alive(self, cls, donate):
        optimizer = pax.functional_optimizer(cls, lr=1e-3, donate=donate)
        start = pax.tree_clone(PARAMS)
        params, state = optimizer.step(start, GRADS, optimizer.init(start))
        params, state = optimizer.step(params, GRADS, state)
        gc.collect()
        gc.disable()
        try:
            before = live_tensors()
            for _ in range(1000):
                params, state = optimizer.step(params, GRADS, state)
            assert live_tensors() < before + 10  # far less than one a step
        finally:
            gc.enable()

    def test_no_graph_stays_alive(self):
        """A differentiable step holds the graph of its own results alone."""
        optimizer = adam(differentiable=True)
        start = PARAMS["b"].clone().requires_grad_()

        def trained():
            params, state = start, optimizer.init(start)
            for _ in range(3):
                params, state = optimizer.step(params, params**2, state)
            return torch.autograd.grad(params.sum(), start)[0]

        trained()
        gc.collect()
        gc.disable()
        try:
            before = live_tensors()
            for _ in range(100):
                trained()
            assert live_tensors() < before + 10  # far less than one a step
        finally:
            gc.enable()

    def test_threads(self):
        optimizer = adam()
        expected = run(optimizer, 30)
        results = [None] * 6

        def work(i):
            results[i] = run(optimizer, 30)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for result in results:
            assert_same(result, expected)


class Foreign(torch.optim.Optimizer):
    """An optimizer of somebody else, with state."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["sign"] = p.grad.sign() + state.get("sign", 0)
                p.add_(state["sign"], alpha=-group["lr"])


class TestDonation:
    def test_memory_is_reused(self):
        optimizer = adam(donate=True)
        params = pax.tree_map(torch.clone, PARAMS)
        state = optimizer.init(params)
        pointers = [x.data_ptr() for x in pax.tree_leaves((params, state))]
        expected = adam().step(PARAMS, GRADS, adam().init(PARAMS))
        new = optimizer.step(params, GRADS, state)
        assert_same(new, expected)
        assert [x.data_ptr() for x in pax.tree_leaves(new)] == pointers
        assert_same((params, state), expected)

    def test_update_leaves_the_parameters(self):
        optimizer = adam(donate=True)
        params = pax.tree_map(torch.clone, PARAMS)
        state = optimizer.init(params)
        updates, new_state = optimizer.compute_update(params, GRADS, state)
        assert_same(params, PARAMS)
        assert new_state["exp_avg"]["b"] is state["exp_avg"]["b"]
        new, _ = adam().step(PARAMS, GRADS, adam().init(PARAMS))
        torch.testing.assert_close(pax.tree_map(torch.add, params, updates), new)

    def test_parameters_of_a_module(self):
        """Their own gradients and flags stay, and results carry no graph."""
        net = torch.nn.Linear(2, 1)
        net(torch.ones(1, 2)).sum().backward()
        params = dict(net.named_parameters())
        before = {name: p.grad.clone() for name, p in params.items()}
        new, _ = adam(donate=True).step(params, before, adam().init(params))
        assert_same({name: p.grad for name, p in params.items()}, before)
        assert all(p.requires_grad for p in params.values())
        assert not any(p.requires_grad for p in new.values())
        assert_same(new, {name: p.detach() for name, p in params.items()})

    def test_nothing_is_reused_under_vmap(self):
        optimizer = adam(donate=True)
        params = torch.ones(3)
        new = torch.func.vmap(lambda p: optimizer.step(p, p, optimizer.init(p))[0])(params)
        assert_same(params, torch.ones(3))
        torch.testing.assert_close(new, torch.full((3,), 0.9))

    def test_error_changes_nothing(self):
        optimizer = adam(donate=True)
        params = pax.tree_map(torch.clone, PARAMS)
        state = optimizer.init(params)
        with pytest.raises(ValueError, match="has shape"):
            optimizer.step(params, {"b": GRADS["b"], "w": [torch.ones(3), None]}, state)
        assert_same((params, state), (PARAMS, adam().init(PARAMS)))

    def test_strided_memory(self):
        params = torch.ones(4, 3).t()
        new, _ = adam(donate=True).step(params, torch.ones(3, 4), adam().init(params))
        assert new.data_ptr() == params.data_ptr()
        assert_same(params, adam().step(torch.ones(3, 4), torch.ones(3, 4), adam().init(params))[0])


@pytest.mark.parametrize("cls", [torch.optim.SGD, torch.optim.Adam, torch.optim.Adagrad])
def test_fused_kernels_with_gradients_laid_out_otherwise(cls):
    params, grads = torch.randn(4, 6), torch.randn(6, 4).t()
    results = []
    for fused in (False, True):
        optimizer = pax.functional_optimizer(cls, lr=0.1, fused=fused)
        results.append(optimizer.step(params, grads, optimizer.init(params))[0])
    torch.testing.assert_close(*results)


def test_update_is_the_difference():
    optimizer = adam()
    state = optimizer.init(PARAMS)
    updates, new_state = optimizer.compute_update(PARAMS, GRADS, state)
    new, expected_state = optimizer.step(PARAMS, GRADS, state)
    assert_same(updates, pax.tree_map(torch.sub, new, PARAMS))
    assert_same(new_state, expected_state)


@pytest.mark.parametrize("value", [torch.tensor(0.5), torch.tensor([0.5]), 0.5], ids=repr)
@pytest.mark.parametrize("name", ["lr", "weight_decay", "eps"])
def test_tensor_overrides(name, value):
    state = adam().init(PARAMS)
    expected = adam().step(PARAMS, GRADS, state, **{name: 0.5})
    assert_same(adam().step(PARAMS, GRADS, state, **{name: value}), expected)
    formulas = adam(differentiable=True).step(PARAMS, GRADS, state, **{name: value})
    torch.testing.assert_close(formulas, expected)


def test_tensor_betas():
    state = adam().init(PARAMS)
    expected = adam().step(PARAMS, GRADS, state, betas=(0.5, 0.9))
    betas = (torch.tensor(0.5, dtype=torch.float64), 0.9)
    assert_same(adam().step(PARAMS, GRADS, state, betas=betas), expected)


def test_somebody_elses_class():
    optimizer = pax.functional_optimizer(Foreign, lr=0.5)
    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(2):
        params, state = optimizer.step(params, GRADS, state)
    assert_same(state["sign"], {"b": torch.full((2,), 2.0), "w": [torch.full((2, 2), 2.0), None]})
    assert_same(params["b"], PARAMS["b"] - 1.5)


def test_mode_that_counts_operations_hides_no_values():
    optimizer = pax.functional_optimizer(Foreign, lr=0.5)
    with FlopCounterMode(display=False):
        found = optimizer.step(PARAMS, GRADS, {})
    assert_same(found, optimizer.step(PARAMS, GRADS, {}))


def test_learned_learning_rate():
    """The gradient of a loss after training, through steps and gradients, by the learning rate."""
    optimizer = pax.functional_optimizer(torch.optim.Adam, differentiable=True)
    square = lambda x: (x**2).sum()

    def loss_after_training(lr, start):
        params, state = start, optimizer.init(start)
        for _ in range(5):
            params, state = optimizer.step(params, pax.grad(square)(params), state, lr=lr)
        return square(params)

    start = torch.tensor([1.0, -2.0], dtype=torch.float64)
    lr = torch.tensor(0.1, dtype=torch.float64)
    by_lr, by_start = pax.grad(loss_after_training, argnums=(0, 1))(lr, start)
    step = 1e-6
    slope = (loss_after_training(lr + step, start) - loss_after_training(lr - step, start)) / (
        2 * step
    )
    torch.testing.assert_close(by_lr, slope, rtol=1e-6, atol=1e-8)
    assert by_start.abs().min() > 0
    assert torch.func.grad(loss_after_training)(lr, start).item() == pytest.approx(by_lr.item())


def test_derivative_where_no_gradient_ever_was():
    """Adam's square root of 0 does not make it infinite."""
    optimizer = adam(differentiable=True)

    def loss(start):
        new, _ = optimizer.step(start, start * torch.tensor([1.0, 0.0]), optimizer.init(start))
        return new.sum()

    assert pax.grad(loss)(torch.tensor([1.0, 1.0])).isfinite().all()


def live_tensors():
    return sum(issubclass(type(x), torch.Tensor) for x in gc.get_objects())


def run(optimizer, steps):
    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(steps):
        params, state = optimizer.step(params, params, state)
    return params, state


@given(st.lists(st.lists(st.floats(-3, 3, width=32), max_size=3), max_size=4))
def test_any_tree_steps_as_its_leaves_do(tree):
    optimizer = adam()
    params, _ = optimizer.step(tree, tree, optimizer.init(tree))
    assert pax.tree_structure(params) == pax.tree_structure(tree)
    for leaf, new in zip(pax.tree_leaves(tree), pax.tree_leaves(params), strict=True):
        assert_same(new, optimizer.step(leaf, leaf, optimizer.init(leaf))[0])
