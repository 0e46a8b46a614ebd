"""functional_optimizer takes the steps of the torch.optim classes, to the last bit."""
# ruff: noqa: E731

import functools
import inspect
import itertools

import pytest
import torch

import pax_torch as pax

STEPS = 100

# Numeric options by class, for each of which all combinations of its flags are tried.
NUMBERS = {
    "Adadelta": [{}, {"lr": 0.1, "rho": 0.8, "weight_decay": 0.1}],
    "Adafactor": [{}, {"lr": 0.1, "weight_decay": 0.1, "d": 2.0, "eps": (1e-6, 1e-2)}],
    "Adagrad": [{}, {"lr_decay": 0.1, "initial_accumulator_value": 0.5}, {"weight_decay": 0.1}],
    "Adam": [{}, {"weight_decay": 0.1, "betas": (0.8, 0.9)}],
    "AdamW": [{}, {"weight_decay": 0.5, "eps": 1e-4}],
    "Adamax": [{}, {"weight_decay": 0.1}],
    "ASGD": [{}, {"t0": 5, "lambd": 0.1, "weight_decay": 0.1, "alpha": 0.5}],
    "Muon": [{}, {"weight_decay": 0.0}, {"adjust_lr_fn": "match_rms_adamw", "ns_steps": 3}],
    "NAdam": [{}, {"weight_decay": 0.1}, {"momentum_decay": 0.1}],
    "RAdam": [{}, {"weight_decay": 0.1}, {"betas": (0.5, 0.6)}],
    "RMSprop": [{}, {"momentum": 0.9}, {"weight_decay": 0.1, "alpha": 0.9}],
    "Rprop": [{}, {"etas": (0.4, 1.3), "step_sizes": (1e-5, 10)}],
    "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}],
    "SparseAdam": [{}, {"betas": (0.8, 0.9)}],
}
FLAGS = ("amsgrad", "centered", "decoupled_weight_decay", "maximize", "nesterov")
NEEDS_CLOSURE = {"LBFGS"}
CLASSES = {
    name
    for name, cls in vars(torch.optim).items()
    if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer)
} - {"Optimizer"}


def takes(cls, option):
    return option in inspect.signature(cls).parameters


def flag_combinations(cls):
    names = [name for name in FLAGS if takes(cls, name)]
    for values in itertools.product((False, True), repeat=len(names)):
        yield dict(zip(names, values, strict=True))


def is_valid(name, options):
    needs_momentum = name == "SGD" and options["nesterov"]
    return not needs_momentum or (options.get("momentum") and not options.get("dampening"))


def all_options():
    for name, numbers in NUMBERS.items():
        cls = getattr(torch.optim, name, None)
        if cls is not None:
            for given, flags in itertools.product(numbers, flag_combinations(cls)):
                if is_valid(name, options := {**given, **flags}):
                    yield cls, options


def case(cls, options):
    told = ",".join(f"{k}={v}" for k, v in options.items() if v is not False)
    return pytest.param(cls, options, id=f"{cls.__name__}({told})")


KERNELS = ({"foreach": False}, {"foreach": True}, {"fused": True})
CASES = [case(*given) for given in all_options()]
KERNEL_CASES = [
    case(cls, {**options, **kernel})
    for cls, options in all_options()
    for kernel in KERNELS
    if takes(cls, *kernel)
]


def example_params(cls, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = {"matrix": (17, 3), "more": [(2, 5)]}
    if cls.__name__ != "Muon":
        shapes = {**shapes, "vector": (33,), "scalar": ()}
    is_shape = lambda x: isinstance(x, tuple)
    draw = lambda shape: torch.randn(shape, generator=generator, dtype=dtype)
    return pax.tree_map(draw, shapes, is_leaf=is_shape)


@functools.cache
def gradients(sparse, treedef, shapes_and_dtypes, step):
    generator = torch.Generator().manual_seed(step + 1)
    draw = lambda shape, dtype: torch.randn(shape, generator=generator, dtype=dtype)
    drawn = [draw(*given) for given in shapes_and_dtypes]
    return treedef.unflatten([x.to_sparse() if sparse else x for x in drawn])


def example_grads(cls, params, step):
    leaves, treedef = pax.tree_flatten(params)
    given = tuple((x.shape, x.dtype) for x in leaves)
    return gradients(cls.__name__ == "SparseAdam", treedef, given, step)


def reference_steps(cls, options, params, steps, **by_step):
    """The parameters after each step of the class itself, and its last state."""
    variables = pax.tree_map(lambda x: x.clone().requires_grad_(), params)
    leaves = pax.tree_leaves(variables)
    optimizer = cls(leaves, **options)
    history = []
    for step in range(steps):
        for name, at_step in by_step.items():
            optimizer.param_groups[0][name] = at_step(step)
        grads = pax.tree_leaves(example_grads(cls, params, step))
        for leaf, grad in zip(leaves, grads, strict=True):
            leaf.grad = grad.clone()
        optimizer.step()
        history.append(pax.tree_map(lambda x: x.detach().clone(), variables))
    return history, [optimizer.state[leaf] for leaf in leaves]


def assert_same_bits(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)


def assert_same_states(state, expected_states):
    for name, tree in state.items():
        for i, value in enumerate(pax.tree_leaves(tree, is_leaf=lambda x: x is None)):
            assert_same_bits(value, expected_states[i].get(name))


def test_every_class_is_covered(capsys):
    with capsys.disabled():
        print(
            f"\n{len(CLASSES)} optimizer classes, {len(CASES)} combinations of options, "
            f"{len(CASES) + len(KERNEL_CASES)} with the choice of kernels"
        )
    assert NUMBERS.keys() & CLASSES == CLASSES - NEEDS_CLOSURE


@pytest.mark.parametrize(("cls", "options"), CASES + KERNEL_CASES)
def test_parity(cls, options):
    pure, donating = (
        pax.functional_optimizer(cls, donate=donate, **options) for donate in (False, True)
    )
    params = example_params(cls)
    expected, expected_states = reference_steps(cls, options, params, STEPS)
    own = pax.tree_map(torch.clone, params)
    state, own_state = pure.init(params), donating.init(params)
    for step in range(STEPS):
        grads = example_grads(cls, params, step)
        params, state = pure.step(params, grads, state)
        own, own_state = donating.step(own, grads, own_state)
        assert_same_bits(params, expected[step])
    assert_same_bits(own, expected[-1])
    assert_same_states(state, expected_states)
    assert_same_states(own_state, expected_states)


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
    expected, _ = reference_steps(cls, options, params, 5, lr=lr_at_step)

    state = optimizer.init(params, lr=lr_at_step(0))
    for step in range(5):
        grads = example_grads(cls, params, step)
        params, state = optimizer.step(params, grads, state, lr=lr_at_step(step))
        assert_same_bits(params, expected[step])


@pytest.mark.parametrize(("cls", "options"), CASES + KERNEL_CASES)
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


@pytest.mark.parametrize(("cls", "options"), CASES + KERNEL_CASES)
def test_gradients_are_never_donated(cls, options):
    optimizer = pax.functional_optimizer(cls, donate=True, **options)
    params = example_params(cls)
    state = optimizer.init(params)
    for step in range(3):
        grads = pax.tree_map(torch.clone, example_grads(cls, params, step))
        before = pax.tree_map(torch.clone, grads)
        params, state = optimizer.step(params, grads, state)
        assert_same_bits(grads, before)
