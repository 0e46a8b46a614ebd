"""The schedules that pax_torch names as optax does give optax's learning rates."""

import numpy as np
import optax
import pytest
import torch

import pax_torch as pax
from pax_torch import schedule

PAIRS = {
    "linear": (schedule.linear(1.0, 0.1, 50), optax.linear_schedule(1.0, 0.1, 50)),
    "cosine": (schedule.cosine(2.0, 70, 0.5), optax.cosine_decay_schedule(2.0, 70, alpha=0.25)),
    "warmup_cosine": (
        schedule.warmup_cosine(0.1, 1.0, 20, 90, 0.05),
        optax.warmup_cosine_decay_schedule(0.1, 1.0, 20, 90, 0.05),
    ),
    "exponential": (schedule.exponential(1.0, 0.95), optax.exponential_decay(1.0, 1, 0.95)),
    "join": (
        schedule.join([schedule.linear(0.0, 1.0, 5), schedule.exponential(1.0, 0.9)], [9]),
        optax.join_schedules(
            [optax.linear_schedule(0.0, 1.0, 5), optax.exponential_decay(1.0, 1, 0.9)], [9]
        ),
    ),
}
CONSTANT, STEEP = (0.5, 0.5, 1), (1.0, 0.0, 7)
NO_STEPS = {
    "linear": (schedule.linear(0.3, 1.0, 0), optax.linear_schedule(0.3, 1.0, 0)),
    "warmup_cosine": (
        schedule.warmup_cosine(0.1, 1.0, 0, 90, 0.05),
        optax.warmup_cosine_decay_schedule(0.1, 1.0, 0, 90, 0.05),
    ),
    **{
        f"join-{boundaries}": tuple(
            join([linear(*CONSTANT), linear(*STEEP), linear(0.0, 2.0, 9)], boundaries)
            for join, linear in (
                (schedule.join, schedule.linear),
                (optax.join_schedules, optax.linear_schedule),
            )
        )
        for boundaries in ([0, 5], [5, 5], [0, 0])
    },
}
PAIRS |= {f"{name}-0": pair for name, pair in NO_STEPS.items()}


@pytest.mark.parametrize(("ours", "theirs"), PAIRS.values(), ids=PAIRS.keys())
def test_rates(ours, theirs):
    steps = np.arange(120)
    expected = np.array([theirs(step) for step in steps])
    np.testing.assert_allclose([ours(step) for step in steps], expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(ours(torch.tensor(steps)), expected, rtol=1e-5, atol=1e-6)


EXPONENTIALS = [
    {"transition_steps": 1},
    {"transition_steps": 4},
    {"transition_steps": 4, "transition_begin": 3},
    {"transition_steps": 4, "staircase": True},
    {"transition_steps": 4, "staircase": True, "transition_begin": 3, "end_value": 0.4},
]


@pytest.mark.parametrize("factor", [0.5, 1.5])
@pytest.mark.parametrize("kwargs", EXPONENTIALS, ids=str)
def test_exponential_is_that_of_optax(kwargs, factor):
    given = {**kwargs, "end_value": 1.7} if "end_value" in kwargs and factor > 1 else kwargs
    expected = optax.exponential_decay(0.8, decay_rate=factor, **given)
    lr_at_step = schedule.exponential(0.8, factor, **given)
    rates = [float(expected(i)) for i in range(20)]
    assert [lr_at_step(i) for i in range(20)] == pytest.approx(rates, rel=1e-6)
    torch.testing.assert_close(pax.vmap(lr_at_step)(torch.arange(20)), torch.tensor(rates))
