"""ReduceLROnPlateau as a state machine, and StandaloneScheduler."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler as lrs

import pax_torch as pax

OPTIONS = [
    {"mode": mode, "threshold_mode": kind, **others}
    for mode, kind in itertools.product(("min", "max"), ("rel", "abs"))
    for others in (
        {"patience": 2},
        {"patience": 0, "cooldown": 3, "factor": 0.5},
        {"patience": 1, "min_lr": 0.02, "threshold": 0.5, "eps": 0.01},
    )
]


def reference(options, metrics, initial_lr=0.5):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=initial_lr)
    scheduler = lrs.ReduceLROnPlateau(optimizer, **options)
    rates = []
    for metric in metrics:
        scheduler.step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def rates_of(schedule, metrics):
    state, rates = schedule.init(), []
    for metric in metrics:
        lr, state = schedule.step(metric, state)
        rates.append(lr)
    return rates


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@given(st.lists(st.floats(-2, 2, width=32), max_size=40))
def test_parity(options, metrics):
    schedule = pax.functional_schedule(lrs.ReduceLROnPlateau, initial_lr=0.5, **options)
    assert rates_of(schedule, metrics) == reference(options, metrics)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_many_runs_at_once(options):
    """Under vmap, with metrics that are tensors."""
    schedule = pax.functional_schedule(lrs.ReduceLROnPlateau, initial_lr=0.5, **options)
    metrics = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    state = pax.tree_map(lambda x: torch.full((4,), x, dtype=torch.float64), schedule.init())
    rates = []
    for metric in metrics.double():
        lr, state = pax.vmap(schedule.step)(metric, state)
        rates.append(lr)
    expected = [reference(options, column.tolist()) for column in metrics.double().T]
    torch.testing.assert_close(torch.stack(rates, 1), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int8], ids=str
)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@given(st.lists(st.sampled_from([0, 1, 1.1, 2, 2.2, -1, -1.1, -4]), max_size=40), st.booleans())
def test_metrics_that_are_tensors(options, dtype, metrics, vector):
    """Torch takes the float of them, which holds every value of these dtypes."""
    schedule = pax.functional_schedule(lrs.ReduceLROnPlateau, initial_lr=0.5, **options)
    given = [torch.tensor([x] if vector else x, dtype=dtype) for x in metrics]
    assert rates_of(schedule, given) == reference(options, [float(x) for x in given])


def test_compiled():
    options = {"mode": "max", "threshold_mode": "abs", "threshold": 0.1, "patience": 0}
    schedule = pax.functional_schedule(lrs.ReduceLROnPlateau, initial_lr=0.5, **options)
    step, state, rates = pax.jit(schedule.step, backend="eager"), schedule.init(), []
    metrics = torch.tensor([1.0, 1.1, 1.3, 1.2])
    for metric in metrics:
        lr, state = step(metric, state)
        rates.append(lr)
    assert rates == reference(options, metrics.tolist())


def test_no_graph_is_kept():
    schedule = pax.functional_schedule(lrs.ReduceLROnPlateau)
    state, weight = schedule.init(), torch.ones((), requires_grad=True)
    for _ in range(3):
        _, state = schedule.step(weight * 2, state)
    assert {name: x.requires_grad for name, x in state.items()} == dict.fromkeys(state, False)
    assert state["lr"].dtype == state["best"].dtype == torch.float64


@pytest.mark.parametrize(
    ("metric", "error", "message"),
    [
        (torch.ones(2), ValueError, r"one number, got a tensor of shape \(2,\); give its mean"),
        (torch.ones(0), ValueError, r"one number, got a tensor of shape \(0,\)"),
        (torch.tensor(1j), TypeError, r"real number, got a tensor of dtype torch\.complex64"),
        (np.ones(2), TypeError, r"real number, got array\(\[1\., 1\.\]\) of type ndarray"),
        ("1.0", TypeError, "real number, got '1.0' of type str"),
        ([1.0], TypeError, r"real number, got \[1.0\] of type list"),
        (None, TypeError, "real number, got None of type NoneType"),
    ],
    ids=str,
)
def test_metric_is_no_number(metric, error, message):
    schedule = pax.functional_schedule(lrs.ReduceLROnPlateau)
    with pytest.raises(error, match=message):
        schedule.step(metric, schedule.init())


@pytest.mark.parametrize(
    "metric", [1, True, np.float32(1.5), np.array(2), Fraction(1, 3)], ids=repr
)
def test_numbers_of_other_types(metric):
    schedule = pax.functional_schedule(lrs.ReduceLROnPlateau)
    _, state = schedule.step(metric, schedule.init())
    assert (state["best"], type(state["best"])) == (float(metric), float)


def test_state_is_not_changed():
    schedule = pax.functional_schedule(lrs.ReduceLROnPlateau, patience=0)
    state = schedule.init()
    schedule.step(1.0, state)
    assert state == schedule.init()


class TestStandalone:
    def test_steps_as_torch_does(self):
        scheduler = pax.StandaloneScheduler(lrs.CosineAnnealingLR, T_max=10, initial_lr=0.1)
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        expected = lrs.CosineAnnealingLR(optimizer, T_max=10)
        for _ in range(30):
            optimizer.step()
            expected.step()
            assert [scheduler.step()] == expected.get_last_lr()

    def test_plateau(self):
        metrics = [1.0, 2.0, 0.5, 0.6, 0.7, 0.8]
        scheduler = pax.StandaloneScheduler(lrs.ReduceLROnPlateau, patience=0, initial_lr=0.5)
        assert [scheduler.step(x) for x in metrics] == reference({"patience": 0}, metrics)

    def test_goes_on_from_a_state(self):
        first, second = (pax.StandaloneScheduler(lrs.StepLR, 3) for _ in range(2))
        for _ in range(4):
            first.step()
        second.load_state_dict(first.state_dict())
        assert [first.step() for _ in range(5)] == [second.step() for _ in range(5)]

    def test_metric(self):
        with pytest.raises(TypeError, match="ReduceLROnPlateau needs a metric"):
            pax.StandaloneScheduler(lrs.ReduceLROnPlateau).step()
        with pytest.raises(TypeError, match="StepLR takes no metric"):
            pax.StandaloneScheduler(lrs.StepLR, 3).step(1.0)
