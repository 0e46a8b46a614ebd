"""functional_schedule agrees with torch's schedulers, in any order of calls."""

import functools
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler as lrs

import pax_torch as pax

STEPS = 10_000
FEW = 300

# The learning rate alone, without the momentum.
ALONE = {"cycle_momentum": False}
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
    "CosineAnnealingWarmRestarts-once": {"T_0": 7, "eta_min": 0.01},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 20, **ALONE},
    "CyclicLR-2": {
        "base_lr": 0.01,
        "max_lr": 0.1,
        "step_size_up": 20,
        "step_size_down": 7,
        "mode": "triangular2",
        **ALONE,
    },
    "CyclicLR-exp": {"base_lr": 0.01, "max_lr": 0.1, "mode": "exp_range", "gamma": 0.999, **ALONE},
    "CyclicLR-own": {"base_lr": 0.01, "max_lr": 0.1, "scale_fn": lambda x: 1 / x, **ALONE},
    "OneCycleLR": {"max_lr": 0.1, "total_steps": STEPS + 10, **ALONE},
    "OneCycleLR-linear": {
        "max_lr": 0.1,
        "total_steps": STEPS,
        "anneal_strategy": "linear",
        **ALONE,
    },
    "OneCycleLR-three": {
        "max_lr": 0.1,
        "epochs": 100,
        "steps_per_epoch": 100,
        "three_phase": True,
        **ALONE,
    },
    "LinearLR-0": {"start_factor": 0.2, "end_factor": 0.7, "total_iters": 5},
    "PolynomialLR-1": {"total_iters": 7},
    "MultiStepLR-twice": {"milestones": [9, 4, 4], "gamma": 0.3},
    "SequentialLR-replayed": {
        "schedulers": [
            functools.partial(lrs.MultiplicativeLR, lr_lambda=lambda step: 0.9),
            functools.partial(lrs.CosineAnnealingWarmRestarts, T_0=10),
        ],
        "milestones": [20],
    },
    "SequentialLR-three": {
        "schedulers": [
            functools.partial(lrs.LinearLR, total_iters=10),
            functools.partial(lrs.CosineAnnealingLR, T_max=100),
            functools.partial(lrs.StepLR, step_size=100),
        ],
        "milestones": [10, 110],
    },
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


REPLAYED = {
    "MultiplicativeLR",
    "ChainedScheduler",
    "CyclicLR-own",
    "SequentialLR-replayed",
}


def class_of(name):
    return getattr(lrs, name.partition("-")[0])


