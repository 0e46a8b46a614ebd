"""`StandaloneScheduler`: a scheduler of torch without an optimizer."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    LRScheduler,
    ReduceLROnPlateau,
    SequentialLR,
)

from pax_torch._compat import runs_in_python

runs_in_python(__name__)


class StandaloneScheduler:
    """A scheduler of `torch.optim.lr_scheduler` that needs no optimizer.

    It is stateful, as torch's schedulers are; `functional_schedule` is the same as a function.

    Args:
        cls: a class of `torch.optim.lr_scheduler`.
        *args: the scheduler's arguments after the optimizer.
        initial_lr: the learning rate that the scheduler changes.
        **kwargs: the scheduler's arguments by name. The `schedulers` of `SequentialLR` and
            `ChainedScheduler` are given as functions of an optimizer, such as
            `functools.partial(torch.optim.lr_scheduler.ConstantLR, factor=0.1)`.

    Raises:
        TypeError: `cls` is no scheduler class or computes no rates, an optimizer is given, or a
            scheduler in place of a function.
        ValueError: `cls` refuses an argument.

    Example:
        >>> import torch, pax_torch
        >>> scheduler = pax_torch.StandaloneScheduler(
        ...     torch.optim.lr_scheduler.ExponentialLR, gamma=0.5, initial_lr=1.0
        ... )
        >>> scheduler.step()
        0.5
        >>> scheduler.lr
        0.5
    """

    def __init__(
        self, cls: type[LRScheduler], *args: Any, initial_lr: float = 1.0, **kwargs: Any
    ) -> None:
        if not (isinstance(cls, type) and issubclass(cls, LRScheduler)):
            raise TypeError(f"Expected a torch.optim.lr_scheduler class, got {cls!r}.")
        if cls.get_lr is LRScheduler.get_lr and cls.step is LRScheduler.step:
            raise TypeError(
                f"Expected a class that computes learning rates, got {cls.__name__}, which has no "
                "get_lr; give a subclass such as torch.optim.lr_scheduler.StepLR."
            )
        if any(isinstance(x, torch.optim.Optimizer) for x in (*args, *kwargs.values())):
            raise TypeError(
                f"Expected the arguments of {cls.__name__} after the optimizer, got an optimizer; "
                "leave it out, and give its learning rate as initial_lr."
            )
        optimizer = torch.optim.SGD([torch.zeros(())], lr=initial_lr)
        if issubclass(cls, SequentialLR | ChainedScheduler):
            args, kwargs = _with_parts(cls, args, kwargs, optimizer)
        if not issubclass(cls, ChainedScheduler):
            args = (optimizer, *args)
        self.scheduler = cls(*args, **kwargs)
        self._optimizer = optimizer
        optimizer.step()  # Schedulers warn when they are stepped before their optimizer.

    @property
    def lr(self) -> float:
        """The learning rate now."""
        return float(self._optimizer.param_groups[0]["lr"])

    def step(self, metric: float | None = None) -> float:
        """Goes on by a step.

        Args:
            metric: for `ReduceLROnPlateau`, the value that should improve.

        Returns:
            The new learning rate.

        Raises:
            TypeError: a metric is missing, or given to a scheduler that takes none.

        Example:
            >>> import torch, pax_torch
            >>> scheduler = pax_torch.StandaloneScheduler(
            ...     torch.optim.lr_scheduler.ReduceLROnPlateau, patience=0
            ... )
            >>> scheduler.step(1.0), scheduler.step(2.0)
            (1.0, 0.1)
        """
        takes_metric = isinstance(self.scheduler, ReduceLROnPlateau)
        if takes_metric != (metric is not None):
            needs = "needs a metric" if takes_metric else "takes no metric"
            raise TypeError(f"The step of {type(self.scheduler).__name__} {needs}.")
        arguments: list[Any] = [] if metric is None else [metric]
        self.scheduler.step(*arguments)
        return self.lr

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on from here.

        Example:
            >>> import torch, pax_torch
            >>> scheduler = pax_torch.StandaloneScheduler(
            ...     torch.optim.lr_scheduler.ExponentialLR, gamma=0.5
            ... )
            >>> scheduler.state_dict()["lr"]
            1.0
        """
        return {"lr": self.lr, "scheduler": self.scheduler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from where another scheduler with the same arguments was.

        Args:
            state_dict: as the other's `state_dict` returned it.

        Example:
            >>> import torch, pax_torch
            >>> make = lambda: pax_torch.StandaloneScheduler(
            ...     torch.optim.lr_scheduler.ExponentialLR, gamma=0.5
            ... )
            >>> first, second = make(), make()
            >>> _ = first.step()
            >>> second.load_state_dict(first.state_dict())
            >>> second.step()
            0.25
        """
        self.scheduler.load_state_dict(state_dict["scheduler"])
        self._optimizer.param_groups[0]["lr"] = state_dict["lr"]


def _with_parts(
    cls: type[LRScheduler],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    optimizer: torch.optim.Optimizer,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Make the schedulers that a composed scheduler is given as functions of an optimizer."""
    parts = args[0] if args else kwargs.get("schedulers", ())
    for part in parts:
        if not callable(part):
            raise TypeError(
                f"Expected each of the schedulers of {cls.__name__} as a function of an optimizer, "
                "such as functools.partial(ConstantLR, factor=0.1), "
                f"got {part!r} of type {type(part).__qualname__}."
            )
    made = [part(optimizer) for part in parts]
    return ((made, *args[1:]), kwargs) if args else ((), {**kwargs, "schedulers": made})
