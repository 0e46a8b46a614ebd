"""`PlateauSchedule`: `ReduceLROnPlateau` as a state machine."""

import math
from typing import Any

from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pax_torch._schedule_steps import Number, where

State = dict[str, Any]


class PlateauSchedule:
    """Lowers the learning rate when a metric stops improving; `functional_schedule` makes it.

    It holds constants only. What it has seen is in a state, a dictionary of four numbers, or of
    tensors where the metrics are tensors, which may be saved and go through `vmap` and `jit`.
    """

    def __init__(self, scheduler: ReduceLROnPlateau, initial_lr: float) -> None:
        self._constants, self._initial_lr = scheduler, initial_lr
        (self._least,) = scheduler.min_lrs

    def init(self) -> State:
        """Returns the state before the first metric.

        Returns:
            A dictionary with the learning rate `lr`, the `best` metric, the number of bad epochs
            since, and how many epochs of cooldown are left.

        Example:
            >>> import torch, pax_torch
            >>> schedule = pax_torch.functional_schedule(
            ...     torch.optim.lr_scheduler.ReduceLROnPlateau, initial_lr=0.1
            ... )
            >>> schedule.init()
            {'lr': 0.1, 'best': inf, 'num_bad_epochs': 0, 'cooldown_counter': 0}

        """
        worst = math.inf if self._constants.mode == "min" else -math.inf
        return {
            "lr": self._initial_lr,
            "best": worst,
            "num_bad_epochs": 0,
            "cooldown_counter": 0,
        }

    def step(self, metric: float | Tensor, state: State) -> tuple[Number, State]:
        """Returns the learning rate after a metric was seen, and the new state.

        Args:
            metric: the value that should improve: a number, or a tensor of shape ().
            state: as `init` or the last step returned it; it is not changed.

        Returns:
            The learning rate, and a state.

        Example:
            >>> import torch, pax_torch
            >>> schedule = pax_torch.functional_schedule(
            ...     torch.optim.lr_scheduler.ReduceLROnPlateau, patience=0
            ... )
            >>> lr, state = schedule.step(1.0, schedule.init())
            >>> lr, state = schedule.step(2.0, state)
            >>> lr
            0.1

        """
        c = self._constants
        better, cooling = self._is_better(metric, state["best"]), state["cooldown_counter"] > 0
        best = where(better, metric, state["best"])
        bad = where(cooling, 0, where(better, 0, state["num_bad_epochs"] + 1))
        left = where(cooling, state["cooldown_counter"] - 1, state["cooldown_counter"])
        stuck, lr = bad > c.patience, state["lr"]
        lower = where(lr * c.factor > self._least, lr * c.factor, self._least)
        lr = where(stuck, where(lr - lower > c.eps, lower, lr), lr)
        new = {
            "lr": lr,
            "best": best,
            "num_bad_epochs": where(stuck, 0, bad),
            "cooldown_counter": where(stuck, c.cooldown, left),
        }
        return lr, new

    def _is_better(self, metric: Number, best: Number) -> Any:
        c = self._constants
        sign = 1 if c.mode == "max" else -1
        if c.threshold_mode == "rel":
            return sign * metric > sign * (best * (1 + sign * c.threshold))
        return sign * metric > sign * (best + sign * c.threshold)