def reference(name, kwargs, initial_lr, steps):
    """The learning rates of torch's scheduler, stepped by hand."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=initial_lr)
    kwargs = dict(kwargs)
    if "schedulers" in kwargs:
        kwargs["schedulers"] = [make(optimizer) for make in kwargs["schedulers"]]
    given = () if name == "ChainedScheduler" else (optimizer,)
    scheduler = class_of(name)(*given, **kwargs)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@functools.cache
def reference_of(name, initial_lr=1.0):
    return reference(name, CASES[name], initial_lr, STEPS)


@pytest.fixture(params=CASES.items(), ids=CASES.keys())
def case(request):
    return request.param


def close(rates):
    """Torch multiplies step by step, and so is off by the sum of its roundings."""
    return pytest.approx(rates, rel=1e-9, abs=1e-10)


def test_every_scheduler_is_covered(capsys):
    classes = {
        name
        for name, cls in vars(lrs).items()
        if isinstance(cls, type) and issubclass(cls, lrs.LRScheduler) and name[0] != "_"
    }
    with capsys.disabled():
        print(f"\n{len(classes) - 1} scheduler classes, {len(CASES)} cases")
    assert classes - WITHOUT_STEP_ALONE == {name.partition("-")[0] for name in CASES}


@pytest.mark.parametrize("initial_lr", [1.0, 0.1])
def test_parity(case, initial_lr):
    name, kwargs = case
    lr_at_step = pax.functional_schedule(class_of(name), initial_lr=initial_lr, **kwargs)
    rates = [lr_at_step(step) for step in range(STEPS)]
    assert rates == close(reference_of(name, initial_lr))
    assert all(type(rate) is float for rate in rates[:3])


def test_order_of_calls_does_not_matter(case):
    name, kwargs = case
    expected = reference_of(name)[:FEW]
    lr_at_step = pax.functional_schedule(class_of(name), **kwargs)
    assert lr_at_step(FEW - 1) == close(expected[-1])
    assert [lr_at_step(step) for step in reversed(range(FEW))] == close(expected[::-1])


def test_tensor_steps(case):
    name, kwargs = case
    lr_at_step = pax.functional_schedule(class_of(name), **kwargs)
    steps = torch.arange(FEW).reshape(3, -1)
    rates = lr_at_step(steps)
    assert (rates.shape, rates.dtype) == (steps.shape, torch.float32)
    expected = torch.tensor(reference_of(name)[:FEW]).reshape(steps.shape)
    torch.testing.assert_close(rates, expected)
    torch.testing.assert_close(lr_at_step(steps[1, 2]), expected[1, 2])


def test_traced_steps(case):
    name, kwargs = case
    lr_at_step = pax.functional_schedule(class_of(name), **kwargs)
    steps = torch.arange(FEW)
    if name in REPLAYED:
        with pytest.raises(
            TypeError, match=r"no formula of the step, and inside vmap, jit and torch\.compile"
        ):
            pax.vmap(lr_at_step)(steps)
        return
    expected = torch.tensor(reference_of(name)[:FEW])
    torch.testing.assert_close(pax.vmap(lr_at_step)(steps), expected)
    torch._dynamo.reset()
    compiled = torch.compile(lr_at_step, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(steps), expected)


def test_late_steps_cost_no_more(case):
    """A formula is evaluated where it is asked for."""
    name, kwargs = case
    lr_at_step = pax.functional_schedule(class_of(name), **kwargs)
    if name not in REPLAYED and "OneCycle" not in name:
        start = time.perf_counter()
        lr_at_step(10**9)
        assert time.perf_counter() - start < 1


@given(st.lists(st.integers(0, 60), min_size=1))
def test_is_a_function_of_the_step(steps):
    lr_at_step = pax.functional_schedule(lrs.MultiplicativeLR, lambda step: 0.9, initial_lr=0.1)
    expected = reference("MultiplicativeLR", {"lr_lambda": lambda step: 0.9}, 0.1, 61)
    assert [lr_at_step(step) for step in steps] == [expected[step] for step in steps]


def test_positional_parts():
    parts = CASES["SequentialLR"]["schedulers"]
    lr_at_step = pax.functional_schedule(lrs.SequentialLR, parts, [20])
    assert lr_at_step(30) == close(reference_of("SequentialLR")[30])


@pytest.mark.parametrize("step", [torch.tensor(3), np.int64(3), np.array(3), True + 2], ids=repr)
def test_integers_of_other_types(step):
    lr_at_step = pax.functional_schedule(lrs.StepLR, 2, gamma=0.5)
    assert lr_at_step(step) == 0.5


def test_each_step_is_taken_once():
    calls = []
    lr_at_step = pax.functional_schedule(lrs.MultiplicativeLR, lambda s: calls.append(s) or 1.0)
    calls.clear()
    for step in (*range(100), *range(100)):
        lr_at_step(step)
    assert calls == list(range(1, 100))


def test_threads():
    lr_at_step = pax.functional_schedule(lrs.MultiplicativeLR, lambda step: 0.99)
    expected = reference_of("MultiplicativeLR")[:FEW]
    results = {}

    def work(number):
        results[number] = [lr_at_step(step) for step in range(FEW)]

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
        with pytest.raises(TypeError, match=r"Expected a torch\.optim\.lr_scheduler class, got"):
            pax.functional_schedule(cls)

    def test_bad_argument_at_once(self):
        with pytest.raises(ValueError, match="Invalid learning rate: -1"):
            pax.functional_schedule(lrs.ExponentialLR, gamma=0.9, initial_lr=-1)

    @pytest.mark.parametrize("step", [1.0, "1", None, torch.tensor(1.0)], ids=repr)
    def test_step_is_no_integer(self, case, step):
        name, kwargs = case
        with pytest.raises(TypeError, match="takes the step as an integer, got"):
            pax.functional_schedule(class_of(name), **kwargs)(step)

    def test_beyond_the_last_step(self):
        lr_at_step = pax.functional_schedule(lrs.OneCycleLR, max_lr=1.0, total_steps=10, **ALONE)
        with pytest.raises(ValueError, match="one_cycle has 10 steps, got step 11"):
            lr_at_step(11)

    def test_negative_step(self):
        with pytest.raises(ValueError, match="starts at step 0, got step -1"):
            pax.functional_schedule(lrs.ExponentialLR, gamma=0.9)(-1)

    def test_parts_that_are_schedulers(self):
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        parts = [lrs.ConstantLR(optimizer), lrs.ExponentialLR(optimizer, 0.9)]
        with pytest.raises(TypeError, match="schedulers of SequentialLR as a function of an opt"):
            pax.functional_schedule(lrs.SequentialLR, schedulers=parts, milestones=[3])
