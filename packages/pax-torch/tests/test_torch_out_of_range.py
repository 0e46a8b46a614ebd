"""Arguments out of range: an error or the right value, the same for numbers and tensors."""

import pytest
import torch

import pax_torch as pax
from pax_torch import random, schedule

KEY = random.key(0)
CYCLE = pax.functional_schedule(
    torch.optim.lr_scheduler.OneCycleLR,
    initial_lr=0.1,
    max_lr=0.1,
    total_steps=10,
    cycle_momentum=False,
)
EMA = pax.ema_init(torch.ones(2))

CASES = {
    "step past the end": (CYCLE, 11, "has 10 steps, got step 11"),
    "step before the start": (CYCLE, -1, "starts at step 0"),
    "step of a boolean": (CYCLE, True, "takes the step as an integer"),
    "word of 33 bits": (lambda x: random.fold_in(KEY, x), 2**32, "must be from 0 to 4294967295"),
    "negative word": (lambda x: random.fold_in(KEY, x), -1, "must be from 0 to 4294967295"),
    "decay above 1": (lambda x: pax.ema_step(EMA, torch.ones(2), x), 1.5, "from 0 to 1"),
    "negative decay": (lambda x: pax.ema_step(EMA, torch.ones(2), x), -0.1, "from 0 to 1"),
    "decay of NaN": (lambda x: pax.ema_step(EMA, torch.ones(2), x), float("nan"), "from 0 to 1"),
}


@pytest.mark.parametrize("kind", [lambda x: x, torch.tensor], ids=["number", "tensor"])
@pytest.mark.parametrize("name", CASES)
def test_out_of_range(name, kind):
    function, value, message = CASES[name]
    with pytest.raises((ValueError, TypeError), match=message):
        function(kind(value))


def test_what_has_no_rate_is_nan_where_no_error_can_be_raised():
    steps = torch.tensor([9, 10, 11, 500])
    rates = pax.vmap(CYCLE)(steps)
    assert rates.isnan().tolist() == [False, False, True, True]


def test_joined_schedules_are_asked_for_their_own_steps():
    joined = schedule.join([CYCLE, lambda step: 0.5 + 0 * step], [10])
    rates = joined(torch.tensor([0, 9, 10, 400]))
    torch.testing.assert_close(rates, torch.tensor([CYCLE(0), CYCLE(9), 0.5, 0.5]))


@pytest.mark.parametrize("axis", [2, -3])
@pytest.mark.parametrize(
    "function",
    [
        lambda x, axis: random.permutation(KEY, x, axis),
        lambda x, axis: random.permutation(KEY, x, axis, True),
        lambda x, axis: random.categorical(KEY, x, axis),
        lambda x, axis: random.choice(KEY, x, (2,), axis=axis),
    ],
)
def test_axes(function, axis):
    with pytest.raises(IndexError, match=f"no axis {axis} in an array of 2 axes"):
        function(torch.ones(2, 3), axis)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_averages_of_half_precision_go_on_changing(dtype):
    values = torch.linspace(10, 11, 400).to(dtype)
    state, wide = pax.ema_init(values[0]), pax.ema_init(values[0].double())
    mean = torch.zeros((), dtype=dtype)
    for step, value in enumerate(values):
        state = pax.ema_step(state, value, 0.999)
        wide = pax.ema_step(wide, value.double(), 0.999)
        mean = pax.running_avg_step(mean, value, step)
    torch.testing.assert_close(pax.ema_read(state).double(), pax.ema_read(wide), rtol=1e-5, atol=0)
    torch.testing.assert_close(mean.double(), values.double().mean(), rtol=1e-5, atol=0)
