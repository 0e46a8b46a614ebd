"""Hyperparameters of one step: tensors, arrays and tuples of them, as the classes and formulas take them."""

import numpy as np
import pytest
import torch

import pax_torch as pax
from pax_torch import functional_optimizer

PARAMS = {"b": torch.tensor([1.0, 2.0]), "w": torch.ones(2, 2)}
GRADS = {"b": torch.tensor([0.5, -0.5]), "w": torch.full((2, 2), 2.0)}
WITH_BETAS = [
    cls
    for cls in vars(torch.optim).values()
    if isinstance(cls, type)
    and cls not in (torch.optim.Optimizer, torch.optim.SparseAdam)
    and "betas" in cls.__init__.__annotations__
]


def assert_same(tree, other):
    torch.testing.assert_close(tree, other, rtol=0, atol=0)


@pytest.mark.parametrize("cls", WITH_BETAS)
class TestBetas:
    def test_tensors_for_the_class(self, cls):
        """As its argument, where the class itself takes them."""
        tensors = (torch.tensor(0.5, dtype=torch.float64), torch.tensor(0.75, dtype=torch.float64))
        optimizer = functional_optimizer(cls, betas=tensors, foreach=False)
        variable = torch.ones(2, requires_grad=True)
        variable.grad = torch.ones(2)
        cls([variable], betas=tensors, foreach=False).step()
        found, _ = optimizer.step(torch.ones(2), torch.ones(2), optimizer.init(torch.ones(2)))
        assert_same(found, variable.detach())
        optimizer = functional_optimizer(cls, betas=tensors)
        state = optimizer.init(torch.ones(2))
        assert_same(optimizer.step(torch.ones(2), torch.ones(2), state)[0], found)

    @pytest.mark.parametrize("differentiable", [False, True])
    @pytest.mark.parametrize(
        "betas",
        [
            torch.tensor([0.5, 0.75]),
            np.array([0.5, 0.75]),
            [0.5, np.float32(0.75)],
            (torch.tensor([0.5]), np.array(0.75)),
        ],
        ids=["tensor", "array", "list", "parts"],
    )
    def test_however_they_are_given(self, cls, betas, differentiable):
        optimizer = functional_optimizer(cls, differentiable=differentiable)
        state = optimizer.init(PARAMS)
        expected = optimizer.step(PARAMS, GRADS, state, betas=(0.5, 0.75))
        found = optimizer.step(PARAMS, GRADS, state, betas=betas)
        torch.testing.assert_close(found, expected)

    def test_one_pair_for_each_of_a_population(self, cls):
        optimizer = functional_optimizer(cls)
        betas, state = torch.tensor([[0.5, 0.75], [0.9, 0.99]]), optimizer.init(PARAMS)
        together = pax.vmap(
            lambda betas: optimizer.step(PARAMS, GRADS, state, betas=betas)[0], axis_size=2
        )(betas)
        for i in range(2):
            alone, _ = optimizer.step(PARAMS, GRADS, state, betas=tuple(betas[i].tolist()))
            torch.testing.assert_close(pax.tree_map(lambda x, i=i: x[i], together), alone)

    @pytest.mark.parametrize("betas", [0.9, (0.9,), torch.ones(3), torch.ones(())], ids=repr)
    def test_not_two(self, cls, betas):
        optimizer = functional_optimizer(cls)
        with pytest.raises(ValueError, match=rf"{cls.__name__}'s betas must be a tuple of 2 num"):
            optimizer.step(PARAMS, GRADS, optimizer.init(PARAMS), betas=betas)


@pytest.mark.parametrize("differentiable", [False, True])
def test_one_number_only(differentiable):
    optimizer = functional_optimizer(torch.optim.Adam, differentiable=differentiable)
    state = optimizer.init(PARAMS)
    for call in (optimizer.init, lambda p, **o: optimizer.step(p, GRADS, state, **o)):
        with pytest.raises(ValueError, match=r"Adam's lr must be one number, got a tensor of .*2,"):
            call(PARAMS, lr=torch.tensor([0.1, 0.2]))
        with pytest.raises(ValueError, match=r"Adam's betas\[1\] must be one number"):
            call(PARAMS, betas=(0.9, torch.ones(2)))
    found = optimizer.step(PARAMS, GRADS, state, lr=np.array([0.5]))
    torch.testing.assert_close(found, optimizer.step(PARAMS, GRADS, state, lr=0.5))


