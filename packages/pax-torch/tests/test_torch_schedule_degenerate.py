"""functional_schedule follows torch's schedulers where their arguments are unusual."""

import itertools
import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler as lrs

import pax_torch as pax

COUNTS = (0, -3, 1, 2.5, 5.0, math.inf)
FACTORS = (0, 0.0, 1, -0.5, 2, -3, 10.0, math.inf)
PARTS = [
    partial(lrs.ConstantLR, total_iters=0),
    partial(lrs.LinearLR, total_iters=0),
    partial(lrs.PolynomialLR, total_iters=0),
    partial(lrs.ConstantLR, total_iters=3),
    partial(lrs.LinearLR, total_iters=3),
    partial(lrs.PolynomialLR, total_iters=3),
    partial(lrs.ExponentialLR, gamma=0.9),
    partial(lrs.MultiStepLR, milestones=[-1, 0, 3]),
    partial(lrs.MultiStepLR, milestones=[0, 3]),
    partial(lrs.StepLR, step_size=2),
    partial(lrs.CosineAnnealingLR, T_max=4),
    partial(lrs.LambdaLR, lr_lambda=lambda step: 1 / (step + 1)),
    partial(lrs.CosineAnnealingWarmRestarts, T_0=3),
    partial(lrs.MultiplicativeLR, lr_lambda=lambda step: 0.9),
]


def numbered(cases):
    """With the class and the numbers among the arguments as the id."""
    return [
        pytest.param(cls, kwargs, id=f"{cls.__name__}({_numbers(kwargs)})") for cls, kwargs in cases
    ]


def _numbers(kwargs):
    return {name: x for name, x in kwargs.items() if isinstance(x, int | float)}


