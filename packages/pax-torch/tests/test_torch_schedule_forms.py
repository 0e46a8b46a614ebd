"""The closed forms in pax_torch.schedule."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pax_torch as pax
from pax_torch import schedule

FORMS = {
    "cosine": schedule.cosine(1.0, 20, 0.1),
    "exponential": schedule.exponential(0.5, 0.9),
    "join": schedule.join([schedule.linear(0.0, 1.0, 5), schedule.step_lr(1.0, 3)], [5]),
    "linear": schedule.linear(1.0, 0.2, 7),
    "multistep_lr": schedule.multistep_lr(1.0, [8, 3]),
    "one_cycle": schedule.one_cycle(1.0, 60),
    "step_lr": schedule.step_lr(1.0, 4, 0.5),
    "warmup_cosine": schedule.warmup_cosine(0.0, 1.0, 5, 30, 0.01),
}
INTEGERS = [getattr(torch, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)]
LEARNED = {
    "cosine": lambda rate: schedule.cosine(rate, 20, 0.1),
    "exponential": lambda rate: schedule.exponential(rate, rate),
    "join": lambda rate: schedule.join([schedule.linear(0.0, rate, 5)] * 2, [5]),
    "linear": lambda rate: schedule.linear(0.1, rate, 7),
    "multistep_lr": lambda rate: schedule.multistep_lr(rate, [8, 3], rate),
    "one_cycle": lambda rate: schedule.one_cycle(rate, 60),
    "one_cycle-three": lambda rate: schedule.one_cycle(rate, 60, three_phase=True),
    "step_lr": lambda rate: schedule.step_lr(rate, 4, rate),
    "warmup_cosine": lambda rate: schedule.warmup_cosine(0.1, rate, 5, 30, rate),
}


def test_all_have_a_case():
    assert sorted(FORMS) == schedule.__all__ == sorted({name.partition("-")[0] for name in LEARNED})


@pytest.mark.parametrize("lr_at_step", FORMS.values(), ids=FORMS.keys())
class TestAll:
    @given(steps=st.lists(st.integers(0, 60), min_size=1, max_size=9))
    def test_tensors_and_integers_agree(self, lr_at_step, steps):
        one_by_one = [lr_at_step(step) for step in steps]
        assert all(type(rate) is float for rate in one_by_one)
        together = lr_at_step(torch.tensor(steps))
        torch.testing.assert_close(together, torch.tensor(one_by_one))

    def test_under_vmap_and_compiled(self, lr_at_step):
        steps = torch.arange(60)
        expected = lr_at_step(steps)
        torch.testing.assert_close(pax.vmap(lr_at_step)(steps), expected)
        torch._dynamo.reset()
        compiled = torch.compile(lr_at_step, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(steps), expected)

    @pytest.mark.parametrize("dtype", INTEGERS, ids=str)
    def test_steps_of_every_dtype(self, lr_at_step, dtype):
        steps = torch.arange(60)
        assert lr_at_step(steps.to(dtype)).equal(lr_at_step(steps))

    def test_refuses_what_is_no_step(self, lr_at_step):
        with pytest.raises(TypeError, match="takes the step as an integer"):
            lr_at_step(0.5)
        with pytest.raises(TypeError, match=r"got a tensor of dtype torch\.float32"):
            lr_at_step(torch.tensor(0.5))
        for step in (-1, torch.tensor(-1), torch.tensor([3, -1], dtype=torch.int8)):
            with pytest.raises(ValueError, match="starts at step 0, got step -1"):
                lr_at_step(step)


def test_ends():
    assert schedule.cosine(1.0, 10, 0.25)(100) == 0.25
    assert schedule.linear(1.0, 0.25, 10)(100) == 0.25
    rates = [FORMS["warmup_cosine"](step) for step in (0, 5, 30, 99)]
    assert rates == pytest.approx([0.0, 1.0, 0.01, 0.01])


def test_gradient_by_a_constant():
    """A learned schedule."""

    def total(gamma):
        return sum(schedule.exponential(1.0, gamma)(step) for step in range(4))

    gamma = torch.tensor(0.5, dtype=torch.float64)
    torch.testing.assert_close(pax.grad(total)(gamma), 1 + 2 * gamma + 3 * gamma**2)


@pytest.mark.parametrize("make", LEARNED.values(), ids=LEARNED.keys())
def test_each_step_has_a_graph_of_its_own(make):
    """A learned schedule is made once, and differentiated in every step."""
    rate = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    lr_at_step, eps = make(rate), 1e-6
    with torch.no_grad():
        above, below = make(rate + eps), make(rate - eps)
    for step in (0, 4, 9, 50):
        slope = torch.as_tensor(above(step) - below(step)) / (2 * eps)
        for same in (step, torch.tensor(step)):
            rates = torch.as_tensor(lr_at_step(same))
            (grad,) = torch.autograd.grad(rates, rate) if rates.requires_grad else (0.0 * rate,)
            torch.testing.assert_close(grad, slope, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8], ids=str)
@given(st.integers(0, 400), st.lists(st.integers(0, 127), min_size=1))
def test_no_overflow_in_the_dtype_of_the_steps(dtype, start, steps):
    lr_at_step = schedule.join([schedule.linear(0.0, 1.0, 99), schedule.cosine(1.0, 99)], [start])
    rates = lr_at_step(torch.tensor(steps, dtype=dtype))
    torch.testing.assert_close(rates, torch.tensor([lr_at_step(step) for step in steps]))


def test_traced_steps_below_0_give_nan():
    steps = torch.tensor([-1, 3])
    expected = torch.tensor([torch.nan, 0.125])  # as numbers they are refused
    for transform in (pax.vmap, pax.jit):
        rates = transform(schedule.exponential(1.0, 0.5))(steps)
        torch.testing.assert_close(rates, expected, rtol=0, atol=0, equal_nan=True)


def test_steps_an_optimizer_under_vmap():
    """A population that is in different places of one schedule."""
    optimizer = pax.functional_optimizer(torch.optim.SGD)
    lr_at_step = schedule.exponential(1.0, 0.5)
    step = lambda params, i: optimizer.step(params, params, {}, lr=lr_at_step(i))[0]  # noqa: E731
    params = pax.vmap(step)(torch.ones(4), torch.arange(4))
    torch.testing.assert_close(params, torch.tensor([0.0, 0.5, 0.75, 0.875]))


class TestErrors:
    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: schedule.step_lr(1.0, 0), "step_lr needs a positive step_size, got 0"),
            (lambda: schedule.linear(1.0, 0.0, -1), "linear needs transition_steps from 0, got -1"),
            (lambda: schedule.cosine(1.0, -1), "cosine needs a positive decay_steps, got -1"),
            (
                lambda: schedule.warmup_cosine(0, 1, -1, 5),
                "warmup_cosine needs warmup_steps from 0",
            ),
            (lambda: schedule.warmup_cosine(0, 1, 5, 5), "more decay_steps than warmup_steps"),
            (lambda: schedule.one_cycle(1.0, 5, 2.0), "pct_start from 0 to 1, got 'cos' and 2"),
            (lambda: schedule.join([math.sin], [1]), "join needs 0 boundaries"),
            (
                lambda: schedule.join([math.sin] * 3, [5, 4]),
                "boundaries from 0 on that do not fall",
            ),
            (lambda: schedule.join([math.sin] * 2, [-1]), "boundaries from 0 on that do not fall"),
        ],
    )
    def test_arguments(self, make, message):
        with pytest.raises(ValueError, match=message):
            make()
