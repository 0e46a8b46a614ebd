"""The formulas of functional_optimizer: differentiable, under vmap, and the same as the classes."""

import contextlib
import math

import pytest
import torch

import pax_torch as pax
from pax_torch._optim import formulas as update_rules

STEPS = 40

# Options that make every formula matter, and the hyperparameters to take derivatives of.
CASES = {
    "ASGD": [{"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 2.5, "weight_decay": 0.1}],
    "Adadelta": [{"lr": 0.5, "rho": 0.8, "eps": 1e-2, "weight_decay": 0.1}],
    "Adafactor": [
        {"lr": 0.1, "beta2_decay": -0.7, "d": 1.5, "weight_decay": 0.1},
        {"lr": 0.1, "beta2_decay": -0.7, "eps": (1e-3, 0.5)},
    ],
    "Adagrad": [{"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "eps": 1e-3}],
    "Adam": [
        {"lr": 0.1, "betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.1},
        {"lr": 0.1, "betas": (0.7, 0.8), "amsgrad": True, "maximize": True},
        {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.1},
    ],
    "AdamW": [{"lr": 0.1, "betas": (0.7, 0.8), "weight_decay": 0.1}],
    "Adamax": [{"lr": 0.1, "betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.1}],
    "Muon": [
        {"lr": 0.1, "weight_decay": 0.1, "momentum": 0.9},
        {"lr": 0.1, "nesterov": False, "adjust_lr_fn": "match_rms_adamw"},
    ],
    "NAdam": [
        {"lr": 0.1, "betas": (0.7, 0.8), "momentum_decay": 0.1, "weight_decay": 0.1},
        {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.1},
    ],
    "RAdam": [
        {"lr": 0.1, "betas": (0.7, 0.99), "weight_decay": 0.1},
        {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.1},
    ],
    "RMSprop": [
        {"lr": 0.1, "alpha": 0.8, "eps": 1e-2, "weight_decay": 0.1, "momentum": 0.7},
        {"lr": 0.1, "alpha": 0.8, "eps": 1e-2, "centered": True, "maximize": True},
    ],
    "Rprop": [{"lr": 0.1, "etas": (0.4, 1.3), "step_sizes": (1e-3, 2.0)}],
    "SGD": [
        {"lr": 0.1},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True},
    ],
    "SparseAdam": [{"lr": 0.1, "betas": (0.7, 0.8), "eps": 1e-3}],
}
ALL = [
    pytest.param(getattr(torch.optim, name), options, id=f"{name}{i}")
    for name, several in CASES.items()
    for i, options in enumerate(several)
]
DENSE = [case for case in ALL if case.values[0] is not torch.optim.SparseAdam]


def shapes_for(cls):
    return {"m": (4, 3)} if cls is torch.optim.Muon else {"m": (4, 3), "v": (3,), "s": ()}


def draw(cls, seed, dtype=torch.float64, sparse=True):
    generator = torch.Generator().manual_seed(seed)
    params = {
        name: torch.randn(shape, generator=generator, dtype=dtype)
        for name, shape in shapes_for(cls).items()
    }
    if sparse and cls is torch.optim.SparseAdam:
        return {name: x.to_sparse() for name, x in params.items()}
    return params


def close(cls):
    # Muon works in bfloat16, where another order of additions shows.
    return {"rtol": 1e-6, "atol": 0.02 if cls is torch.optim.Muon else 1e-7}


def run(optimizer, cls, seed, steps, **overrides):
    params = draw(cls, seed, sparse=False)
    state = optimizer.init(params, **overrides)
    for step in range(steps):
        params, state = optimizer.step(params, draw(cls, 100 + step), state, **overrides)
    return params, state


def test_every_differentiable_class_has_a_case():
    assert CASES.keys() == update_rules._BY_NAME.keys()
    for name, cls in vars(torch.optim).items():
        if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer):
            has_rule = update_rules.rule_of(cls) is not None
            assert has_rule == (name not in {"Optimizer", "LBFGS"})


@pytest.mark.parametrize(("cls", "options"), ALL)
def test_formulas_agree_with_the_class(cls, options):
    plain, formulas = (
        pax.functional_optimizer(cls, differentiable=flag, **options) for flag in (False, True)
    )
    steps = 10 if cls is torch.optim.Muon else STEPS
    expected, expected_state = run(plain, cls, 0, steps)
    params, state = run(formulas, cls, 0, steps)
    torch.testing.assert_close(params, expected, **close(cls))
    assert state.keys() == expected_state.keys()
    for name in state:
        for x, y in zip(
            pax.tree_leaves(state[name]), pax.tree_leaves(expected_state[name]), strict=True
        ):
            torch.testing.assert_close(
                torch.as_tensor(x), torch.as_tensor(y), check_dtype=False, **close(cls)
            )


@pytest.mark.parametrize(("cls", "options"), DENSE)
def test_states_of_both_kinds_are_interchangeable(cls, options):
    plain, formulas = (
        pax.functional_optimizer(cls, differentiable=flag, **options) for flag in (False, True)
    )
    params = expected = draw(cls, 0)
    state = expected_state = plain.init(params)
    assert pax.tree_structure(formulas.init(params)) == pax.tree_structure(state)
    for step in range(10):
        grads = draw(cls, 100 + step)
        expected, expected_state = plain.step(expected, grads, expected_state)
        params, state = (plain, formulas)[step % 2].step(params, grads, state)
    torch.testing.assert_close(params, expected, **close(cls))


@pytest.mark.parametrize(("cls", "options"), DENSE)
def test_population(cls, options):
    """One vmapped call steps optimizers with parameters, states and learning rates of their own."""
    optimizer = pax.functional_optimizer(cls, **options)
    rates = torch.tensor([0.1, 0.2, 0.05], dtype=torch.float64)
    members = [draw(cls, seed) for seed in range(3)]
    params = pax.tree_map(lambda *x: torch.stack(x), *members)
    state = pax.vmap(lambda p, lr: optimizer.init(p, lr=lr))(params, rates)

    for i in range(5):
        grads = draw(cls, 100 + i)
        params, state = pax.vmap(lambda p, s, lr: optimizer.step(p, grads, s, lr=lr))(
            params, state, rates
        )
    for i, lr in enumerate(rates):
        expected, _ = run(optimizer, cls, i, 5, lr=lr.item())
        actual = pax.tree_map(lambda x, i=i: x[i], params)
        torch.testing.assert_close(actual, expected, **close(cls))


@pytest.mark.parametrize(("cls", "options"), DENSE)
def test_compiled(cls, options):
    """Two steps in one program; the second has a state that the first made."""
    optimizer = pax.functional_optimizer(cls, **options)

    def two_steps(params, grads, lr):
        state = optimizer.init(params, lr=lr)
        for _ in range(2):
            params, state = optimizer.step(params, grads, state, lr=lr)
        return params, state

    params, grads, lr = draw(cls, 0), draw(cls, 100), torch.tensor(0.05, dtype=torch.float64)
    actual, actual_state = pax.jit(two_steps, backend="eager")(params, grads, lr)
    expected, expected_state = two_steps(params, grads, lr)
    torch.testing.assert_close(actual, expected, **close(cls))
    assert pax.tree_structure(actual_state) == pax.tree_structure(expected_state)


@pytest.mark.parametrize(("cls", "options"), DENSE)
def test_shapes_without_values(cls, options):
    optimizer = pax.functional_optimizer(cls, **options)
    params = draw(cls, 0)
    state = optimizer.init(params)
    expected = optimizer.step(params, params, state)
    shapes = pax.eval_shape(optimizer.step, params, params, state)
    assert pax.tree_map(lambda x: (x.shape, x.dtype), shapes) == pax.tree_map(
        lambda x: (x.shape, x.dtype), expected
    )


def as_tensors(options):
    """The numbers among the options as tensors to differentiate, and a function that puts them in."""
    numbers, treedef = pax.tree_flatten(options)
    places = [i for i, x in enumerate(numbers) if isinstance(x, float) and x != 0]
    tensors = [torch.tensor(numbers[i], dtype=torch.float64) for i in places]

    def put(*values):
        leaves = list(numbers)
        for i, value in zip(places, values, strict=True):
            leaves[i] = value
        return pax.tree_unflatten(treedef, leaves)

    return tensors, put


@contextlib.contextmanager
def in_double_precision():
    """Finite differences cannot see through roundings: to bfloat16 in Muon, to float32 in states."""
    original, default = torch.Tensor.bfloat16, torch.get_default_dtype()
    torch.Tensor.bfloat16 = lambda x: x
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.Tensor.bfloat16 = original
        torch.set_default_dtype(default)


@pytest.mark.parametrize(("cls", "options"), ALL)
def test_derivatives_agree_with_finite_differences(cls, options):
    """Of three steps on a quadratic loss, by all hyperparameters and the initial parameters."""
    optimizer = pax.functional_optimizer(cls, differentiable=True, **options)
    hyperparameters, put = as_tensors(options)
    names = list(shapes_for(cls))
    targets = draw(cls, 7, sparse=False)

    def trained(*values):
        params = dict(zip(names, values, strict=False))
        overrides = put(*values[len(names) :])
        state = optimizer.init(params, **overrides)
        for _ in range(3):
            grads = {k: (params[k] - targets[k]) * (1 + params[k] ** 2) for k in params}
            if cls is torch.optim.SparseAdam:
                grads = {k: g.to_sparse() for k, g in grads.items()}
            params, state = optimizer.step(params, grads, state, **overrides)
        return tuple(params.values())

    inputs = [*draw(cls, 0, sparse=False).values(), *hyperparameters]
    inputs = [x.requires_grad_() for x in inputs]
    with in_double_precision():
        assert torch.autograd.gradcheck(trained, inputs, eps=1e-6, atol=1e-5, rtol=1e-4)


# At infinities, NaN, zero, and where squares overflow or vanish, in each dtype.
VALUES = (math.inf, -math.inf, math.nan, 1e30, 1e-30, 0.0, -3.0)
RTOL = {torch.float64: 1e-11, torch.float32: 3e-6, torch.float16: 5e-3, torch.bfloat16: 4e-2}


def draw_params(cls, dtype, path):
    """For each value parameters whose gradients have it: a number, a vector and a matrix."""
    matrix = torch.linspace(-1, 1, 6).reshape(2, 3)
    trees = {"s": torch.tensor(1.0), "v": torch.tensor([1.0, -2.0, 0.0]), "m": matrix}
    names = "v" if path is compiled else "svm"  # tracing takes long
    names = "m" if cls is torch.optim.Muon else names
    return {f"{name}{i}": trees[name].to(dtype) for i in range(len(VALUES)) for name in names}


def draw_grads(cls, params, step):
    signs = (1.0, -0.5, 2.0)
    grads = {
        name: (VALUES[int(name[1:])] * torch.full(x.shape, signs[step], dtype=torch.float64)).to(x)
        for name, x in params.items()
    }
    return {k: g.to_sparse() for k, g in grads.items()} if cls is torch.optim.SparseAdam else grads


def as_variables(tree):
    return pax.tree_map(
        lambda x: x.clone().requires_grad_() if torch.is_tensor(x) and x.is_floating_point() else x,
        tree,
    )


def differentiable(optimizer, params, grads, state):
    stepped = optimizer.step(as_variables(params), grads, as_variables(state))
    return pax.tree_map(lambda x: x.detach() if torch.is_tensor(x) else x, stepped)


def mapped(optimizer, *args):
    longer = pax.tree_map(lambda x: x[None], args)
    return pax.tree_map(lambda x: x[0], pax.vmap(optimizer.step)(*longer))


def compiled(optimizer, *args):
    return pax.jit(optimizer.step, backend="eager")(*args)


def check(cls, options, path, dtype):
    plain = pax.functional_optimizer(cls, **options)
    optimizer = plain
    if path is differentiable:
        optimizer = pax.functional_optimizer(cls, differentiable=True, **options)
    expected = actual = draw_params(cls, dtype, path)
    state = expected_state = plain.init(expected)
    for step in range(3):
        grads = draw_grads(cls, expected, step)
        expected, expected_state = plain.step(expected, grads, expected_state)
        actual, state = path(optimizer, actual, grads, state)
        leaves = pax.tree_leaves_with_path((expected, expected_state))
        for (place, x), y in zip(leaves, pax.tree_leaves((actual, state)), strict=True):
            same(torch.as_tensor(y), torch.as_tensor(x), cls, f"{dtype} step {step} {place}")


def same(actual, expected, cls, place):
    assert actual.dtype == expected.dtype
    wide = expected.double()
    size = wide[wide.isfinite()].abs().max().item() if wide.isfinite().any() else 0.0
    rtol = 0.05 if cls is torch.optim.Muon else RTOL.get(expected.dtype, 0.0)
    torch.testing.assert_close(
        actual.double(), wide, rtol=rtol, atol=rtol * size, equal_nan=True, msg=lambda m: place + m
    )


@pytest.mark.parametrize("path", [differentiable, mapped])
@pytest.mark.parametrize(("cls", "options"), ALL)
def test_formulas_agree_with_the_class_at_extremes(cls, options, path):
    if cls is torch.optim.SparseAdam and path is mapped:
        return  # PyTorch maps no sparse tensors
    for dtype in RTOL:
        check(cls, options, path, dtype)


@pytest.mark.parametrize("name", [name for name in CASES if name != "SparseAdam"])
def test_compiled_formulas_agree_with_the_class_at_extremes(name):
    check(getattr(torch.optim, name), {}, compiled, torch.float32)


def test_the_square_root_of_what_has_none():
    """Centred RMSprop takes it of a difference, which rounding makes negative."""

    def run(optimizer, params, grad):
        state = optimizer.init(params)
        for _ in range(400):
            params, state = optimizer.step(params, grad, pax.tree_map(torch.detach, state))
            params = params.detach()
        return params

    options = {"lr": 1e-3, "alpha": 0.9, "centered": True}
    plain, formulas = (
        pax.functional_optimizer(torch.optim.RMSprop, differentiable=flag, **options)
        for flag in (False, True)
    )
    expected = run(plain, torch.tensor([1.0]), torch.tensor([3.3]))
    found = run(formulas, torch.tensor([1.0]), torch.tensor([3.3]).requires_grad_())
    torch.testing.assert_close(found, expected, equal_nan=True)


@pytest.mark.parametrize("derivative", [pax.jacfwd, pax.jacrev])
def test_derivative_at_zero(derivative):
    """That of the root is 0 there, in forward mode too."""
    optimizer = pax.functional_optimizer(torch.optim.Adam, lr=0.1, differentiable=True)

    def step(grad):
        params = torch.ones(2)
        return optimizer.step(params, grad, optimizer.init(params))[0]

    found = derivative(step)(torch.tensor([0.0, 1.0]))
    assert found.isfinite().all()
