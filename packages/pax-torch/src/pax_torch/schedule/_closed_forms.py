"""The schedulers of torch whose learning rate is a formula of the step."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.optim import lr_scheduler as torch_schedulers
from torch.optim.lr_scheduler import LRScheduler

from pax_torch import schedule
from pax_torch._compat import values_are_hidden
from pax_torch.schedule._numeric import (
    Number,
    Schedule,
    as_index,
    as_rates,
    check_steps,
    clamp,
    floor,
    half_cosine,
    on_steps,
    one_by_one,
    straight,
    where,
)
from pax_torch.schedule._phases import in_phases


def closed_form(scheduler: LRScheduler, initial_lr: float) -> Schedule | None:
    """Return the schedule of a scheduler that stands at step 0, where it is a known formula.

    Torch goes on from the last rate, and so keeps to the formulas only for usual arguments: it never
    meets a milestone below 0, say, or between two steps.

    Args:
        scheduler: of the formula, and the source of its constants.
        initial_lr: the learning rate of its optimizer before the scheduler was made.
    """
    make = _FORMS.get(type(scheduler).__name__)
    own = getattr(torch_schedulers, type(scheduler).__name__, None) is type(scheduler)
    return make(scheduler, initial_lr) if make is not None and own else None


def _is_count(value: Any, least: int = 1) -> bool:
    return isinstance(value, Real) and float(value) >= least and float(value).is_integer()


def _is_duration(value: Any) -> bool:
    return _is_count(value) or value == math.inf


def _step(s: Any, lr: float) -> Schedule | None:
    if s.step_size != 0 and not _is_count(s.step_size):
        return None
    return schedule.step_lr(lr, s.step_size, s.gamma)


def _multi_step(s: Any, lr: float) -> Schedule | None:
    if not all(_is_count(milestone, least=0) for milestone in s.milestones):
        return None
    return schedule.multistep_lr(lr, sorted(s.milestones.elements()), s.gamma)


def _constant(s: Any, lr: float) -> Schedule | None:
    if not _is_duration(s.total_iters):
        return None
    return on_steps(lambda step: lr * where(step < s.total_iters, s.factor, 1.0))


def _linear(s: Any, lr: float) -> Schedule | None:
    if not _is_duration(s.total_iters):
        return None
    return on_steps(
        lambda step: lr * straight(s.start_factor, s.end_factor, _share(step, s.total_iters))
    )


def _exponential(s: Any, lr: float) -> Schedule:
    return schedule.exponential(lr, s.gamma)


def _polynomial(s: Any, lr: float) -> Schedule | None:
    if not _is_duration(s.total_iters):
        return None
    return on_steps(lambda step: lr * (1 - _share(step, s.total_iters)) ** s.power)


def _share(step: Number, total: int) -> Number:
    return clamp(step / total, 0.0, 1.0)


def _cosine(s: Any, lr: float) -> Schedule | None:
    if s.T_max == 0:
        return None
    return on_steps(lambda step: half_cosine(lr, s.eta_min, step / s.T_max))


def _warm_restarts(s: Any, lr: float) -> Schedule:
    def form(step: Number) -> Number:
        start, length = _last_restart(step, s.T_0, s.T_mult)
        return half_cosine(lr, s.eta_min, (step - start) / length)

    return on_steps(form)


def _last_restart(step: Number, length: int, factor: int) -> tuple[Number, Number]:
    """Where the cycle of a step begins, and how long it is."""
    if factor == 1:
        return step - step % length, length
    # 64 cycles, each at least twice as long as the last, are more than steps can be counted.
    start, size = step * 0, step * 0 + length
    for _ in range(64):
        is_over = step >= start + size
        start, size = where(is_over, start + size, start), where(is_over, size * factor, size)
        if is_over is False:
            break
    return start, size


def _cyclic(s: Any, lr: float) -> Schedule | None:
    if s._scale_fn_custom is not None or s.step_ratio == 1:
        return None
    (low,), (high,) = s.base_lrs, s.max_lrs

    def form(step: Number) -> Number:
        cycle = floor(step / s.total_size)
        share = step / s.total_size - cycle
        rising, falling = share / s.step_ratio, (share - 1) / (s.step_ratio - 1)
        height = where(share <= s.step_ratio, rising, falling)
        return low + (high - low) * height * _SCALES[s.mode](s.gamma, cycle, step)

    return on_steps(form)


# By the mode, from the factor, the number of the cycle and that of the step.
_SCALES: dict[str, Callable[[float, Number, Number], Number]] = {
    "triangular": lambda gamma, cycle, step: 1.0,
    "triangular2": lambda gamma, cycle, step: 0.5**cycle,
    "exp_range": lambda gamma, cycle, step: gamma**step,
}


def _one_cycle(s: Any, lr: float) -> Schedule:
    group, phases = s.optimizer.param_groups[0], s._schedule_phases
    rates = [group[phases[0]["start_lr"]], *(group[phase["end_lr"]] for phase in phases)]
    ends = [0.0, *(phase["end_step"] for phase in phases)]
    return in_phases(ends, lambda: rates, s._anneal_func_type)


def _lambda(s: Any, lr: float) -> Schedule:
    (factor,) = s.lr_lambdas

    def lr_at_step(step: Any) -> Any:
        if isinstance(step, Tensor):
            check_steps(step)
            return at_traced(step) if values_are_hidden() else one_by_one(lr_at_step, step)
        return float(lr * factor(as_index(step)))

    dtype = _dtype_for(factor)

    def at_traced(steps: Tensor) -> Tensor:
        try:
            return as_rates(lr * factor(steps.to(dtype)), steps)
        except Exception as error:
            raise TypeError(_TRACED_LAMBDA) from error

    return lr_at_step


def _dtype_for(factor: Callable[[Any], Any]) -> torch.dtype:
    """Return that of the steps: powers need floats, and looking up in a table integers."""
    try:
        factor(torch.zeros((), dtype=torch.float64))
    except Exception:
        return torch.int64
    return torch.float64


_TRACED_LAMBDA = (
    "inside vmap and jit, the function of LambdaLR is given the step as a tensor, of dtype "
    "torch.float64 or else torch.int64, and this one fails with both: it may use arithmetic, "
    "comparisons and functions of torch such as torch.where and torch.clamp, but nothing that needs "
    "the value, such as `if` or `min`; or compute the learning rate outside."
)


def _sequential(s: Any, lr: float) -> Schedule | None:
    in_order = all(a < b for a, b in pairwise([0, *s._milestones]))
    if not in_order or not all(map(_is_count, s._milestones)):
        return None
    if any(type(part).__name__ in _NOT_FROM_ZERO for part in s._schedulers):
        return None
    found = [part for part in (closed_form(part, lr) for part in s._schedulers) if part]
    return schedule.join(found, s._milestones) if len(found) == len(s._schedulers) else None


# Torch starts these in a sequence elsewhere than at their step 0, or at rates that others have set.
_NOT_FROM_ZERO = {"CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR", "SequentialLR"}


_FORMS: dict[str, Callable[[Any, float], Schedule | None]] = {
    "ConstantLR": _constant,
    "CosineAnnealingLR": _cosine,
    "CosineAnnealingWarmRestarts": _warm_restarts,
    "CyclicLR": _cyclic,
    "ExponentialLR": _exponential,
    "LambdaLR": _lambda,
    "LinearLR": _linear,
    "MultiStepLR": _multi_step,
    "OneCycleLR": _one_cycle,
    "PolynomialLR": _polynomial,
    "SequentialLR": _sequential,
    "StepLR": _step,
}