@pytest.mark.parametrize("number", [np.float32(0.0), np.array(0.0), np.float64(0.0)], ids=repr)
def test_numbers_of_numpy_are_numbers(number):
    """Whether a hyperparameter is zero decides what state there is."""
    optimizer = functional_optimizer(torch.optim.RMSprop)
    state = optimizer.init(PARAMS)
    step = pax.jit(
        lambda params: optimizer.step(params, GRADS, state, momentum=number)[0], backend="eager"
    )
    torch.testing.assert_close(step(PARAMS), optimizer.step(PARAMS, GRADS, state)[0])


@pytest.mark.parametrize("cls", [torch.optim.Adafactor, torch.optim.Muon])
def test_options_that_may_be_none(cls):
    """Such as `eps` of Adafactor and `adjust_lr_fn` of Muon: given back as they are."""
    optimizer, params = functional_optimizer(cls), {"w": torch.ones(2, 2)}
    state = optimizer.init(params)
    names = optimizer.hyperparameters.keys() & {"eps", "foreach", "adjust_lr_fn"}
    options = {name: optimizer.hyperparameters[name] for name in names}
    expected = optimizer.step(params, params, state)
    assert_same(optimizer.step(params, params, state, **options), expected)


@pytest.mark.parametrize("beta", [0.5, 0.6, 0.7])
def test_radam_whose_variance_is_never_tractable(beta):
    plain = functional_optimizer(torch.optim.RAdam, betas=(0.5, beta))
    formulas = functional_optimizer(torch.optim.RAdam, betas=(0.5, beta), differentiable=True)
    results = []
    for optimizer in (plain, formulas):
        params, state = PARAMS, optimizer.init(PARAMS)
        for _ in range(8):
            params, state = optimizer.step(params, GRADS, state)
        results.append(params)
    torch.testing.assert_close(*results)
    state = formulas.init(PARAMS)

    def total(beta2):
        new, _ = formulas.step(PARAMS, GRADS, state, betas=(0.5, beta2))
        return pax.tree_sum(new)

    assert torch.isfinite(pax.grad(total)(torch.tensor(beta)))


def stepped(optimizer, params):
    params, state = optimizer.step(params, params, optimizer.init(params))
    return optimizer.step(params, params, state)[1]


@pytest.mark.parametrize("cls", [torch.optim.Adam, torch.optim.ASGD, torch.optim.Rprop])
@pytest.mark.parametrize("transform", [pax.vmap, lambda f: pax.jit(f, backend="eager")])
def test_states_made_by_transforms_have_memory_of_their_own(cls, transform):
    """As formats for saving tensors insist on."""
    optimizer, params = functional_optimizer(cls), {"a": torch.ones(4, 3), "b": torch.ones(4, 2)}
    state = transform(lambda params: stepped(optimizer, params))(params)
    leaves = pax.tree_leaves(state)
    assert all(x.is_contiguous() for x in leaves)
    assert len({x.untyped_storage().data_ptr() for x in leaves}) == len(leaves)


@pytest.mark.parametrize("differentiable", [False, True])
def test_parameters_without_floats(differentiable):
    optimizer = functional_optimizer(torch.optim.Adam, differentiable=differentiable)
    for params in ({"n": torch.ones(2, dtype=torch.int32)}, {"n": 3}):
        with pytest.raises(TypeError, match=r"params\['n'\] has dtype torch.int.*floating-point"):
            optimizer.init(params)
        with pytest.raises(TypeError, match=r"params\['n'\] has dtype torch.int"):
            functional_optimizer(torch.optim.SGD).step(params, params, {})


