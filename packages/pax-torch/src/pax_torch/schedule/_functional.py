"""`functional_schedule`: the schedulers of `torch.optim.lr_scheduler` as functions of the step."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.optim import lr_scheduler as torch_schedulers
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from pax_torch import _compat
from pax_torch._optim.optimizer import FunctionalOptimizer
from pax_torch._tracing import values_are_hidden
from pax_torch.schedule import _closed_forms as closed_forms
from pax_torch.schedule._numeric import (
    Number,
    RemadeSchedule,
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
from pax_torch.schedule._plateau import PlateauSchedule
from pax_torch.schedule._standalone import StandaloneScheduler
from pax_tree import tree_map


def functional_schedule(
    cls: type[LRScheduler],
    *args: Any,
    initial_lr: float | None = None,
    optimizer: FunctionalOptimizer | None = None,
    **kwargs: Any,
) -> Any:
    """Return a learning-rate schedule as a function of the step.

    With `optimizer`, the function gives all the hyperparameters that the scheduler writes, as a
    dictionary that a step takes: `optimizer.step(params, grads, state, **schedule(i))`. `OneCycleLR`
    and `CyclicLR` write more than the learning rate, the momentum or the first of the betas, unless
    `cycle_momentum=False`; without `optimizer` they are refused.

    Where the scheduler is a formula of the step, the function evaluates it. Otherwise
    (`MultiplicativeLR`, `ChainedScheduler`, classes of your own, and arguments such as no or half
    steps, with which torch does not keep to the formula) it runs the scheduler as far as it is asked
    to and remembers every value: asking for steps 0 to n takes n steps of the scheduler in all, in
    any order and from any thread. The function of `LambdaLR` is called with integers, and inside
    `vmap` and `jit` with a tensor of steps in double precision, or of integers if it fails with
    that; on these it may not use `if` or `min`, but `torch.where`.

    Args:
        cls: a scheduler class of `torch.optim.lr_scheduler`.
        *args: the scheduler's arguments after the optimizer.
        initial_lr: the learning rate of the optimizer, which the scheduler scales; 1.0 by default.
        optimizer: as `functional_optimizer` returns it, in place of `initial_lr`: what is scheduled.
        **kwargs: the scheduler's arguments by name. The `schedulers` of `SequentialLR` and
            `ChainedScheduler` are given as functions of an optimizer, such as
            `functools.partial(torch.optim.lr_scheduler.ConstantLR, factor=0.1)`.

    Returns:
        A function from a step to the learning rate in that step: from an integer from 0 to a float,
        and from a tensor of integers to a tensor of its shape and of PyTorch's default type, where
        there is a formula also inside `vmap` and `jit`. With `optimizer`, from a step to a dictionary
        of such, with `lr` and what else is written. For `ReduceLROnPlateau`, whose learning rate
        depends on metrics, a `PlateauSchedule`, with `init` and `step`.

    Raises:
        TypeError: `cls` is no scheduler class or computes no rates, writes more than the learning
            rate of an optimizer that is not given, or is given one of `torch.optim`; in a
            call: the step is no integer, or is traced where there is no formula, or where the
            function of `LambdaLR` needs its value.
        ValueError: `cls` refuses an argument; in a call: the step is negative. A formula does not
            check tensors that are traced or on another device than the CPU.

    Example:
        >>> import torch, pax_torch
        >>> lr_at_step = pax_torch.functional_schedule(
        ...     torch.optim.lr_scheduler.StepLR, step_size=10, gamma=0.5, initial_lr=0.1
        ... )
        >>> lr_at_step(0), lr_at_step(25), lr_at_step(torch.tensor([0, 25]))
        (0.1, 0.025, tensor([0.1000, 0.0250]))
        >>> one_cycle = pax_torch.functional_schedule(
        ...     torch.optim.lr_scheduler.OneCycleLR, max_lr=1.0, total_steps=10,
        ...     optimizer=pax_torch.functional_optimizer(torch.optim.SGD),
        ... )
        >>> one_cycle(2)
        {'lr': 1.0, 'momentum': 0.85}

    The API is that of a schedule in optax.
    """
    given = {"initial_lr": initial_lr, "optimizer": optimizer}
    start = partial(StandaloneScheduler, cls, *args, **given, **kwargs)
    first = start()
    if isinstance(first.scheduler, ReduceLROnPlateau):
        return PlateauSchedule(first.scheduler, first.initial_lr)
    lr_at_step = _closed_form(first.scheduler, first.initial_lr)
    if lr_at_step is None:
        lr_at_step = _Replay(start)
    elif optimizer is not None:
        lr_at_step = _with_momentum(first.scheduler, lr_at_step)
    return RemadeSchedule(lr_at_step, functional_schedule, (cls, *args), {**given, **kwargs})


_NOT_KNOWN = (
    "This schedule runs a scheduler of torch that is no formula of the step, and inside vmap, jit and "
    "torch.compile the step is not known; compute the learning rate outside."
)


class _Replay:
    """The values of a scheduler, computed as far as they were asked for.

    Args:
        start: makes the scheduler, at step 0.
    """

    def __init__(self, start: Callable[[], StandaloneScheduler]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._scheduler: StandaloneScheduler | None = start()
        self._values = [self._scheduler.value]

    def __call__(self, step: Any) -> Any:
        if isinstance(step, Tensor):
            return self._at_tensor(check_steps(step))
        index = as_index(step)
        if index >= len(self._values):
            if torch.compiler.is_compiling():
                raise TypeError(_NOT_KNOWN)
            with self._lock:
                self._advance(index)
        return self._values[index]

    def _at_tensor(self, steps: Tensor) -> Tensor:
        if values_are_hidden():
            raise TypeError(_NOT_KNOWN)
        values = [self(step) for step in steps.flatten().tolist()] or [self(0)]
        return tree_map(lambda *numbers: _as_tensor(numbers, steps), *_of_one_structure(values))

    def _advance(self, index: int) -> None:
        # A step that raises may have been taken halfway: then the next call starts again.
        scheduler, self._scheduler = self._scheduler or self._again(), None
        while len(self._values) <= index:
            self._values.append(scheduler.step())
        self._scheduler = scheduler

    def _again(self) -> StandaloneScheduler:
        scheduler = self._start()
        for _ in self._values[1:]:
            scheduler.step()
        return scheduler


def _of_one_structure(values: list[Any]) -> list[Any]:
    """Return dictionaries all with the names of the last steps, whose values were the same before."""
    if not isinstance(values[0], dict):
        return values
    largest = max(values, key=len)
    return [{name: value.get(name, largest[name]) for name in largest} for value in values]


def _as_tensor(numbers: tuple[Any, ...], steps: Tensor) -> Tensor:
    return as_rates(torch.tensor(numbers[: steps.numel()]).reshape(steps.shape), steps)


def _with_momentum(scheduler: Any, lr_at_step: Schedule) -> Schedule:
    """Return the schedule of all that a scheduler of a known formula writes."""
    momentum_at_step = _momentum_form(scheduler)
    if momentum_at_step is None:
        return lambda step: {"lr": lr_at_step(step)}
    if not scheduler.use_beta1:
        return lambda step: {"lr": lr_at_step(step), "momentum": momentum_at_step(step)}
    others = scheduler.optimizer.param_groups[0]["betas"][1:]
    return lambda step: {"lr": lr_at_step(step), "betas": (momentum_at_step(step), *others)}


def _momentum_form(scheduler: Any) -> Schedule | None:
    """Return the schedule of the momentum, where a scheduler of a known formula has one."""
    if not getattr(scheduler, "cycle_momentum", False):
        return None
    if isinstance(scheduler, torch_schedulers.OneCycleLR):
        return _one_cycle_of(scheduler, "momentum")
    return _cycles(scheduler, scheduler.max_momentums, scheduler.base_momentums)


def _closed_form(scheduler: LRScheduler, initial_lr: float) -> Schedule | None:
    """Return the schedule of a scheduler that stands at step 0, where it is a known formula.

    Torch goes on from the last rate, and so keeps to the formulas only for usual arguments: it never
    meets a milestone below 0, say, or between two steps.

    Args:
        scheduler: of the formula, and the source of its constants.
        initial_lr: the learning rate of its optimizer before the scheduler was made.
    """
    cls, total = type(scheduler), getattr(scheduler, "total_iters", math.inf)
    make = _FORMS.get(cls.__name__)
    is_of_torch = getattr(torch_schedulers, cls.__name__, None) is cls
    if make is None or not is_of_torch or not (_is_count(total) or total == math.inf):
        return None
    return make(scheduler, initial_lr)


def _is_count(value: Any, least: int = 1) -> bool:
    return isinstance(value, Real) and float(value) >= least and float(value).is_integer()


def _step(s: Any, lr: float) -> Schedule | None:
    if s.step_size != 0 and not _is_count(s.step_size):
        return None
    return closed_forms.step_lr(lr, s.step_size, s.gamma)


def _multi_step(s: Any, lr: float) -> Schedule | None:
    if not all(_is_count(milestone, least=0) for milestone in s.milestones):
        return None
    return closed_forms.multistep_lr(lr, sorted(s.milestones.elements()), s.gamma)


def _constant(s: Any, lr: float) -> Schedule:
    return on_steps(lambda step: lr * where(step < s.total_iters, s.factor, 1.0))


def _linear(s: Any, lr: float) -> Schedule:
    return on_steps(
        lambda step: lr * straight(s.start_factor, s.end_factor, _share(step, s.total_iters))
    )


def _polynomial(s: Any, lr: float) -> Schedule:
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
    if not _compat.scales_by_mode(s) or s.step_ratio == 1:
        return None
    return _cycles(s, s.base_lrs, s.max_lrs)


def _cycles(s: Any, first: list[float], last: list[float]) -> Schedule:
    """Return the schedule of a `CyclicLR` that goes from one value to another and back."""
    (low,), (high,) = first, last

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


def _one_cycle(s: Any, lr: float) -> Schedule | None:
    return _one_cycle_of(s, "lr")


def _one_cycle_of(s: Any, what: str) -> Schedule | None:
    """Return the schedule of the learning rate or the momentum of a `OneCycleLR`."""
    found = _compat.phases_of(s)
    if found is None:
        return None
    group, (phases, curve) = s.optimizer.param_groups[0], found
    names = [phases[0][f"start_{what}"], *(phase[f"end_{what}"] for phase in phases)]
    rates = [float(group[name]) for name in names]
    ends = [0.0, *(phase["end_step"] for phase in phases)]
    return closed_forms.in_phases(ends, lambda: rates, curve)


def _lambda(s: Any, lr: float) -> Schedule:
    (factor,) = s.lr_lambdas

    def lr_at_step(step: Any) -> Any:
        if not isinstance(step, Tensor):
            return float(lr * factor(as_index(step)))
        check_steps(step)
        return at_traced(step) if values_are_hidden() else one_by_one(lr_at_step, step)

    dtype = _dtype_for(factor)

    def at_traced(steps: Tensor) -> Tensor:
        try:
            return as_rates(lr * factor(steps.to(dtype)), steps)
        except Exception as error:
            raise TypeError(_TRACED_LAMBDA) from error

    return lr_at_step


def _dtype_for(factor: Callable[[Any], Any]) -> torch.dtype:
    """Return that of traced steps: powers need floats, and looking up in a table integers."""
    try:
        factor(torch.zeros((), dtype=torch.float64))
    except Exception:
        return torch.int64
    return torch.float64


_TRACED_LAMBDA = (
    "Inside vmap and jit, the function of LambdaLR is given the step as a tensor, of dtype "
    "torch.float64 or else torch.int64, and this one fails with both: it may use arithmetic, "
    "comparisons and functions of torch such as torch.where and torch.clamp, but nothing that needs "
    "the value, such as `if` or `min`; or compute the learning rate outside."
)


def _sequential(s: Any, lr: float) -> Schedule | None:
    parts, milestones = _compat.sequence_of(s) or ([], [])
    in_order = all(a < b for a, b in pairwise([0, *milestones]))
    if not in_order or not all(map(_is_count, milestones)):
        return None
    if any(type(part).__name__ in _NOT_FROM_ZERO for part in parts):
        return None
    found = [form for form in (_closed_form(part, lr) for part in parts) if form]
    return closed_forms.join(found, milestones) if found and len(found) == len(parts) else None


# Torch starts these in a sequence elsewhere than at their step 0, or at rates that others have set.
_NOT_FROM_ZERO = {"CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR", "SequentialLR"}


_FORMS: dict[str, Callable[[Any, float], Schedule | None]] = {
    "ConstantLR": _constant,
    "CosineAnnealingLR": _cosine,
    "CosineAnnealingWarmRestarts": _warm_restarts,
    "CyclicLR": _cyclic,
    "ExponentialLR": lambda s, lr: closed_forms.exponential(lr, s.gamma),
    "LambdaLR": _lambda,
    "LinearLR": _linear,
    "MultiStepLR": _multi_step,
    "OneCycleLR": _one_cycle,
    "PolynomialLR": _polynomial,
    "SequentialLR": _sequential,
    "StepLR": _step,
}
