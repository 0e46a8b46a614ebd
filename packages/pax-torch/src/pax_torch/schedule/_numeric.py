"""Steps, given as integers or tensors, and arithmetic that serves both."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, ParamSpec

import torch
from torch import Tensor

from pax_torch._tracing import values_are_hidden
from pax_tree import tree_map

Number = Any  # int, float or Tensor
Schedule = Callable[[Any], Any]


class RemadeSchedule:
    """A schedule that is pickled as the call that made it.

    Args:
        at_step: the schedule itself.
        make: a function of a module that returned this.
        args: its arguments.
        kwargs: those by name.
    """

    __static_by_identity__ = True

    def __init__(
        self, at_step: Schedule, make: Callable[..., Schedule], args: Any, kwargs: Any
    ) -> None:
        self.__name__ = self.__qualname__ = make.__name__
        self._at_step = at_step
        # Containers of its own, as those that were given may change.
        self._call = make, *tree_map(lambda x: x, (args, kwargs))

    def __call__(self, step: Any) -> Any:
        return self._at_step(step)

    def __repr__(self) -> str:
        return f"<schedule {self.__name__}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, self._call


def _made(make: Callable[..., Schedule], args: Any, kwargs: Any) -> Schedule:
    return make(*args, **kwargs)


P = ParamSpec("P")


def remade(make: Callable[P, Schedule]) -> Callable[P, Schedule]:
    """Decorate a function that returns schedules, so that these can be pickled."""

    @functools.wraps(make)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Schedule:
        return RemadeSchedule(make(*args, **kwargs), wrapped, args, kwargs)

    return wrapped


def on_steps(form: Callable[[Number], Number]) -> Schedule:
    """Return a schedule from a formula, which is given an int or a tensor in double precision."""

    def lr_at_step(step: Any) -> Any:
        if not isinstance(step, Tensor):
            return form(as_index(step))
        return as_rates(form(check_steps(step).to(torch.float64)), step)

    return lr_at_step


def as_rates(rates: Number, steps: Tensor) -> Tensor:
    """Learning rates as a tensor of the default type, of the shape and on the device of the steps.

    Steps below 0, which are an error where they can be looked at, have NaN.
    """
    tensor = torch.as_tensor(rates, dtype=torch.get_default_dtype(), device=steps.device)
    if steps.dtype.is_signed and not are_at_hand(steps):
        tensor = torch.where(steps < 0, math.nan, tensor)
    return tensor.expand(steps.shape)


def one_by_one(schedule: Schedule, steps: Tensor) -> Tensor:
    """Return the rates of a schedule that takes integers only, at each step of a tensor."""
    rates = [schedule(step) for step in steps.flatten().tolist()]
    return as_rates(torch.tensor(rates).reshape(steps.shape), steps)


def check_steps(steps: Tensor) -> Tensor:
    """Raise an error unless a tensor holds integers, from 0 where they are at hand."""
    if steps.is_floating_point() or steps.is_complex() or steps.dtype is torch.bool:
        raise TypeError(
            f"A schedule takes the step as an integer, got a tensor of dtype {steps.dtype}."
        )
    if steps.dtype.is_signed and are_at_hand(steps) and (steps < 0).any():
        raise ValueError(f"A schedule starts at step 0, got step {int(steps.min())}.")
    return steps


def are_at_hand(steps: Tensor) -> bool:
    """Whether the values can be looked at; on other devices, that is to wait for them."""
    return steps.device.type == "cpu" and not values_are_hidden()


def as_index(step: Any) -> int:
    """Return the step as a Python integer from 0."""
    try:
        index = None if isinstance(step, bool) else operator.index(step)
    except TypeError:
        index = None
    if index is None:
        raise TypeError(
            f"A schedule takes the step as an integer, got {step!r} of type "
            f"{type(step).__qualname__}."
        )
    if index < 0:
        raise ValueError(f"A schedule starts at step 0, got step {index}.")
    return index


def where(condition: Any, x: Number, y: Number) -> Number:
    if isinstance(condition, Tensor):
        return torch.where(condition, x, y)
    return x if condition else y


def clamp(x: Number, least: float, most: float) -> Number:
    """`x`, or the bound beyond which it is."""
    return where(x < least, least, where(x > most, most, x))


def decayed(x: Number, factor: Number, times: Number) -> Number:
    """Return `x * factor**times`; where Python refuses the power, since it is above all floats, too."""
    factor = float(factor) if isinstance(factor, int) else factor  # powers of integers take long
    try:
        return x * factor**times
    except OverflowError:
        if not isinstance(x, Tensor) and x == 0:
            return x
    product, power, quarter = x, torch.tensor(factor, dtype=torch.float64), times // 4
    # In four parts: where one of them is infinite, so is the whole.
    for part in (quarter, quarter, quarter, times - 3 * quarter):
        product = product * power**part
    return product if isinstance(x, Tensor) else product.item()


def cos(x: Number) -> Number:
    return torch.cos(x) if isinstance(x, Tensor) else math.cos(x)


def floor(x: Number) -> Number:
    return torch.floor(x) if isinstance(x, Tensor) else math.floor(x)


def half_cosine(start: Number, end: Number, share: Number) -> Number:
    """From start to end, as a share of the way from 0 to 1, slow at both ends."""
    return end + (start - end) / 2 * (1 + cos(math.pi * share))


def straight(start: Number, end: Number, share: Number) -> Number:
    """From start to end, as a share of the way from 0 to 1."""
    return start + (end - start) * share
