"""functional_optimizer takes the steps of the torch.optim classes, to the last bit."""
# ruff: noqa: E731

import inspect

import pytest
import torch

import pax_torch as pax

STEPS = 30

# Options by class; an empty dictionary is the class's default.
OPTIONS = {
    "Adadelta": [{}, {"lr": 0.1, "rho": 0.8, "weight_decay": 0.1}, {"maximize": True}],
    "Adafactor": [{}, {"lr": 0.1, "weight_decay": 0.1, "d": 2.0}, {"maximize": True}],
    "Adagrad": [{}, {"lr_decay": 0.1, "initial_accumulator_value": 0.5}, {"weight_decay": 0.1}],
    "Adam": [
        {},
        {"amsgrad": True, "weight_decay": 0.1},
        {"maximize": True, "betas": (0.8, 0.9)},
        {"fused": True},
        {"capturable": False, "decoupled_weight_decay": True, "weight_decay": 0.1},
    ],
    "AdamW": [{}, {"amsgrad": True}, {"maximize": True, "weight_decay": 0.5}],
    "Adamax": [{}, {"weight_decay": 0.1}, {"maximize": True}],
    "ASGD": [{}, {"t0": 5, "lambd": 0.1, "weight_decay": 0.1}, {"maximize": True}],
    "Muon": [{}, {"nesterov": False, "weight_decay": 0.0}, {"adjust_lr_fn": "match_rms_adamw"}],
    "NAdam": [{}, {"decoupled_weight_decay": True, "weight_decay": 0.1}, {"momentum_decay": 0.1}],
    "RAdam": [{}, {"decoupled_weight_decay": True, "weight_decay": 0.1}, {"maximize": True}],
    "RMSprop": [{}, {"centered": True, "momentum": 0.9}, {"weight_decay": 0.1, "maximize": True}],
    "Rprop": [{}, {"etas": (0.4, 1.3), "step_sizes": (1e-5, 10)}, {"maximize": True}],
    "SGD": [
        {},
        {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
        {"momentum": 0.9, "nesterov": True, "maximize": True},
        {"momentum": 0.9, "fused": True},
    ],
    "SparseAdam": [{}, {"betas": (0.8, 0.9), "maximize": True}],
}
NEEDS_CLOSURE = {"LBFGS"}

CASES = [
    pytest.param(getattr(torch.optim, name), options, id=f"{name}-{options}")
    for name, all_options in OPTIONS.items()
    if hasattr(torch.optim, name)
    for options in all_options
]
FOREACH_CASES = [
    pytest.param(case.values[0], {**case.values[1], "foreach": foreach}, id=f"{case.id}-{foreach}")
    for case in CASES
    for foreach in (False, True)
    if "foreach" in inspect.signature(case.values[0]).parameters and not case.values[1].get("fused")
]


def example_params(cls, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = {"matrix": (4, 3), "more": [(2, 5)]}
    if cls.__name__ != "Muon":
        shapes = {**shapes, "vector": (3,), "scalar": ()}
    is_shape = lambda x: isinstance(x, tuple)
    draw = lambda shape: torch.randn(shape, generator=generator, dtype=dtype)
    return pax.tree_map(draw, shapes, is_leaf=is_shape)


def example_grads(cls, params, step):
    generator = torch.Generator().manual_seed(step + 1)
    draw = lambda x: torch.randn(x.shape, generator=generator, dtype=x.dtype)
    grads = pax.tree_map(draw, params)
    return pax.tree_map(torch.Tensor.to_sparse, grads) if cls.__name__ == "SparseAdam" else grads


def reference_steps(cls, options, params, steps, lr_at_step=None):
    """The parameters after each step of the class itself, and its last state."""
    variables = pax.tree_map(lambda x: x.clone().requires_grad_(), params)
    leaves = pax.tree_leaves(variables)
    optimizer = cls(leaves, **options)
    history = []
    for step in range(steps):
        if lr_at_step:
            optimizer.param_groups[0]["lr"] = lr_at_step(step)
        grads = pax.tree_leaves(example_grads(cls, params, step))
        for leaf, grad in zip(leaves, grads, strict=True):
            leaf.grad = grad
        optimizer.step()
        history.append(pax.tree_map(lambda x: x.detach().clone(), variables))
    return history, [optimizer.state[leaf] for leaf in leaves]


def assert_same_bits(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)


def test_every_class_is_covered(capsys):
    classes = {
        name
        for name, cls in vars(torch.optim).items()
        if isinstance(cls, type)
        and issubclass(cls, torch.optim.Optimizer)
        and cls is not torch.optim.Optimizer
    }
    with capsys.disabled():
        print(f"\n{len(classes - NEEDS_CLOSURE)} optimizer classes, {len(CASES)} cases")
    assert classes - NEEDS_CLOSURE <= OPTIONS.keys()


@pytest.mark.parametrize(("cls", "options"), CASES + FOREACH_CASES)
def test_parity(cls, options):
    optimizer = pax.functional_optimizer(cls, **options)
    params = example_params(cls)
    expected, expected_states = reference_steps(cls, options, params, STEPS)

    state = optimizer.init(params)
    for step in range(STEPS):
        params, state = optimizer.step(params, example_grads(cls, params, step), state)
        assert_same_bits(params, expected[step])

    for name, tree in state.items():
        for i, value in enumerate(pax.tree_leaves(tree, is_leaf=lambda x: x is None)):
            assert_same_bits(value, expected_states[i].get(name))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("cls", [torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop])
def test_parity_in_other_dtypes(cls, dtype):
    optimizer = pax.functional_optimizer(cls, lr=0.1)
    params = example_params(cls, dtype)
    expected, _ = reference_steps(cls, {"lr": 0.1}, params, STEPS)
    state = optimizer.init(params)
    for step in range(STEPS):
        params, state = optimizer.step(params, example_grads(cls, params, step), state)
    assert_same_bits(params, expected[-1])


@pytest.mark.parametrize(("cls", "options"), CASES)
def test_learning_rate_override(cls, options):
    lr_at_step = lambda step: 0.1 / (step + 1)
    optimizer = pax.functional_optimizer(cls, **options)
    params = example_params(cls)
    expected, _ = reference_steps(cls, options, params, 5, lr_at_step)

    state = optimizer.init(params, lr=lr_at_step(0))
    for step in range(5):
        grads = example_grads(cls, params, step)
        params, state = optimizer.step(params, grads, state, lr=lr_at_step(step))
        assert_same_bits(params, expected[step])


@pytest.mark.parametrize(("cls", "options"), CASES)
def test_arguments_are_never_changed(cls, options):
    optimizer = pax.functional_optimizer(cls, **options)
    params = example_params(cls)
    state = optimizer.init(params)
    for step in range(2):
        grads = example_grads(cls, params, step)
        given = (params, grads, state)
        before = pax.tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, given)
        new_params, new_state = optimizer.step(params, grads, state)
        again = optimizer.step(params, grads, state)
        assert_same_bits(given, before)
        assert_same_bits(again, (new_params, new_state))
        assert all(x.grad is None for x in pax.tree_leaves(given) if isinstance(x, torch.Tensor))
        params, state = new_params, new_state