@pytest.mark.parametrize(
    ("cls", "params", "message"),
    [
        (torch.optim.Muon, torch.ones(2, 2, dtype=torch.complex64), "Muon does not .* complex"),
        (
            torch.optim.Adafactor,
            torch.ones(2, dtype=torch.complex64),
            "Adafactor does not .* compl",
        ),
        (torch.optim.Muon, torch.ones(3), r"Muon only supports 2D parameters, got .* \(3,\)"),
    ],
)
def test_formulas_refuse_what_the_class_refuses(cls, params, message):
    with pytest.raises(ValueError, match=message):
        functional_optimizer(cls, differentiable=True).init(params)


def test_state_of_another_class_is_refused():
    state = functional_optimizer(torch.optim.Adam).init(PARAMS)
    with pytest.raises(ValueError, match="which SGD does not keep; it keeps momentum_buffer"):
        functional_optimizer(torch.optim.SGD, momentum=0.9).step(PARAMS, GRADS, state)


@pytest.mark.parametrize("cls", [torch.optim.SparseAdam, torch.optim.Adam])
def test_parameters_without_state_start_anew_in_both_ways(cls):
    grads = pax.tree_map(torch.Tensor.to_sparse, GRADS) if cls is torch.optim.SparseAdam else GRADS
    ways = [functional_optimizer(cls, differentiable=d) for d in (False, True)]
    results = [optimizer.step(PARAMS, grads, {}) for optimizer in ways]
    torch.testing.assert_close(*results)


class TestSomebodyElsesClass:
    def test_state_in_containers_is_copied(self):
        class Listing(torch.optim.Optimizer):
            def __init__(self, params):
                super().__init__(params, {"lr": 0.1})

            @torch.no_grad()
            def step(self):
                for p in self.param_groups[0]["params"]:
                    sums = self.state[p].setdefault("sums", [torch.zeros_like(p)])
                    sums[0] += p.grad
                    p -= sums[0]

        optimizer = functional_optimizer(Listing)
        params = torch.ones(2)
        _, state = optimizer.step(params, params, {})
        again = optimizer.step(params, params, state)
        assert_same(state["sums"][0], torch.ones(2))
        assert_same(again, optimizer.step(params, params, state))

    def test_what_torch_notes_for_itself_is_no_state(self):
        class Own(torch.optim.SGD):
            def step(self):
                self.param_groups[0]["lr"] = float(self.param_groups[0]["lr"])
                self.last_norm = self.param_groups[0]["params"][0].grad.norm()
                super().step()

        for fused in (False, True):
            optimizer = functional_optimizer(Own, lr=0.5, fused=fused)
            expected = functional_optimizer(torch.optim.SGD, lr=0.5, fused=fused)
            found = optimizer.step(PARAMS, GRADS, optimizer.init(PARAMS))
            assert_same(found, expected.step(PARAMS, GRADS, {}))

    def test_hyperparameters_may_be_anything(self):
        class Calling(torch.optim.Optimizer):
            def __init__(self, params, rate=0.1):
                super().__init__(params, {"rate": rate})

            @torch.no_grad()
            def step(self):
                group = self.param_groups[0]
                for p in group["params"]:
                    p -= group["rate"](p) if callable(group["rate"]) else group["rate"]

        optimizer = functional_optimizer(Calling)
        found, _ = optimizer.step(PARAMS, GRADS, {}, rate=lambda p: p / 2)
        assert_same(found, pax.tree_map(lambda p: p / 2, PARAMS))

    @pytest.mark.parametrize("where", ["parameter group", "own attributes"])
    def test_state_elsewhere_is_refused(self, where):
        class Counting(torch.optim.SGD):
            calls = 0

            def step(self):
                if where == "parameter group":
                    self.param_groups[0]["calls"] = self.param_groups[0].get("calls", 0) + 1
                else:
                    self.calls += 1
                super().step()

        with pytest.raises(TypeError, match=rf"cannot use Counting: it keeps state in its {where}"):
            functional_optimizer(Counting).step(PARAMS, GRADS, {})