def reference(cls, kwargs, steps, initial_lr=0.3):
    """Torch's learning rates, up to the step in which it fails."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=initial_lr)
    if "schedulers" in kwargs:
        kwargs = {**kwargs, "schedulers": [make(optimizer) for make in kwargs["schedulers"]]}
    scheduler, rates = cls(optimizer, **kwargs), []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        try:
            scheduler.step()
        except (ValueError, ZeroDivisionError):
            break
    return rates


def check(cls, kwargs, steps=60):
    expected = reference(cls, kwargs, steps)
    lr_at_step = pax.functional_schedule(cls, initial_lr=0.3, **kwargs)
    rates = [lr_at_step(step) for step in range(len(expected))]
    assert rates == pytest.approx(expected, rel=1e-8, abs=1e-10, nan_ok=True)
    together = lr_at_step(torch.arange(len(expected)))
    torch.testing.assert_close(together, torch.tensor(expected), equal_nan=True)


@pytest.mark.parametrize(
    ("cls", "kwargs"),
    numbered(
        (cls, {**others, name: count})
        for count in COUNTS
        for cls, name, others in (
            (lrs.ConstantLR, "total_iters", {"factor": 0.3}),
            (lrs.LinearLR, "total_iters", {"start_factor": 0.3, "end_factor": 0.8}),
            (lrs.PolynomialLR, "total_iters", {"power": 2.0}),
            (lrs.CosineAnnealingLR, "T_max", {"eta_min": 0.01}),
            (lrs.StepLR, "step_size", {"gamma": 0.5}),
        )
        if (cls, count) != (lrs.StepLR, 0)  # Torch fails in step 1, and we at once.
    ),
)
def test_counts(cls, kwargs):
    check(cls, kwargs)


@pytest.mark.parametrize(
    "milestones", [[], [-1], [0], [0, 0], [2.5], [3.0], [-2, 4, 4, 0], [math.inf, 3]], ids=str
)
def test_milestones(milestones):
    check(lrs.MultiStepLR, {"milestones": milestones})


@pytest.mark.parametrize("gamma", FACTORS)
@pytest.mark.parametrize(
    ("cls", "kwargs"),
    numbered(
        [
            (lrs.ExponentialLR, {}),
            (lrs.StepLR, {"step_size": 2}),
            (lrs.MultiStepLR, {"milestones": [1, 2] * 300}),
        ]
    ),
)
def test_factors(cls, kwargs, gamma):
    """Far enough for powers that are no floats."""
    check(cls, {**kwargs, "gamma": gamma}, steps=1100)


@pytest.mark.parametrize("initial_lr", [0.0, 1e-300, 0.1])
def test_far_beyond_all_floats(initial_lr):
    lr_at_step = pax.functional_schedule(lrs.ExponentialLR, gamma=-10, initial_lr=initial_lr)
    expected = reference(lrs.ExponentialLR, {"gamma": -10.0}, 700, initial_lr)
    assert [lr_at_step(step) for step in range(700)] == pytest.approx(expected, rel=1e-8)
    assert abs(lr_at_step(10**9)) == (math.inf if initial_lr else 0.0)


@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp_range"])
@pytest.mark.parametrize("sizes", [(5, 0), (1, 1), (2.3, None), (-5, None), (1, None)], ids=str)
def test_cycles(sizes, mode):
    up, down = sizes
    kwargs = {"step_size_up": up, "step_size_down": down, "mode": mode, "gamma": 0.9}
    check(lrs.CyclicLR, {"base_lr": 0.01, "max_lr": 0.1, "cycle_momentum": False, **kwargs})


@pytest.mark.parametrize(
    "kwargs",
    [
        *(
            {"max_lr": 0.1, "total_steps": steps, "pct_start": share, "three_phase": three}
            for steps, share, three in itertools.product((2, 3, 8), (0.0, 0.3, 1.0), (0, 1))
        ),
        {"max_lr": 0.0, "total_steps": 9},
        {"max_lr": 0.1, "total_steps": 9, "div_factor": math.inf},
        {"max_lr": 0.1, "total_steps": 9, "final_div_factor": math.inf},
        {"max_lr": 0.1, "total_steps": 9, "anneal_strategy": "linear", "three_phase": True},
    ],
    ids=str,
)
def test_one_cycle(kwargs):
    check(lrs.OneCycleLR, {"cycle_momentum": False, **kwargs})


@pytest.mark.parametrize("milestones", [[0], [-1], [2.5], [3]], ids=str)
@pytest.mark.parametrize("first", PARTS, ids=lambda part: f"{part.func.__name__}")
def test_sequences_of_two(first, milestones):
    for second in PARTS:
        check(lrs.SequentialLR, {"schedulers": [first, second], "milestones": milestones}, 12)


@given(st.lists(st.tuples(st.sampled_from(PARTS), st.integers(-2, 9)), min_size=1, max_size=4))
def test_sequences(parts):
    """Also with milestones that fall, or with two in one step."""
    schedulers = [part for part, _ in parts]
    milestones = [milestone for _, milestone in parts[1:]]
    check(lrs.SequentialLR, {"schedulers": schedulers, "milestones": milestones}, 14)


LAMBDAS = {
    "integer power": lambda step: 10 ** -(step // 100),
    "warm-up": lambda step: min(1.0, step / 10),
    "branch": lambda step: 1.0 if step < 30 else 0.1,
    "table": lambda step: [1.0, 0.5, 0.25][min(step // 50, 2)],
    "math": lambda step: math.exp(-step / 9),
}


@pytest.mark.parametrize("lr_lambda", LAMBDAS.values(), ids=LAMBDAS.keys())
def test_functions_of_integers(lr_lambda):
    check(lrs.LambdaLR, {"lr_lambda": lr_lambda}, steps=350)


@pytest.mark.parametrize(
    "lr_lambda",
    [
        LAMBDAS["integer power"],
        lambda step: 0.95**step,
        lambda step: 2 ** -(step % 7),
        lambda step: (step + 1) ** -1,
        lambda step: 1.0,
        lambda step: 0.5 ** (torch.as_tensor(step) & 1).double(),
        lambda step: torch.linspace(1, 0.1, 400, dtype=torch.float64)[torch.as_tensor(step)],
    ],
)
@pytest.mark.parametrize("trace", [pax.vmap, partial(pax.jit, backend="eager")])
def test_functions_of_traced_steps(lr_lambda, trace):
    lr_at_step = pax.functional_schedule(lrs.LambdaLR, lr_lambda, initial_lr=0.3)
    expected = torch.tensor(reference(lrs.LambdaLR, {"lr_lambda": lr_lambda}, 350))
    torch.testing.assert_close(trace(lr_at_step)(torch.arange(350)), expected)


@pytest.mark.parametrize("name", ["warm-up", "branch", "table"])
@pytest.mark.parametrize("trace", [pax.vmap, partial(pax.jit, backend="eager")])
def test_functions_that_need_the_value(name, trace):
    lr_at_step = pax.functional_schedule(lrs.LambdaLR, LAMBDAS[name])
    with pytest.raises(TypeError, match=r"Inside vmap and jit, the function of LambdaLR is given"):
        trace(lr_at_step)(torch.arange(4))


def test_the_error_of_the_function_is_kept():
    lr_at_step = pax.functional_schedule(lrs.LambdaLR, lambda step: {0: 1.0}[step])
    with pytest.raises(KeyError):
        lr_at_step(torch.tensor([0, 1]))
    with pytest.raises(TypeError, match="or compute the learning rate outside") as caught:
        pax.vmap(lr_at_step)(torch.arange(2))
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("cls", [lrs.ConstantLR, lrs.LinearLR, lrs.PolynomialLR])
def test_phases_without_end_are_formulas(cls):
    lr_at_step = pax.functional_schedule(cls, total_iters=math.inf, initial_lr=0.3)
    expected = torch.tensor(reference(cls, {"total_iters": math.inf}, 20))
    torch.testing.assert_close(pax.vmap(lr_at_step)(torch.arange(20)), expected)


@pytest.mark.parametrize("step", [torch.tensor(-2), torch.tensor([[3, -2]])], ids=str)
@pytest.mark.parametrize(
    ("cls", "kwargs"),
    numbered(
        [
            (lrs.StepLR, {"step_size": 10}),
            (lrs.LambdaLR, {"lr_lambda": lambda step: 1.0}),
            (lrs.MultiplicativeLR, {"lr_lambda": lambda step: 1.0}),
            (lrs.SequentialLR, {"schedulers": [PARTS[4], PARTS[6]], "milestones": [3]}),
        ]
    ),
)
def test_negative_steps(cls, kwargs, step):
    with pytest.raises(ValueError, match="starts at step 0, got step -2"):
        pax.functional_schedule(cls, **kwargs)(step)


class TestWhatIsLeftOut:
    @pytest.mark.parametrize("make", [pax.functional_schedule, pax.StandaloneScheduler])
    def test_an_optimizer_is_given(self, make):
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        message = "arguments of StepLR after the optimizer, got an optimizer; leave it out"
        with pytest.raises(TypeError, match=message):
            make(lrs.StepLR, optimizer, 10)
        with pytest.raises(TypeError, match=message):
            make(lrs.StepLR, step_size=10, optimizer=optimizer)

    def test_a_class_without_rates(self):
        mine = type("Mine", (lrs.LRScheduler,), {})
        for cls in (lrs.LRScheduler, mine):
            with pytest.raises(TypeError, match=f"got {cls.__name__}, which has no get_lr"):
                pax.functional_schedule(cls)


@pytest.mark.parametrize(
    "schedule",
    [
        pax.schedule.cosine(1.0, 10),
        pax.schedule.linear(1.0, 0.0, 10),
        pax.schedule.exponential(1.0, 0.9),
        pax.schedule.step_lr(1.0, 3),
        pax.schedule.multistep_lr(1.0, [3, 7]),
        pax.schedule.one_cycle(1.0, 10),
        pax.schedule.warmup_cosine(0.0, 1.0, 3, 10),
        pax.schedule.join([pax.schedule.linear(0.0, 1.0, 3), pax.schedule.cosine(1.0, 7)], [3]),
    ],
)
def test_negative_steps_that_are_hidden_have_no_rate(schedule):
    steps = torch.tensor([-5, -1, 0, 2, 3, 9])
    for rates in (pax.vmap(schedule)(steps), pax.jit(schedule, backend="eager")(steps)):
        assert rates.isnan().tolist() == [True, True, False, False, False, False]
        torch.testing.assert_close(rates[2:], schedule(steps[2:]))
