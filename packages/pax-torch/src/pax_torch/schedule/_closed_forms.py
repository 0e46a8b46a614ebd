"""Learning rates as functions of the step, in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from pax_torch.schedule._numeric import (
    Number,
    Schedule,
    are_at_hand,
    as_index,
    as_rates,
    check_steps,
    clamp,
    decayed,
    half_cosine,
    on_steps,
    remade,
    straight,
    where,
)

_CURVES = {"cos": half_cosine, "linear": straight}


@remade
def step_lr(init_value: float | Tensor, step_size: int, gamma: float | Tensor = 0.1) -> Schedule:
    """Multiplies the rate by a factor every so many steps.

    Args:
        init_value: the rate in step 0.
        step_size: the number of steps with one rate.
        gamma: the factor.

    Returns:
        A function from a step to the rate.

    Raises:
        ValueError: `step_size` is not positive.

    Example:
        >>> from pax_torch import schedule
        >>> lr_at_step = schedule.step_lr(1.0, 10, gamma=0.5)
        >>> lr_at_step(9), lr_at_step(10), lr_at_step(25)
        (1.0, 0.5, 0.25)

    The rates are those of `torch.optim.lr_scheduler.StepLR`.
    """
    _check_positive("step_lr", "step_size", step_size)
    return on_steps(lambda step: decayed(init_value, gamma, step // step_size))


@remade
def multistep_lr(
    init_value: float | Tensor, milestones: Sequence[int], gamma: float | Tensor = 0.1
) -> Schedule:
    """Multiplies the rate by a factor in certain steps.

    Args:
        init_value: the rate in step 0.
        milestones: the steps, in any order; one that stands there twice counts twice.
        gamma: the factor.

    Returns:
        A function from a step to the rate.

    Example:
        >>> from pax_torch import schedule
        >>> lr_at_step = schedule.multistep_lr(1.0, [3, 5], gamma=0.5)
        >>> [lr_at_step(step) for step in range(7)]
        [1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]

    The rates are those of `torch.optim.lr_scheduler.MultiStepLR`.
    """
    places = sorted(milestones)
    return on_steps(lambda step: decayed(init_value, gamma, _passed(places, step)))


@remade
def exponential(
    init_value: float | Tensor,
    gamma: float | Tensor,
    transition_steps: int = 1,
    *,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | Tensor | None = None,
) -> Schedule:
    """Multiplies the rate by a factor in every step, or over so many steps.

    Args:
        init_value: the rate in step 0.
        gamma: the factor.
        transition_steps: the number of steps in which the rate is multiplied by it.
        transition_begin: the step up to which the rate stays `init_value`.
        staircase: keep the rate between these steps, and multiply it all at once.
        end_value: what the rate does not go beyond: below if `gamma` is less than 1, else above.

    Returns:
        A function from a step to the rate.

    Raises:
        ValueError: `transition_steps` is not positive, or `transition_begin` is negative; or `gamma`
            is, and its powers between the steps are no numbers.

    Example:
        >>> from pax_torch import schedule
        >>> schedule.exponential(1.0, 0.5)(3)
        0.125
        >>> lr_at_step = schedule.exponential(1.0, 0.5, 10, staircase=True, end_value=0.2)
        >>> lr_at_step(9), lr_at_step(10), lr_at_step(90)
        (1.0, 0.5, 0.2)

    The rates are those of `torch.optim.lr_scheduler.ExponentialLR`, and with the other arguments those
    of `optax.exponential_decay`.
    """
    _check_positive("exponential", "transition_steps", transition_steps)
    _check_not_negative("exponential", "transition_begin", transition_begin)
    whole = transition_steps == 1 or staircase
    if not whole and not isinstance(gamma, Tensor):
        _check_not_negative("exponential", "gamma where transition_steps is above 1", gamma)

    def form(step: Number) -> Number:
        count = clamp(step - transition_begin, 0, math.inf) if transition_begin else step
        times = count // transition_steps if whole else count / transition_steps
        rate = decayed(init_value, gamma, times)
        if end_value is None:
            return rate
        is_beyond = where(gamma < 1, rate < end_value, rate > end_value)
        return where(is_beyond, end_value, rate)

    return on_steps(form)


@remade
def linear(
    init_value: float | Tensor, end_value: float | Tensor, transition_steps: int
) -> Schedule:
    """Change the rate by the same amount in every step, and then keeps it.

    Args:
        init_value: the rate in step 0.
        end_value: the rate from step `transition_steps` on.
        transition_steps: the number of steps between; for 0 of them the rate stays `init_value`, as
            it does in optax.

    Returns:
        A function from a step to the rate.

    Raises:
        ValueError: `transition_steps` is negative.

    Example:
        >>> from pax_torch import schedule
        >>> lr_at_step = schedule.linear(0.0, 1.0, 4)
        >>> lr_at_step(1), lr_at_step(4), lr_at_step(9)
        (0.25, 1.0, 1.0)

    The API is that of `optax.linear_schedule`.
    """
    _check_not_negative("linear", "transition_steps", transition_steps)
    if transition_steps == 0:
        return on_steps(lambda step: init_value)
    return on_steps(
        lambda step: straight(init_value, end_value, clamp(step / transition_steps, 0.0, 1.0))
    )


@remade
def cosine(
    init_value: float | Tensor, decay_steps: int, end_value: float | Tensor = 0.0
) -> Schedule:
    """Lowers the rate along half a cosine, and then keeps it.

    Args:
        init_value: the rate in step 0.
        decay_steps: the number of steps to the end.
        end_value: the rate from then on.

    Returns:
        A function from a step to the rate.

    Raises:
        ValueError: `decay_steps` is not positive.

    Example:
        >>> from pax_torch import schedule
        >>> lr_at_step = schedule.cosine(1.0, 4)
        >>> lr_at_step(0), lr_at_step(4), lr_at_step(9)
        (1.0, 0.0, 0.0)

    The rates are those of `optax.cosine_decay_schedule`.
    """
    _check_positive("cosine", "decay_steps", decay_steps)
    return on_steps(
        lambda step: half_cosine(init_value, end_value, clamp(step / decay_steps, 0.0, 1.0))
    )


@remade
def warmup_cosine(
    init_value: float | Tensor,
    peak_value: float | Tensor,
    warmup_steps: int,
    decay_steps: int,
    end_value: float | Tensor = 0.0,
) -> Schedule:
    """Raise the rate along a line, and then lowers it along half a cosine.

    Args:
        init_value: the rate in step 0.
        peak_value: the rate in step `warmup_steps`.
        warmup_steps: the number of steps in which it rises; for 0 of them it begins at the peak.
        decay_steps: the number of steps to the end, those of the rise included.
        end_value: the rate from then on.

    Returns:
        A function from a step to the rate.

    Raises:
        ValueError: `warmup_steps` is negative, or `decay_steps` not above it.

    Example:
        >>> from pax_torch import schedule
        >>> lr_at_step = schedule.warmup_cosine(0.0, 1.0, warmup_steps=2, decay_steps=6)
        >>> [round(lr_at_step(step), 2) for step in range(7)]
        [0.0, 0.5, 1.0, 0.85, 0.5, 0.15, 0.0]

    The API is that of `optax.warmup_cosine_decay_schedule`.
    """
    _check_not_negative("warmup_cosine", "warmup_steps", warmup_steps)
    if decay_steps <= warmup_steps:
        raise ValueError(
            f"warmup_cosine needs more decay_steps than warmup_steps, got {decay_steps} and "
            f"{warmup_steps}; decay_steps counts the steps of the warm-up too."
        )
    rise = linear(init_value, peak_value, warmup_steps)
    return join([rise, cosine(peak_value, decay_steps - warmup_steps, end_value)], [warmup_steps])


@remade
def one_cycle(
    max_lr: float | Tensor,
    total_steps: int,
    pct_start: float = 0.3,
    anneal_strategy: str = "cos",
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
) -> Schedule:
    """Raise the rate once, and lowers it far below where it began.

    Args:
        max_lr: the highest rate.
        total_steps: the number of steps.
        pct_start: the share of them in which the rate rises.
        anneal_strategy: "cos" for half a cosine in each phase, "linear" for a line.
        div_factor: how much lower than the highest the first rate is.
        final_div_factor: how much lower than the first the last rate is.
        three_phase: lower the rate to where it began in as many steps as it rose, before it is
            lowered further.

    Returns:
        A function from a step to the rate. It is not defined beyond `total_steps`, where it raises
        ValueError for an integer.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> from pax_torch import schedule
        >>> lr_at_step = schedule.one_cycle(1.0, total_steps=11, pct_start=0.5)
        >>> [round(lr_at_step(step), 6) for step in (0, 4, 10)]
        [0.04, 0.971052, 4e-06]

    The rates are those of `torch.optim.lr_scheduler.OneCycleLR`, after Smith and Topin,
    "Super-convergence" (2017).
    """
    _check_positive("one_cycle", "total_steps", total_steps)
    if anneal_strategy not in _CURVES or not 0 <= pct_start <= 1:
        raise ValueError(
            "one_cycle needs anneal_strategy 'cos' or 'linear' and pct_start from 0 to 1, got "
            f"{anneal_strategy!r} and {pct_start}."
        )
    rise = pct_start * total_steps
    down = [2 * rise - 2] if three_phase else []

    def rates() -> list[Number]:
        first = max_lr / div_factor
        return [first, max_lr, *[first] * len(down), first / final_div_factor]

    return in_phases([0.0, rise - 1, *down, total_steps - 1], rates, anneal_strategy)


@remade
def join(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """Use one schedule after the other, each of which counts its steps from 0.

    Args:
        schedules: functions from a step to a rate, as the others here return them.
        boundaries: the first step of each but the first, in order. Of schedules that would begin in
            the same step, the last is used.

    Returns:
        A function from a step to the rate.

    Raises:
        ValueError: there is not one boundary less than there are schedules, or they are below 0 or fall.

    Example:
        >>> from pax_torch import schedule
        >>> lr_at_step = schedule.join([lambda step: 0.1, schedule.exponential(1.0, 0.5)], [2])
        >>> [lr_at_step(step) for step in range(5)]
        [0.1, 0.1, 1.0, 0.5, 0.25]

    The API is that of `optax.join_schedules`.
    """
    starts = [0, *boundaries]
    if len(schedules) != len(starts) or any(a > b for a, b in pairwise(starts)):
        raise ValueError(
            f"join needs {len(schedules) - 1} boundaries from 0 on that do not fall, one between "
            f"each two of the {len(schedules)} schedules, got {list(boundaries)}."
        )

    def lr_at_step(step: Any) -> Any:
        if not isinstance(step, Tensor):
            index = as_index(step)
            number = _passed(starts, index) - 1
            return schedules[number](index - starts[number])
        steps = check_steps(step).to(torch.int64)
        rate: Any = None
        for start, stop, schedule in zip(starts, [*boundaries, None], schedules, strict=True):
            # Each is asked for its own steps alone, since it may refuse what is after its end.
            last = None if stop is None else max(stop - start - 1, 0)
            own = schedule((steps - start).clamp(0, last))
            rate = own if rate is None else torch.where(steps < start, rate, own)
        return as_rates(rate, steps)

    return lr_at_step


def in_phases(ends: Sequence[float], rates: Callable[[], Sequence[Number]], curve: str) -> Schedule:
    """Return the schedule of one cycle.

    Args:
        ends: the step in which the first phase begins, and those in which each of them ends. They
            need not rise; the phase of a step is the first that ends there or later.
        rates: returns the rates in the same places.
        curve: a key of `_CURVES`.
    """
    between, stops = _CURVES[curve], ends[1:-1]
    lengths = [end - start or 1.0 for start, end in pairwise(ends)]

    def rate_in(phase: int, values: Sequence[Number], step: Number) -> Number:
        share = (step - ends[phase]) / lengths[phase]
        return between(values[phase], values[phase + 1], share)

    def form(step: Number) -> Number:
        if not isinstance(step, Tensor):
            _check_not_over(step, ends[-1])
            return rate_in(_phase_of(step, stops), rates(), step)
        if are_at_hand(step) and step.numel():
            _check_not_over(int(step.max()), ends[-1])
        values = rates()
        rate = rate_in(len(stops), values, step)
        for phase in reversed(range(len(stops))):
            rate = where(step <= stops[phase], rate_in(phase, values, step), rate)
        # Where values are hidden, what has no rate says so by NaN.
        return torch.where(step > ends[-1] + 1, torch.nan, rate)

    return on_steps(form)


def _phase_of(step: int, stops: Sequence[float]) -> int:
    for phase, stop in enumerate(stops):
        if step <= stop:
            return phase
    return len(stops)


def _check_not_over(step: int, end: float) -> None:
    if step > end + 1:
        raise ValueError(f"one_cycle has {int(end) + 1} steps, got step {step}.")


def _passed(places: list[int], step: Number) -> Number:
    """How many of the places are not above the step."""
    if not isinstance(step, Tensor):
        return sum(place <= step for place in places)
    marks = torch.tensor(places, dtype=step.dtype, device=step.device)
    return (step.unsqueeze(-1) >= marks).sum(-1)


def _check_not_negative(function: str, name: str, value: float) -> None:
    if value < 0:
        raise ValueError(f"{function} needs {name} from 0, got {value}.")


def _check_positive(function: str, name: str, value: int) -> None:
    if value <= 0:
        raise ValueError(f"{function} needs a positive {name}, got {value}.")
