"""functional_schedule agrees with torch's schedulers, in any order of calls."""

import functools
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler as lrs

import pax_torch as pax

STEPS = 300

CASES = {
    "LambdaLR": {"lr_lambda": lambda step: 1 / (step + 1)},
    "MultiplicativeLR": {"lr_lambda": lambda step: 0.99},
    "StepLR": {"step_size": 7, "gamma": 0.5},
    "MultiStepLR": {"milestones": [3, 10, 50], "gamma": 0.3},
    "ConstantLR": {"factor": 0.3, "total_iters": 8},
    "LinearLR": {"start_factor": 0.2, "total_iters": 40},
    "ExponentialLR": {"gamma": 0.98},
    "PolynomialLR": {"total_iters": 100, "power": 2.0},
    "CosineAnnealingLR": {"T_max": 50, "eta_min": 0.01},
    "CosineAnnealingWarmRestarts": {"T_0": 10, "T_mult": 2},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 20},
    "OneCycleLR": {"max_lr": 0.1, "total_steps": STEPS + 10},
    "SequentialLR": {
        "schedulers": [
            functools.partial(lrs.ConstantLR, factor=0.1),
            functools.partial(lrs.ExponentialLR, gamma=0.9),
        ],
        "milestones": [20],
    },
    "ChainedScheduler": {
        "schedulers": [
            functools.partial(lrs.LinearLR, total_iters=30),
            functools.partial(lrs.StepLR, step_size=10),
        ],
    },
}
WITHOUT_STEP_ALONE = {"LRScheduler", "ReduceLROnPlateau"}


def reference(name, kwargs, initial_lr, steps):
    """The learning rates of torch's scheduler, stepped by hand."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=initial_lr)
    kwargs = dict(kwargs)
    if "schedulers" in kwargs:
        kwargs["schedulers"] = [make(optimizer) for make in kwargs["schedulers"]]
    given = () if name == "ChainedScheduler" else (optimizer,)
    scheduler = getattr(lrs, name)(*given, **kwargs)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.fixture(params=CASES.items(), ids=CASES.keys())
def case(request):
    return request.param


def test_every_scheduler_is_covered(capsys):
    classes = {
        name
        for name, cls in vars(lrs).items()
        if isinstance(cls, type) and issubclass(cls, lrs.LRScheduler) and name[0] != "_"
    }
    with capsys.disabled():
        print(f"\n{len(CASES)} scheduler classes")
    assert classes - WITHOUT_STEP_ALONE == CASES.keys()


@pytest.mark.parametrize("initial_lr", [1.0, 0.1])
def test_parity(case, initial_lr):
    name, kwargs = case
    lr_at_step = pax.functional_schedule(getattr(lrs, name), initial_lr=initial_lr, **kwargs)
    expected = reference(name, kwargs, initial_lr, STEPS)
    assert [lr_at_step(step) for step in range(STEPS)] == expected
    assert all(type(lr_at_step(step)) is float for step in range(3))


def test_order_of_calls_does_not_matter(case):
    name, kwargs = case
    expected = reference(name, kwargs, 1.0, STEPS)
    lr_at_step = pax.functional_schedule(getattr(lrs, name), **kwargs)
    assert lr_at_step(STEPS - 1) == expected[-1]
    assert [lr_at_step(step) for step in reversed(range(STEPS))] == expected[::-1]


@given(st.lists(st.integers(0, 60), min_size=1))
def test_is_a_function_of_the_step(steps):
    lr_at_step = pax.functional_schedule(lrs.ExponentialLR, 0.9, initial_lr=0.1)
    expected = reference("ExponentialLR", {"gamma": 0.9}, 0.1, 61)
    assert [lr_at_step(step) for step in steps] == [expected[step] for step in steps]


def test_positional_parts():
    parts = CASES["SequentialLR"]["schedulers"]
    lr_at_step = pax.functional_schedule(lrs.SequentialLR, parts, [20])
    assert lr_at_step(30) == reference("SequentialLR", CASES["SequentialLR"], 1.0, 31)[-1]


@pytest.mark.parametrize("step", [torch.tensor(3), np.int64(3), np.array(3), True + 2], ids=repr)
def test_integers_of_other_types(step):
    lr_at_step = pax.functional_schedule(lrs.StepLR, 2, gamma=0.5)
    assert lr_at_step(step) == 0.5


def test_each_step_is_taken_once():
    calls = []
    lr_at_step = pax.functional_schedule(lrs.LambdaLR, lambda s: calls.append(s) or 1.0)
    for step in (*range(100), *range(100)):
        lr_at_step(step)
    assert calls == list(range(100))


def test_threads():
    lr_at_step = pax.functional_schedule(lrs.MultiplicativeLR, lambda step: 0.99)
    expected = reference("MultiplicativeLR", CASES["MultiplicativeLR"], 1.0, STEPS)
    results = {}

    def work(number):
        results[number] = [lr_at_step(step) for step in range(STEPS)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(result == expected for result in results.values())


def test_error_in_a_step_leaves_no_trace():
    broken = True

    def factor(step):
        if step == 5 and broken:
            raise KeyError("mine")
        return 0.5

    lr_at_step = pax.functional_schedule(lrs.MultiplicativeLR, factor)
    for _ in range(2):
        with pytest.raises(KeyError, match="mine"):
            lr_at_step(8)
    assert lr_at_step(4) == 0.5**4
    broken = False
    assert lr_at_step(8) == 0.5**8


class TestErrors:
    @pytest.mark.parametrize("cls", ["StepLR", torch.optim.SGD, None])
    def test_no_scheduler_class(self, cls):
        with pytest.raises(TypeError, match=r"expected a torch\.optim\.lr_scheduler class, got"):
            pax.functional_schedule(cls)

    def test_metric(self):
        with pytest.raises(TypeError, match=r"cannot use ReduceLROnPlateau: .* metric"):
            pax.functional_schedule(lrs.ReduceLROnPlateau)

    def test_bad_argument_at_once(self):
        with pytest.raises(ValueError, match="Invalid learning rate: -1"):
            pax.functional_schedule(lrs.ExponentialLR, gamma=0.9, initial_lr=-1)

    @pytest.mark.parametrize("step", [1.0, "1", None, torch.tensor(1.0)], ids=repr)
    def test_step_is_no_integer(self, step):
        with pytest.raises(TypeError, match="takes the step as an integer, got"):
            pax.functional_schedule(lrs.ExponentialLR, gamma=0.9)(step)

    def test_negative_step(self):
        with pytest.raises(ValueError, match="starts at step 0, got step -1"):
            pax.functional_schedule(lrs.ExponentialLR, gamma=0.9)(-1)

    def test_parts_that_are_schedulers(self):
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        parts = [lrs.ConstantLR(optimizer), lrs.ExponentialLR(optimizer, 0.9)]
        with pytest.raises(TypeError, match="schedulers of SequentialLR as a function of an opt"):
            pax.functional_schedule(lrs.SequentialLR, schedulers=parts, milestones=[3])
