"""Learning rates as functions of the step, in closed form.

Each function returns a schedule: a function from a step to a learning rate. The step is an integer
from 0, and the rate a float; or a tensor of integers of any shape, also inside `vmap` and `jit`, and
the rates a tensor of that shape and of PyTorch's default type. Negative integers are refused, as are
tensors that hold one; except inside `vmap` and `jit` and on other devices than the CPU, where tensors
of steps are not looked at.
"""

from pax_torch.schedule._closed_forms import (
    cosine,
    exponential,
    join,
    linear,
    multistep_lr,
    one_cycle,
    step_lr,
    warmup_cosine,
)

__all__ = [
    "cosine",
    "exponential",
    "join",
    "linear",
    "multistep_lr",
    "one_cycle",
    "step_lr",
    "warmup_cosine",
]
