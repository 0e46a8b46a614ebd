"""Donated memory: what is refused, and that an error leaves all that was donated as it was."""
# ruff: noqa: E731

import pytest
import torch

import pax_torch as pax
from pax_torch import functional_optimizer, multi_transform

OTHER = (torch.optim.LBFGS, torch.optim.SparseAdam)
CLASSES = [
    cls
    for cls in vars(torch.optim).values()
    if isinstance(cls, type) and cls is not torch.optim.Optimizer and cls not in OTHER
]


def matrices():
    return {"a": torch.rand(2, 2), "b": torch.rand(2, 3)}


def started(cls):
    """An optimizer that donates, parameters, and the state after a step."""
    optimizer = functional_optimizer(cls, donate=True)
    params = matrices()
    params, state = optimizer.step(params, matrices(), optimizer.init(params))
    return optimizer, params, state


def raises_and_changes_nothing(call, donated, error, message):
    """The tensors are those of before, bit for bit."""
    leaves = [x for x in pax.tree_leaves(donated) if isinstance(x, torch.Tensor)]
    before = [x.clone() for x in leaves]
    with pytest.raises(error, match=message):
        call()
    assert all(torch.equal(x, y) for x, y in zip(leaves, before, strict=True))


@pytest.mark.parametrize("cls", CLASSES)
class TestErrorChangesNothing:
    def test_gradient_of_another_shape(self, cls):
        optimizer, params, state = started(cls)
        grads = {"a": torch.ones(2, 2), "b": torch.ones(2, 2)}
        raises_and_changes_nothing(
            lambda: optimizer.step(params, grads, state),
            (params, state),
            ValueError,
            r"grads\['b'\] has shape \(2, 2\)",
        )

    @pytest.mark.parametrize("value", [None, "0.1", [0.1]], ids=repr)
    def test_learning_rate_that_is_no_number(self, cls, value):
        optimizer, params, state = started(cls)
        raises_and_changes_nothing(
            lambda: optimizer.step(params, matrices(), state, lr=value),
            (params, state),
            TypeError,
            rf"{cls.__name__}'s lr must be a number or a tensor of shape \(\), got .* of type ",
        )

    def test_expanded_parameter(self, cls):
        optimizer = functional_optimizer(cls, donate=True)
        params = {**matrices(), "c": torch.ones(1, 2).expand(2, 2)}
        state = optimizer.init(params)
        raises_and_changes_nothing(
            lambda: optimizer.step(params, params, state),
            (params, state),
            ValueError,
            r"params\['c'\] has elements that share memory",
        )

    def test_parameter_of_inference_mode(self, cls):
        optimizer, params = functional_optimizer(cls, donate=True), matrices()
        with torch.inference_mode():
            params["c"] = torch.ones(2, 2)
        state = optimizer.init(pax.tree_map(torch.ones_like, params))
        raises_and_changes_nothing(
            lambda: optimizer.step(params, params, state),
            (params, state),
            ValueError,
            r"params\['c'\] was made in inference mode",
        )

    def test_state_of_other_parameters(self, cls):
        optimizer, params, state = started(cls)
        names = [n for n, tree in state.items() if getattr(tree["b"], "shape", ()) == (2, 3)]
        for name in names:
            wrong = {**state, name: {**state[name], "b": torch.ones(7)}}
            raises_and_changes_nothing(
                lambda wrong=wrong: optimizer.step(params, matrices(), wrong),
                (params, wrong),
                ValueError,
                rf"state\['{name}'\]\['b'\] has shape \(7,\), but its parameter has .* \(2, 3\)",
            )
        assert names or cls in (torch.optim.SGD, torch.optim.Adafactor)


def test_sparse_gradient_with_weight_decay():
    optimizer = functional_optimizer(torch.optim.Adagrad, donate=True)
    params = matrices()
    state = optimizer.init(params)
    grads = {"a": torch.ones(2, 2), "b": torch.ones(2, 3).to_sparse()}
    raises_and_changes_nothing(
        lambda: optimizer.step(params, grads, state, weight_decay=0.1),
        (params, state),
        ValueError,
        "no weight_decay with sparse gradients",
    )


def test_function_that_fails_at_a_trial_point():
    optimizer = functional_optimizer(torch.optim.LBFGS, donate=True, max_iter=5)
    params, calls = {"a": torch.ones(3)}, []

    def value_fn(params):
        calls.append(None)
        if len(calls) == 3:
            raise ArithmeticError("no value here")
        return (params["a"] ** 4).sum()

    raises_and_changes_nothing(
        lambda: optimizer.step(params, None, optimizer.init(params), value_fn=value_fn),
        params,
        ArithmeticError,
        "no value",
    )
    assert len(calls) == 3


