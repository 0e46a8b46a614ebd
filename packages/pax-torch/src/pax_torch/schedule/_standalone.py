"""`StandaloneScheduler`: a scheduler of torch without an optimizer."""

from __future__ import annotations

import functools
import inspect
import types
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    LRScheduler,
    ReduceLROnPlateau,
    SequentialLR,
)

from pax_torch._errors import describe
from pax_torch._optim.optimizer import FunctionalOptimizer, stateful


class StandaloneScheduler:
    """A scheduler of `torch.optim.lr_scheduler` that needs no optimizer.

    It is stateful, as torch's schedulers are; `functional_schedule` is the same as a function.

    Args:
        cls: a class of `torch.optim.lr_scheduler`.
        *args: the scheduler's arguments after the optimizer.
        initial_lr: the learning rate that the scheduler changes; 1.0 by default.
        optimizer: as `functional_optimizer` returns it, in place of `initial_lr`, for a scheduler
            that writes more than the learning rate.
        **kwargs: the scheduler's arguments by name. The `schedulers` of `SequentialLR` and
            `ChainedScheduler` are given as functions of an optimizer, such as
            `functools.partial(torch.optim.lr_scheduler.ConstantLR, factor=0.1)`.

    Raises:
        TypeError: `cls` is no scheduler class or computes no rates, an optimizer of `torch.optim` is
            given, or a scheduler in place of a function; or it writes more than the learning rate of
            an optimizer that is not given.
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
        self,
        cls: type[LRScheduler],
        *args: Any,
        initial_lr: float | None = None,
        optimizer: FunctionalOptimizer | None = None,
        **kwargs: Any,
    ) -> None:
        _check_class(cls)
        _check_optimizers(cls, initial_lr, optimizer, (*args, *kwargs.values()))
        if optimizer is None:
            scheduled = torch.optim.SGD([torch.zeros(())], lr=_default(initial_lr))
        else:
            scheduled = stateful(optimizer)
        (group,) = scheduled.param_groups
        # Schedulers write to tensors in place, and these are the user's.
        group["lr"] = self.initial_lr = float(group["lr"])
        # They warn when they are stepped before their optimizer.
        scheduled.step = types.MethodType(_no_step, scheduled)
        self._written, self._before = {"lr"}, dict(group)
        self._optimizer, self._is_given = scheduled, optimizer is not None
        if issubclass(cls, SequentialLR | ChainedScheduler):
            args, kwargs = _with_parts(cls, args, kwargs, scheduled)
        if not issubclass(cls, ChainedScheduler):
            args = (scheduled, *args)
        self.scheduler = cls(*args, **kwargs)
        scheduled.step()
        self._see_written()

    def _see_written(self) -> None:
        """Note which hyperparameters the scheduler has written.

        Raises:
            TypeError: there are others than the learning rate, and the optimizer is not given.
        """
        (group,), before = self._optimizer.param_groups, self._before
        names = group.keys() & (before.keys() | (set() if self._is_given else _hyperparameters()))
        missing = object()
        written = {x for x in names if _differ(group[x], before.get(x, missing))} - {"params"}
        self._written |= written
        if self._written == {"lr"} or self._is_given:
            return
        cls, others = type(self.scheduler).__name__, " and ".join(sorted(self._written - {"lr"}))
        cycles = hasattr(self.scheduler, "cycle_momentum")
        raise TypeError(
            f"{cls} writes the {others} of the optimizer as well as its lr, which a learning rate "
            "alone would lose; give optimizer=functional_optimizer(...) to get all that it writes, "
            "as keyword arguments of a step"
            + (", or cycle_momentum=False to leave the rest alone." if cycles else ".")
        )

    @property
    def lr(self) -> float:
        """The learning rate now."""
        return float(self._optimizer.param_groups[0]["lr"])

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """All the hyperparameters that the scheduler has written, with their values now.

        Example:
            >>> import torch, pax_torch
            >>> sgd = pax_torch.functional_optimizer(torch.optim.SGD)
            >>> scheduler = pax_torch.StandaloneScheduler(
            ...     torch.optim.lr_scheduler.CyclicLR, base_lr=0.1, max_lr=0.2, optimizer=sgd
            ... )
            >>> scheduler.hyperparameters
            {'lr': 0.1, 'momentum': 0.9}
        """
        group = self._optimizer.param_groups[0]
        others = {name: group[name] for name in sorted(self._written - {"lr"})}
        return {"lr": self.lr, **others}

    @property
    def value(self) -> Any:
        """What `step` has returned: `hyperparameters` where the optimizer was given, `lr` otherwise."""
        return self.hyperparameters if self._is_given else self.lr

    def step(self, metric: float | None = None) -> Any:
        """Goes on by a step.

        Args:
            metric: for `ReduceLROnPlateau`, the value that should improve.

        Returns:
            The new learning rate; where the optimizer was given, all the hyperparameters that the
            scheduler writes, by name.

        Raises:
            TypeError: a metric is missing, or given to a scheduler that takes none; or the scheduler
                writes more than the learning rate of an optimizer that is not given.

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
        self._see_written()
        return self.value

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
        return {**self.hyperparameters, "scheduler": self.scheduler.state_dict()}

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
        written = {name: value for name, value in state_dict.items() if name != "scheduler"}
        self._optimizer.param_groups[0].update(written)
        self._see_written()


def _check_class(cls: Any) -> None:
    if not (isinstance(cls, type) and issubclass(cls, LRScheduler)):
        raise TypeError(f"Expected a torch.optim.lr_scheduler class, got {cls!r}.")
    if cls.get_lr is LRScheduler.get_lr and cls.step is LRScheduler.step:
        raise TypeError(
            f"Expected a class that computes learning rates, got {cls.__name__}, which has no "
            "get_lr; give a subclass such as torch.optim.lr_scheduler.StepLR."
        )


def _check_optimizers(
    cls: type[LRScheduler], initial_lr: Any, optimizer: Any, others: tuple[Any, ...]
) -> None:
    """Raise TypeError for an optimizer that is not functional, or not given by name."""
    if any(isinstance(x, torch.optim.Optimizer) for x in (optimizer, *others)):
        raise TypeError(
            f"Expected the arguments of {cls.__name__} after the optimizer, got an optimizer; "
            "leave it out, and give its learning rate as initial_lr, or a functional_optimizer as "
            "optimizer."
        )
    if any(isinstance(x, FunctionalOptimizer) for x in others):
        raise TypeError(
            f"Expected the arguments of {cls.__name__} after the optimizer, got a functional "
            "optimizer among them; give it by name, as optimizer=."
        )
    if optimizer is None:
        return
    if not isinstance(optimizer, FunctionalOptimizer):
        raise TypeError(
            "optimizer must be what functional_optimizer returns, for one class of torch.optim, got "
            f"{describe(optimizer)}."
        )
    if initial_lr is not None:
        raise TypeError("Give the learning rate as initial_lr or with the optimizer, not both.")


def _no_step(optimizer: torch.optim.Optimizer) -> None:
    """Do nothing: only the hyperparameters of the optimizer are used."""


def _default(initial_lr: Any) -> Any:
    return 1.0 if initial_lr is None else initial_lr


@functools.cache
def _hyperparameters() -> frozenset[str]:
    """Return the names of the hyperparameters of the classes of `torch.optim`."""
    classes = [
        cls
        for cls in vars(torch.optim).values()
        if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer)
    ]
    return frozenset({name for cls in classes for name in inspect.signature(cls).parameters})


def _differ(x: Any, y: Any) -> bool:
    if isinstance(x, Tensor) or isinstance(y, Tensor):
        return x is not y
    return bool(x != y)


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
