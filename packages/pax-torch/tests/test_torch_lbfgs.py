"""LBFGS as a function: the steps of the class, to the last bit."""

import io

import pytest
import torch

import pax_torch as pax

OPTIONS = [
    {},
    {"line_search_fn": "strong_wolfe"},
    {"lr": 0.5, "max_iter": 4, "history_size": 3},
    {"max_eval": 7, "tolerance_change": 1e-4, "tolerance_grad": 1e-3},
]


def rosenbrock(params):
    x, y = params["x"], params["y"]
    return ((1 - x) ** 2).sum() + 10 * ((y - x.t() ** 2) ** 2).sum()


def start():
    torch.manual_seed(0)
    return {"x": torch.randn(2, 3), "y": torch.randn(3, 2)}


def reference(options, steps):
    variables = {name: p.requires_grad_() for name, p in start().items()}
    optimizer = torch.optim.LBFGS(variables.values(), **options)

    def closure():
        optimizer.zero_grad()
        loss = rosenbrock(variables)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    state = optimizer.state[variables["x"]]
    return {name: p.detach() for name, p in variables.items()}, state


def assert_same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize("donate", [False, True], ids=["pure", "donate"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_parity(options, donate):
    optimizer = pax.functional_optimizer(torch.optim.LBFGS, donate=donate, **options)
    params = start()
    state = optimizer.init(params)
    for _ in range(10):
        params, state = optimizer.step(params, None, state, value_fn=rosenbrock)
    expected, expected_state = reference(options, 10)
    assert_same(params, expected)
    for name, value in state.items():
        assert_same(value, expected_state[name])


def test_given_gradient_saves_an_evaluation():
    optimizer = pax.functional_optimizer(torch.optim.LBFGS, max_iter=1)
    params, calls = start(), []

    def value_fn(params):
        calls.append(params["x"].requires_grad)
        return rosenbrock(params)

    state = optimizer.init(params)
    without = optimizer.step(params, None, state, value_fn=value_fn)
    given = optimizer.step(params, pax.grad(rosenbrock)(params), state, value_fn=value_fn)
    assert_same(given, without)
    assert calls == [True, False]


def test_arguments_are_never_changed():
    optimizer = pax.functional_optimizer(torch.optim.LBFGS, max_iter=5, history_size=3)
    params = start()
    state = optimizer.init(params)
    for _ in range(3):
        copies = pax.tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, state)
        before = pax.tree_map(torch.clone, params)
        new = optimizer.step(params, None, state, value_fn=rosenbrock)
        again = optimizer.step(params, None, state, value_fn=rosenbrock)
        assert_same((params, state), (before, copies))
        assert_same(again, new)
        params, state = new


def test_state_is_saved_and_mapped():
    optimizer = pax.functional_optimizer(torch.optim.LBFGS, max_iter=3)
    params, state = optimizer.step(start(), None, optimizer.init(start()), value_fn=rosenbrock)
    assert all(isinstance(x, torch.Tensor | float | int) for x in pax.tree_leaves(state))
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    expected = optimizer.step(params, None, state, value_fn=rosenbrock)
    assert_same(optimizer.step(params, None, loaded, value_fn=rosenbrock), expected)


def test_update():
    optimizer = pax.functional_optimizer(torch.optim.LBFGS)
    params, state = start(), optimizer.init(start())
    updates, _ = optimizer.compute_update(params, None, state, value_fn=rosenbrock)
    new, _ = optimizer.step(params, None, state, value_fn=rosenbrock)
    torch.testing.assert_close(pax.tree_map(torch.add, params, updates), new)


def test_learning_rate_override():
    optimizer = pax.functional_optimizer(torch.optim.LBFGS, max_iter=3)
    params, state = start(), optimizer.init(start())
    still, _ = optimizer.step(params, None, state, value_fn=rosenbrock, lr=torch.tensor(0.0))
    assert_same(still, params)


def test_shorter_history():
    """Fewer corrections than the state has: the last ones count."""
    optimizer = pax.functional_optimizer(torch.optim.LBFGS, max_iter=4)
    params, state = start(), optimizer.init(start())
    for _ in range(3):
        params, state = optimizer.step(params, None, state, value_fn=rosenbrock)
    assert len(state["old_dirs"]) > 2
    for _ in range(3):
        before = rosenbrock(params)
        params, state = optimizer.step(params, None, state, value_fn=rosenbrock, history_size=2)
        assert len(state["old_dirs"]) == len(state["ro"]) == 2
    assert rosenbrock(params) < before


class TestErrors:
    def test_no_function(self):
        optimizer = pax.functional_optimizer(torch.optim.LBFGS)
        with pytest.raises(TypeError, match="LBFGS evaluates the loss itself: give its step value"):
            optimizer.step(start(), start(), optimizer.init(start()))

    def test_missing_gradient(self):
        optimizer = pax.functional_optimizer(torch.optim.LBFGS)
        grads = {"x": None, "y": start()["y"]}
        with pytest.raises(ValueError, match="LBFGS needs the gradient of every"):
            optimizer.step(start(), grads, optimizer.init(start()), value_fn=rosenbrock)

    def test_vmap(self):
        optimizer = pax.functional_optimizer(torch.optim.LBFGS)

        def step(x):
            return optimizer.step(x, None, optimizer.init(x), value_fn=lambda x: x**2)[0]

        with pytest.raises(
            TypeError, match=r"LBFGS cannot be used here.*values that are not known"
        ):
            torch.func.vmap(step)(torch.ones(3))

    def test_error_in_the_function(self):
        optimizer = pax.functional_optimizer(torch.optim.LBFGS)

        def broken(params):
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            optimizer.step(start(), None, optimizer.init(start()), value_fn=broken)
