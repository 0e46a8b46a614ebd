"""`PlateauSchedule`: `ReduceLROnPlateau` as a state machine."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pax_torch.schedule._numeric import Number, where

State = dict[str, Any]


class PlateauSchedule:
    """Lowers the learning rate when a metric stops improving; `functional_schedule` makes it.

    It holds constants only. What it has seen is in a state, a dictionary of four numbers, or of
    tensors where the metrics are tensors, which may be saved and go through `vmap` and `jit`. As in
    torch, metrics are compared in double precision, and no derivative goes through them.
    """

    __static_by_identity__ = True

    def __init__(self, scheduler: ReduceLROnPlateau, initial_lr: float) -> None:
        self._constants, self._initial_lr = scheduler, initial_lr
        (self._least,) = scheduler.min_lrs

    def init(self) -> State:
        """Return the state before the first metric.

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
        """Return the learning rate after a metric was seen, and the new state.

        Args:
            metric: the value that should improve: a real number, or a tensor of one.
            state: as `init` or the last step returned it; it is not changed.

        Returns:
            The learning rate, and a state: numbers, or where the metric or the last state is of
            tensors, tensors of shape () in double precision and for the counters in integers.

        Raises:
            TypeError: the metric is not a real number.
            ValueError: the metric is a tensor of more than one element, or of none.

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
        metric, state = _in_double(_checked(metric), state)
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


def _checked(metric: Any) -> Number:
    """Return the metric as a float, or as a tensor of shape () without a graph."""
    if not isinstance(metric, Tensor):
        return _as_float(metric)
    if metric.is_complex():
        raise TypeError(f"A metric is a real number, got a tensor of dtype {metric.dtype}.")
    if metric.numel() != 1:
        raise ValueError(
            f"A metric is one number, got a tensor of shape {tuple(metric.shape)}; give its mean."
        )
    return metric.detach().to(torch.float64).reshape(())


def _as_float(metric: Any) -> float:
    try:
        return metric.__float__()
    except (AttributeError, TypeError):
        raise TypeError(
            f"A metric is a real number, got {metric!r} of type {type(metric).__qualname__}."
        ) from None


def _in_double(metric: Number, state: State) -> tuple[Number, State]:
    """Both as tensors where one of them is: `torch.where` of floats alone rounds to single."""
    tensors = [x for x in (metric, *state.values()) if isinstance(x, Tensor)]
    if not tensors:
        return metric, state
    device = tensors[0].device
    doubles = {k: torch.as_tensor(state[k], dtype=torch.float64, device=device) for k in _RATES}
    counters = {k: torch.as_tensor(v, device=device) for k, v in state.items() if k not in _RATES}
    return torch.as_tensor(metric, dtype=torch.float64, device=device), {**counters, **doubles}


_RATES = ("lr", "best")