class TestLabels:
    def make(self):
        donating = functional_optimizer(torch.optim.Adam, donate=True)
        plain = functional_optimizer(torch.optim.SGD, momentum=0.9)
        return multi_transform({"x": donating, "y": plain}, {"a": "x", "b": "y"})

    def test_gradient_of_another_label(self):
        optimizer, params = self.make(), matrices()
        state = optimizer.init(params)
        raises_and_changes_nothing(
            lambda: optimizer.step(params, {"a": torch.ones(2, 2), "b": torch.ones(7)}, state),
            (params, state),
            ValueError,
            r"grads\['b'\] has shape \(7,\)",
        )

    def test_memory_shared_between_labels(self):
        optimizer, w = self.make(), torch.ones(2, 2)
        params = {"a": w, "b": w.view(4)}
        state = optimizer.init(params)
        grads = {"a": torch.ones(2, 2), "b": torch.ones(4)}
        raises_and_changes_nothing(
            lambda: optimizer.step(params, grads, state),
            (params, state),
            ValueError,
            r"params\['a'\] and params\['b'\] are one tensor, or views of one",
        )
        with pytest.raises(ValueError, match=r"params\['a'\] and params\['b'\] are one tensor"):
            optimizer.check(params, grads, state)
        updates, _ = optimizer.compute_update(params, grads, state)
        assert updates["a"].shape == (2, 2)

    @pytest.mark.parametrize("transform", [pax.vmap, lambda f: pax.jit(f, backend="eager")])
    def test_nothing_is_donated_in_transforms(self, transform):
        optimizer, w = self.make(), torch.ones(3, 2)
        step = lambda w: optimizer.step(
            {"a": w, "b": w}, {"a": w, "b": w}, optimizer.init({"a": w, "b": w})
        )
        plain = multi_transform(
            {
                "x": functional_optimizer(torch.optim.Adam),
                "y": functional_optimizer(torch.optim.SGD, momentum=0.9),
            },
            {"a": "x", "b": "y"},
        )
        params = {"a": w, "b": w}
        expected, _ = plain.step(params, params, plain.init(params))
        torch.testing.assert_close(transform(step)(w)[0], expected)
        assert torch.equal(w, torch.ones(3, 2))

    def test_nested(self):
        inner, params = self.make(), matrices()
        optimizer = multi_transform({"z": inner}, "z")
        assert optimizer.donates
        state = optimizer.init(params)
        raises_and_changes_nothing(
            lambda: optimizer.step(params, {"a": torch.ones(2, 2), "b": torch.ones(7)}, state),
            (params, state),
            ValueError,
            r"grads\['b'\] has shape",
        )


def test_views_of_one_tensor():
    optimizer, w = functional_optimizer(torch.optim.SGD, lr=0.5, donate=True), torch.ones(2, 2)
    grads = {"a": torch.ones(2, 2), "b": torch.ones(4)}
    with pytest.raises(ValueError, match=r"params\['a'\] and params\['b'\] are one tensor"):
        optimizer.step({"a": w, "b": w.view(4)}, grads, {})
    halves = {"a": w[0], "b": w[1]}
    optimizer.step(halves, pax.tree_map(torch.ones_like, halves), {})
    assert torch.equal(w, torch.full((2, 2), 0.5))


def test_empty_parameters_are_no_views():
    optimizer = functional_optimizer(torch.optim.SGD, donate=True)
    params = {"a": torch.ones(0), "b": torch.ones(0)}
    assert optimizer.step(params, params, {})[0]["b"].shape == (0,)


@pytest.mark.parametrize("cls", [torch.optim.SGD, torch.optim.Adam, torch.optim.Adagrad])
def test_fused_kernels_keep_to_the_parameter(cls):
    """These kernels step all memory that a tensor spans."""
    whole, grads = torch.rand(4, 6), torch.rand(4, 3)
    before = whole.clone()
    pure, donating = (functional_optimizer(cls, fused=True, donate=d) for d in (False, True))
    expected, _ = pure.step(whole[:, ::2], grads, pure.init(whole[:, ::2]))
    found, _ = donating.step(whole[:, ::2], grads, donating.init(whole[:, ::2]))
    assert torch.equal(found, expected)
    assert torch.equal(whole[:, ::2], expected)
    assert torch.equal(whole[:, 1::2], before[:, 1::2])


def test_a_gradient_of_the_parameters_own_stays():
    params = torch.ones(2)
    params.grad = torch.full((2,), 7.0)
    for cls in (torch.optim.SGD, torch.optim.Adam):
        optimizer = functional_optimizer(cls, donate=True)
        optimizer.step(params, torch.ones(2), optimizer.init(params))
        assert torch.equal(params.grad, torch.full((2,), 7.0))
