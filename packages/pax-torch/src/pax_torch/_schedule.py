"""`functional_schedule`: the schedulers of `torch.optim.lr_scheduler` as functions of the step."""

import operator
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    LRScheduler,
    ReduceLROnPlateau,
    SequentialLR,
)


def functional_schedule(
    cls: type[LRScheduler], *args: Any, initial_lr: float = 1.0, **kwargs: Any
) -> Callable[[Any], float]:
    """Returns a learning-rate schedule as a function of the step.

    The function runs the scheduler forward as far as it is asked to and remembers every value:
    asking for steps 0 to n takes n steps of the scheduler in all, in any order and from any
    thread.

    Args:
        cls: a scheduler class of `torch.optim.lr_scheduler` that needs no metric.
        *args: the scheduler's arguments after the optimizer.
        initial_lr: the learning rate of the optimizer, which the scheduler scales.
        **kwargs: the scheduler's arguments by name. The `schedulers` of `SequentialLR` and
            `ChainedScheduler` are given as functions of an optimizer, such as
            `functools.partial(torch.optim.lr_scheduler.ConstantLR, factor=0.1)`.

    Returns:
        A function from a step (an integer from 0, also as a tensor or array of shape ()) to the
        learning rate in that step, a float.

    Raises:
        TypeError: `cls` is no scheduler class, or needs a metric; in a call: the step is no
            integer.
        ValueError: `cls` refuses an argument; in a call: the step is negative.

    Example:
        >>> import torch, pax_torch
        >>> lr_at_step = pax_torch.functional_schedule(
        ...     torch.optim.lr_scheduler.StepLR, step_size=10, gamma=0.5, initial_lr=0.1
        ... )
        >>> lr_at_step(0), lr_at_step(25)
        (0.1, 0.025)

    The API is that of a schedule in optax.

    """
    if not (isinstance(cls, type) and issubclass(cls, LRScheduler)):
        raise TypeError(
            f"functional_schedule expected a torch.optim.lr_scheduler class, got {cls!r}."
        )
    if issubclass(cls, ReduceLROnPlateau):
        raise TypeError(
            f"functional_schedule cannot use {cls.__name__}: its learning rate depends on a "
            "metric, not on the step alone."
        )
    return _Schedule(lambda: _start(cls, args, kwargs, initial_lr))


class _Schedule:
    """The values of a scheduler, computed as far as they were asked for."""

    def __init__(self, start: Callable[[], LRScheduler]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._scheduler: LRScheduler | None = start()
        self._values = [_current_lr(self._scheduler)]

    def __call__(self, step: Any) -> float:
        index = _index(step)
        if index >= len(self._values):
            with self._lock:
                self._advance(index)
        return self._values[index]

    def _advance(self, index: int) -> None:
        # A step that raises may have been taken halfway: then the next call starts again.
        scheduler, self._scheduler = self._scheduler or self._replay(), None
        while len(self._values) <= index:
            scheduler.step()
            self._values.append(_current_lr(scheduler))
        self._scheduler = scheduler

    def _replay(self) -> LRScheduler:
        scheduler = self._start()
        for _ in self._values[1:]:
            scheduler.step()
        return scheduler


def _start(
    cls: type[LRScheduler], args: tuple[Any, ...], kwargs: dict[str, Any], initial_lr: float
) -> LRScheduler:
    """Makes the scheduler, at step 0, on an optimizer of one parameter without gradient."""
    optimizer = torch.optim.SGD([torch.zeros(())], lr=initial_lr)
    if issubclass(cls, SequentialLR | ChainedScheduler):
        args, kwargs = _with_parts(cls, args, kwargs, optimizer)
    if not issubclass(cls, ChainedScheduler):
        args = (optimizer, *args)
    scheduler = cls(*args, **kwargs)
    optimizer.step()  # Schedulers warn when they are stepped before their optimizer.
    return scheduler


def _with_parts(
    cls: type[LRScheduler],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    optimizer: torch.optim.Optimizer,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Makes the schedulers that a composed scheduler is given as functions of an optimizer."""
    parts = args[0] if args else kwargs.get("schedulers", ())
    for part in parts:
        if not callable(part):
            raise TypeError(
                f"functional_schedule takes each of the schedulers of {cls.__name__} as a "
                "function of an optimizer, such as functools.partial(ConstantLR, factor=0.1), "
                f"got {part!r} of type {type(part).__qualname__}."
            )
    made = [part(optimizer) for part in parts]
    return ((made, *args[1:]), kwargs) if args else ((), {**kwargs, "schedulers": made})


def _current_lr(scheduler: LRScheduler) -> float:
    return float(scheduler.optimizer.param_groups[0]["lr"])


def _index(step: Any) -> int:
    try:
        index = operator.index(step)
    except TypeError:
        raise TypeError(
            f"a schedule takes the step as an integer, got {step!r} of type "
            f"{type(step).__qualname__}."
        ) from None
    if index < 0:
        raise ValueError(f"a schedule starts at step 0, got step {index}.")
    return index
