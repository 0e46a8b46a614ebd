# Written by `python tools/opax_stubs.py` for optax 0.2.8.

from collections.abc import Callable
from typing import Any

from jax import Array
from jax.typing import ArrayLike

from ._plot import PNG

_generated: dict[str, Callable[..., Schedule]]

class Schedule:
    """A function from the step count to a value."""

    def __call__(self, count: ArrayLike) -> Array: ...
    def plot(self, steps: int) -> PNG: ...

def constant_schedule(
    value: ArrayLike,
) -> Schedule:
    """Constructs a constant schedule."""

def cosine_decay_schedule(
    init_value: ArrayLike,
    decay_steps: int,
    alpha: ArrayLike = 0.0,
    exponent: ArrayLike = 1.0,
) -> Schedule:
    """Returns a function which implements cosine learning rate decay."""

def cosine_onecycle_schedule(
    transition_steps: int,
    peak_value: ArrayLike,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 10000.0,
) -> Schedule:
    """Returns a function which implements the onecycle learning rate schedule."""

def exponential_decay(
    initial_value: Any,
    step_size: Any,
    reduce_factor: Any = 2.0,
    min_value: Any = None,
) -> Schedule:
    """Divide a value by a factor in every so many steps, smoothly."""

def exponential_decay_schedule(
    init_value: ArrayLike,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: ArrayLike | None = None,
) -> Schedule:
    """Constructs a schedule with either continuous or discrete exponential decay."""

def join_schedules(
    schedules: Any,
    boundaries: Any,
) -> Schedule:
    """Sequentially apply multiple schedules."""

def linear_onecycle_schedule(
    transition_steps: int,
    peak_value: ArrayLike,
    pct_start: float = 0.3,
    pct_final: float = 0.85,
    div_factor: float = 25.0,
    final_div_factor: float = 10000.0,
) -> Schedule:
    """Returns a learning rate with three linear phases."""

def linear_schedule(
    init_value: ArrayLike,
    end_value: ArrayLike,
    transition_steps: int,
    transition_begin: int = 0,
) -> Schedule:
    """Schedule with linear transition from ``init_value`` to ``end_value``."""

def piecewise_constant_schedule(
    init_value: ArrayLike,
    boundaries_and_scales: Any = None,
) -> Schedule:
    """Piecewise constant schedule with scaled jumps at specific boundaries."""

def piecewise_interpolate_schedule(
    interpolate_type: str,
    init_value: ArrayLike,
    boundaries_and_scales: Any = None,
) -> Schedule:
    """Piecewise interpolated schedule with linear or cosine transitions."""

def polynomial_schedule(
    init_value: ArrayLike,
    end_value: ArrayLike,
    power: ArrayLike,
    transition_steps: int,
    transition_begin: int = 0,
) -> Schedule:
    """Constructs a schedule with polynomial transition from init to end value."""

def sgdr_schedule(
    cosine_kwargs: Any,
) -> Schedule:
    """SGD with warm restarts."""

def warmup_constant_schedule(
    init_value: ArrayLike,
    peak_value: ArrayLike,
    warmup_steps: int,
) -> Schedule:
    """Linear warmup followed by constant schedule i.e no decay."""

def warmup_cosine_decay_schedule(
    init_value: ArrayLike,
    peak_value: ArrayLike,
    warmup_steps: int,
    decay_steps: int,
    end_value: ArrayLike = 0.0,
    exponent: ArrayLike = 1.0,
) -> Schedule:
    """Linear warmup followed by cosine decay."""

def warmup_exponential_decay_schedule(
    init_value: ArrayLike,
    peak_value: ArrayLike,
    warmup_steps: int,
    transition_steps: int,
    decay_rate: ArrayLike,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: ArrayLike | None = None,
) -> Schedule:
    """Linear warmup followed by exponential decay."""
