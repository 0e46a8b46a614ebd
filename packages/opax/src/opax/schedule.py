"""The schedules of optax, and `exponential_decay`: functions from the step count to a value.

A schedule made here knows how it was made: it prints, pickles and is equal to another made in the
same way, so that equal optimizers share a compiled step. optax's own `exponential_decay` is called
`exponential_decay_schedule` here.
"""

from __future__ import annotations as _annotations

import html as _html
import inspect as _inspect
from collections.abc import Callable as _Callable
from typing import Any as _Any

import optax.schedules as _optax

from opax import _transforms
from opax._call import Call as _Call
from opax._call import counterpart as _counterpart
from opax._params import usual_promotion as _usual_promotion
from opax._plot import PNG as _PNG
from opax._plot import line as _line

_ELSEWHERE = {"inject_hyperparams", "inject_stateful_hyperparams"}


class Schedule(_Call):
    """A function from the step count to a value, made by one of the functions of this module.

    Attributes:
        function: the function of optax that makes it.
        arguments: its arguments by name.

    Example:
        >>> import opax
        >>> schedule = opax.schedule.linear_schedule(1.0, 0.0, transition_steps=4)
        >>> float(schedule(0)), float(schedule(1))
        (1.0, 0.75)
        >>> schedule
        linear_schedule(init_value=1.0, end_value=0.0, transition_steps=4)
    """

    def __call__(self, count: _Any) -> _Any:
        """Return the value at a step; the first is step 0."""
        with _usual_promotion():
            return self.made(count)

    def plot(self, steps: int) -> _PNG:
        """Draw the values of the first steps.

        Args:
            steps: how many.

        Returns:
            The bytes of a PNG file, which a notebook shows as a picture.

        Raises:
            ImportError: matplotlib is not installed.

        Example:
            >>> import opax, pathlib, tempfile
            >>> png = opax.schedule.linear_schedule(1.0, 0.0, transition_steps=10).plot(20)
            >>> path = pathlib.Path(tempfile.mkdtemp(), "schedule.png")
            >>> path.write_bytes(png) == len(png)
            True
        """
        counts = range(steps)
        values = [float(self(count)) for count in counts]
        names = {"xlabel": "step", "title": repr(self)}
        return _line(counts, values, "Schedule.plot", **names)

    def _repr_html_(self) -> str:
        """Show a notebook the schedule, and its values at some steps."""
        counts = [0, 1, 10, 100, 1_000, 10_000, 100_000]
        steps = "".join(f"<th>{count:,}</th>" for count in counts)
        values = "".join(f"<td>{float(self(count)):.3g}</td>" for count in counts)
        return (
            f"<code>{_html.escape(repr(self))}</code><table><tr><th>step</th>{steps}</tr>"
            f"<tr><th>value</th>{values}</tr></table>"
        )


def exponential_decay(
    initial_value: float,
    step_size: int,
    reduce_factor: float = 2.0,
    min_value: float | None = None,
) -> Schedule:
    """Divide a value by a factor in every so many steps, smoothly.

    The value at step `t` is `initial_value * reduce_factor ** (-t / step_size)`, as of
    `optax.exponential_decay` with `decay_rate=1 / reduce_factor`.

    Args:
        initial_value: the value at step 0.
        step_size: the number of steps in which the value is divided by `reduce_factor`.
        reduce_factor: the factor.
        min_value: the value does not go below this.

    Returns:
        A schedule.

    Example:
        >>> import opax
        >>> schedule = opax.schedule.exponential_decay(1.0, step_size=10, min_value=0.3)
        >>> [round(float(schedule(step)), 3) for step in (0, 10, 20)]
        [1.0, 0.5, 0.3]
    """
    arguments = {
        "initial_value": initial_value,
        "step_size": step_size,
        "reduce_factor": reduce_factor,
    }
    if min_value is not None:
        arguments["min_value"] = min_value
    return Schedule(_transforms.exponential_decay, arguments)


def _schedules() -> dict[str, _Callable[..., Schedule]]:
    functions = {
        name: function
        for name, function in vars(_optax).items()
        if _inspect.isfunction(function) and name not in _ELSEWHERE
    }
    functions["exponential_decay_schedule"] = functions.pop("exponential_decay")
    return {name: _counterpart(name, function, Schedule) for name, function in functions.items()}


_generated = _schedules()
globals().update(_generated)

__all__ = ["Schedule", "exponential_decay", *_generated]  # pyright: ignore[reportUnsupportedDunderAll]
