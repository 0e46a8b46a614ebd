"""What functional optimizers refuse, and how they say it."""

import pytest
import torch

import pax_torch as pax

PARAMS = {"b": torch.tensor([1.0, 2.0]), "w": [torch.ones(2, 2), None]}
GRADS = {"b": torch.tensor([0.5, 0.5]), "w": [torch.full((2, 2), 2.0), None]}


def adam(**options):
    return pax.functional_optimizer(torch.optim.Adam, lr=0.1, **options)


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


class TestErrors:
    @pytest.mark.parametrize("cls", ["Adam", torch.nn.Linear, torch.optim.Adam([torch.ones(1)])])
    def test_no_optimizer_class(self, cls):
        with pytest.raises(TypeError, match=r"expected a torch\.optim class, got"):
            pax.functional_optimizer(cls)

    def test_closure(self):
        class NeedsClosure(torch.optim.SGD):
            def step(self, closure): ...

        with pytest.raises(TypeError, match=r"cannot use NeedsClosure: .* closure"):
            pax.functional_optimizer(NeedsClosure)

    def test_bad_hyperparameter_at_once(self):
        with pytest.raises(ValueError, match="Invalid learning rate: -1"):
            pax.functional_optimizer(torch.optim.Adam, lr=-1)

    def test_unknown_override(self):
        with pytest.raises(TypeError, match=r"Adam has no hyperparameter 'momentum'.*it has .*lr,"):
            adam().step(PARAMS, GRADS, adam().init(PARAMS), momentum=0.9)

    def test_differentiable(self):
        with pytest.raises(ValueError, match="donate=True and differentiable=True"):
            adam(differentiable=True, donate=True)
        with pytest.raises(TypeError, match="no hyperparameter 'differentiable'"):
            adam().step(PARAMS, GRADS, adam().init(PARAMS), differentiable=True)
        with pytest.raises(TypeError, match="LBFGS cannot be used with differentiable=True"):
            pax.functional_optimizer(torch.optim.LBFGS, differentiable=True)
        with pytest.raises(TypeError, match=r"Foreign cannot be used .* formulas of the classes"):
            pax.functional_optimizer(Foreign, differentiable=True)

    def test_class_without_formulas_under_vmap(self):
        optimizer = pax.functional_optimizer(Foreign, lr=0.1)
        with pytest.raises(TypeError, match="Foreign cannot be used here"):
            torch.func.vmap(lambda p: optimizer.step(p, p, {})[0])(torch.ones(3))

    def test_state_that_belongs_to_no_parameter(self):
        class Counting(torch.optim.SGD):
            def step(self):
                self.state["calls"] = 1

        with pytest.raises(TypeError, match="cannot use Counting: it keeps state that belongs"):
            pax.functional_optimizer(Counting).step(PARAMS, GRADS, {})

    def test_state_made_with_other_options(self):
        state = adam().init(PARAMS)
        for optimizer in (adam(), adam(differentiable=True)):
            with pytest.raises(ValueError, match="The state has no 'max_exp_avg_sq'"):
                optimizer.step(PARAMS, GRADS, state, amsgrad=True)

    def test_one_tensor_donated_twice(self):
        params = {"a": PARAMS["b"].clone()}
        params["b"] = [params["a"]]
        optimizer = adam(donate=True)
        with pytest.raises(ValueError, match=r"params\['a'\] and params\['b'\]\[0\] are one"):
            optimizer.step(params, params, optimizer.init(params))

    def test_value_fn(self):
        with pytest.raises(TypeError, match="Adam takes gradients and no value_fn"):
            adam().step(PARAMS, GRADS, adam().init(PARAMS), value_fn=len)

    def test_shape_of_a_gradient(self):
        grads = {"b": torch.ones(3), "w": GRADS["w"]}
        with pytest.raises(ValueError, match=r"grads\['b'\] has shape \(3,\).* shape \(2,\)"):
            adam().step(PARAMS, grads, adam().init(PARAMS))

    def test_dtype_of_a_gradient(self):
        grads = {"b": GRADS["b"], "w": [torch.ones(2, 2, dtype=torch.float64), None]}
        with pytest.raises(ValueError, match=r"grads\['w'\]\[0\] has dtype torch.float64"):
            adam().step(PARAMS, grads, adam().init(PARAMS))

    def test_structure_of_the_gradients(self):
        with pytest.raises(ValueError, match=r"grads does not have the structure of params: .*'b'"):
            adam().step(PARAMS, {"w": GRADS["w"]}, adam().init(PARAMS))

    def test_structure_of_the_state(self):
        state = adam().init({"b": PARAMS["b"]})
        with pytest.raises(ValueError, match=r"state\['step'\] does not have the structure of par"):
            adam().step(PARAMS, GRADS, state)

    def test_leaf_of_another_type(self):
        with pytest.raises(TypeError, match=r"params\[0\]: expected .* got 'text'"):
            adam().init(["text"])

    def test_state_of_another_type(self):
        with pytest.raises(TypeError, match=r"step\(params, grads, state\)"):
            adam().step(PARAMS, adam().init(PARAMS), [1])

    def test_parameter_that_the_class_refuses(self):
        optimizer = pax.functional_optimizer(torch.optim.Muon)
        with pytest.raises(ValueError, match="Muon only supports 2D parameters"):
            optimizer.init(torch.ones(3))

    def test_repr(self):
        assert repr(adam(eps=1e-6)) == "functional_optimizer(Adam, lr=0.1, eps=1e-06)"


def test_momentum_of_another_shape():
    sgd = pax.functional_optimizer(torch.optim.SGD, lr=0.1, momentum=0.9)
    params, grads = torch.tensor(1.0), torch.tensor(1.0)
    _, state = sgd.step(params, grads, sgd.init(params))
    longer = pax.tree_map(lambda x: x.reshape(1) if isinstance(x, torch.Tensor) else x, state)
    with pytest.raises((RuntimeError, ValueError), match="shape"):
        sgd.step(params, grads, longer)


def test_a_class_is_not_asked_to_step_nothing():
    class Careful(torch.optim.Optimizer):
        def __init__(self, params, lr=0.1):
            super().__init__(params, {"lr": lr})

        @torch.no_grad()
        def step(self):
            assert any(p.grad is not None for group in self.param_groups for p in group["params"])

    careful = pax.functional_optimizer(Careful)
    params = {"w": torch.ones(2)}
    stepped, _ = careful.step(params, {"w": None}, careful.init(params))
    assert torch.equal(stepped["w"], params["w"])
