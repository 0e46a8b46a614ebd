"""Schedules that go through phases, along a curve in each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

from pax_torch.schedule._numeric import Number, Schedule, half_cosine, on_steps, straight, where

CURVES = {"cos": half_cosine, "linear": straight}


def in_phases(ends: Sequence[float], rates: Callable[[], Sequence[Number]], curve: str) -> Schedule:
    """Return the schedule of one cycle.

    Args:
        ends: the step in which the first phase begins, and those in which each of them ends. They
            need not rise; the phase of a step is the first that ends there or later.
        rates: returns the rates in the same places.
        curve: a key of `CURVES`.
    """
    between, stops = CURVES[curve], ends[1:-1]
    lengths = [end - start or 1.0 for start, end in pairwise(ends)]

    def rate_in(phase: int, values: Sequence[Number], step: Number) -> Number:
        share = (step - ends[phase]) / lengths[phase]
        return between(values[phase], values[phase + 1], share)

    def form(step: Number) -> Number:
        if not isinstance(step, Tensor):
            _check_not_over(step, ends[-1])
            return rate_in(_phase_of(step, stops), rates(), step)
        values = rates()
        rate = rate_in(len(stops), values, step)
        for phase in reversed(range(len(stops))):
            rate = where(step <= stops[phase], rate_in(phase, values, step), rate)
        return rate

    return on_steps(form)


def _phase_of(step: int, stops: Sequence[float]) -> int:
    for phase, stop in enumerate(stops):
        if step <= stop:
            return phase
    return len(stops)


def _check_not_over(step: int, end: float) -> None:
    if step > end + 1:
        raise ValueError(f"one_cycle has {int(end) + 1} steps, got step {step}.")
