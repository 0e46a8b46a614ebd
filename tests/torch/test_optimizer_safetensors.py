"""The state of every optimizer goes through safetensors: numbers as scalars, the structure beside it."""

import functools
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.optim import lr_scheduler

import pax_torch as pax
from pax_tree import keystr

CLASSES = sorted(
    name
    for name, cls in vars(torch.optim).items()
    if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer) and name != "Optimizer"
)


def loss(params):
    return (params["w"] ** 2).sum() + (params["b"] ** 4).sum()


def loss_of_matrices(params):
    return (params["w"] ** 2).sum()


def advance(optimizer, params, state, steps, f):
    for _ in range(steps):
        grads = pax.grad(f)(params)
        if "SparseAdam" in repr(optimizer):
            grads = pax.tree_map(torch.Tensor.to_sparse, grads)
        extra = {"value_fn": f} if "LBFGS" in repr(optimizer) else {}
        params, state = optimizer.step(params, grads, state, **extra)
    return params, state


def as_tensor(leaf):
    return torch.as_tensor(leaf, dtype=torch.float64 if isinstance(leaf, float) else None)


def save(tree, file):
    flat, treedef = pax.tree_flatten_with_path(tree)
    save_file({keystr(path): as_tensor(leaf).clone() for path, leaf in flat}, file)
    are_numbers = [not isinstance(leaf, torch.Tensor) for _, leaf in flat]
    return pickle.dumps((treedef, [keystr(path) for path, _ in flat], are_numbers))


def load(file, structure):
    # Kernels sum in another order where memory is not aligned, as it is not within the file.
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    treedef, names, are_numbers = pickle.loads(structure)
    leaves = [tensors[name] for name in names]
    return treedef.unflatten(
        [x.item() if is_number else x for x, is_number in zip(leaves, are_numbers, strict=True)]
    )


@pytest.mark.parametrize("name", CLASSES)
def test_saved_state_goes_on_as_if_never_saved(name, tmp_path):
    optimizer = pax.functional_optimizer(getattr(torch.optim, name))
    params = {"w": torch.linspace(-1.0, 2.0, 6).reshape(2, 3)}
    f = loss_of_matrices
    if name != "Muon":
        params["b"] = torch.tensor([0.5, -2.0])
        f = loss
    params, state = advance(optimizer, params, optimizer.init(params), 3, f)
    structure = save((params, state), tmp_path / "state.safetensors")
    loaded = load(tmp_path / "state.safetensors", structure)
    torch.testing.assert_close(
        advance(optimizer, *loaded, 3, f),
        advance(optimizer, params, state, 3, f),
        rtol=0,
        atol=0,
    )


ALONE = {"cycle_momentum": False}
SCHEDULES = {
    "LambdaLR": {"lr_lambda": lambda step: 1 / (step + 1)},
    "MultiplicativeLR": {"lr_lambda": lambda step: 0.99},
    "StepLR": {"step_size": 2, "gamma": 0.5},
    "MultiStepLR": {"milestones": [3, 5], "gamma": 0.3},
    "ConstantLR": {"factor": 0.3, "total_iters": 4},
    "LinearLR": {"start_factor": 0.2, "total_iters": 5},
    "ExponentialLR": {"gamma": 0.9},
    "PolynomialLR": {"total_iters": 7, "power": 2.0},
    "CosineAnnealingLR": {"T_max": 5, "eta_min": 0.01},
    "CosineAnnealingWarmRestarts": {"T_0": 4},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 2, **ALONE},
    "OneCycleLR": {"max_lr": 0.1, "total_steps": 8, **ALONE},
    "SequentialLR": {
        "schedulers": [
            functools.partial(lr_scheduler.ConstantLR, factor=0.1),
            functools.partial(lr_scheduler.ExponentialLR, gamma=0.9),
        ],
        "milestones": [4],
    },
    "ChainedScheduler": {
        "schedulers": [
            functools.partial(lr_scheduler.LinearLR, total_iters=6),
            functools.partial(lr_scheduler.StepLR, step_size=2),
        ],
    },
}


def test_every_schedule_is_in_the_table():
    known = {"LRScheduler", "SWALR", "ReduceLROnPlateau"}  # of which the last has a state
    assert {*lr_scheduler.__all__} - known == {*SCHEDULES}


@pytest.mark.parametrize("name", SCHEDULES)
def test_an_optimizer_with_a_schedule_goes_on_as_if_never_saved(name, tmp_path):
    options = {"initial_lr": 0.5, **SCHEDULES[name]}
    schedule = pax.functional_schedule(getattr(lr_scheduler, name), **options)
    optimizer = pax.functional_optimizer(torch.optim.SGD, momentum=0.5)

    def train(step, params, state):
        for i in range(step, step + 3):
            grads = pax.grad(loss_of_matrices)(params)
            params, state = optimizer.step(params, grads, state, lr=schedule(i))
        return step + 3, params, state

    params = {"w": torch.linspace(-1.0, 2.0, 6).reshape(2, 3)}
    run = train(0, params, optimizer.init(params))
    loaded = load(tmp_path / "x", save(run, tmp_path / "x"))
    torch.testing.assert_close(train(*loaded), train(*run), rtol=0, atol=0)


def test_a_plateau_goes_on_as_if_never_saved(tmp_path):
    schedule = pax.functional_schedule(lr_scheduler.ReduceLROnPlateau, initial_lr=0.5, patience=1)
    state = schedule.init()
    for metric in (1.0, 2.0):
        _, state = schedule.step(metric, state)
    loaded = load(tmp_path / "x", save(state, tmp_path / "x"))
    for metric in (3.0, 2.5, 0.5, 0.6, 0.7):
        rate, state = schedule.step(metric, state)
        again, loaded = schedule.step(metric, loaded)
        assert (again, loaded) == (rate, state)
