"""`functional_schedule`: the schedulers of `torch.optim.lr_scheduler` as functions of the step."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from pax_torch.schedule._closed_forms import closed_form
from pax_torch.schedule._plateau import PlateauSchedule
from pax_torch.schedule._replay import Replay
from pax_torch.schedule._standalone import StandaloneScheduler


def functional_schedule(
    cls: type[LRScheduler], *args: Any, initial_lr: float = 1.0, **kwargs: Any
) -> Any:
    """Return a learning-rate schedule as a function of the step.

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
        initial_lr: the learning rate of the optimizer, which the scheduler scales.
        **kwargs: the scheduler's arguments by name. The `schedulers` of `SequentialLR` and
            `ChainedScheduler` are given as functions of an optimizer, such as
            `functools.partial(torch.optim.lr_scheduler.ConstantLR, factor=0.1)`.

    Returns:
        A function from a step to the learning rate in that step: from an integer from 0 to a float,
        and from a tensor of integers to a tensor of its shape and of PyTorch's default type, where
        there is a formula also inside `vmap` and `jit`. For `ReduceLROnPlateau`, whose learning rate
        depends on metrics, a `PlateauSchedule`, with `init` and `step`.

    Raises:
        TypeError: `cls` is no scheduler class or computes no rates, or an optimizer is given; in a
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

    The API is that of a schedule in optax.
    """
    start = partial(StandaloneScheduler, cls, *args, initial_lr=initial_lr, **kwargs)
    scheduler = start().scheduler
    if isinstance(scheduler, ReduceLROnPlateau):
        return PlateauSchedule(scheduler, initial_lr)
    return closed_form(scheduler, initial_lr) or Replay(start)
