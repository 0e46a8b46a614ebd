"""Schedules without a formula: a scheduler is run, and what it says is remembered."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torch import Tensor

from pax_torch._compat import values_are_hidden
from pax_torch.schedule._numeric import as_index, check_steps, one_by_one
from pax_torch.schedule._standalone import StandaloneScheduler


class Replay:
    """The values of a scheduler, computed as far as they were asked for.

    Args:
        start: makes the scheduler, at step 0.
    """

    def __init__(self, start: Callable[[], StandaloneScheduler]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._scheduler: StandaloneScheduler | None = start()
        self._values = [self._scheduler.lr]

    def __call__(self, step: Any) -> Any:
        if isinstance(step, Tensor):
            return self._at_tensor(check_steps(step))
        index = as_index(step)
        if index >= len(self._values):
            with self._lock:
                self._advance(index)
        return self._values[index]

    def _at_tensor(self, steps: Tensor) -> Tensor:
        if values_are_hidden():
            raise TypeError(
                "this schedule runs a scheduler of torch that is no formula of the step, and "
                "inside vmap and jit the step is not known; compute the learning rate outside."
            )
        return one_by_one(self, steps)

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
